"""The baseline of delivering: a bare loop that posts, with keep-alive connections and nothing else."""

from __future__ import annotations

import itertools

from bench import load


async def post_all(port: int, count: int, connections: int) -> float:
    """Posts a second."""
    body = b'{"type":"order.placed","data":' + b" " * 400 + b"{}}"
    request = load.post(port, "/hook", body, {"content-type": "application/json"})
    tally = await load.run(port, itertools.repeat(request, count), connections=connections, seconds=120)
    return tally.per_second
