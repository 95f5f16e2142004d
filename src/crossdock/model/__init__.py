"""The words of Crossdock as frozen values: standard library only, no I/O, no clock.

Everything above speaks in these types. A value that needs parsing is parsed before it becomes one of them.
"""
