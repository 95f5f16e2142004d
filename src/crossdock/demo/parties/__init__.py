"""The parties of the demonstration: real servers and senders, each its own process, none of them part of Crossdock.

Each takes `--port` and its own few options, prints `ready` when it listens, and tells at `GET /record` what it saw.
"""
