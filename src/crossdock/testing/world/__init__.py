"""The simulated world: real ingest, journal, delivery and drivers in one seeded loop with virtual time.

`run(seed)` plays one world; `python -m crossdock.testing.world --seeds 1..1000` plays many. See
docs/guides/simulated-world.md.
"""
