"""The baseline of delivering: a bare loop that posts with the deliverer's own HTTP client, and nothing else: no
journal, no lane, no signing, no check of where it goes."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Iterator

from bench import load
from crossdock.drivers.http1 import HttpConnection, RawAnswer

ANSWER_BYTES_MAX = 1_024


def requests(port: int, count: int) -> Iterator[bytes]:
    """What a signed webhook is in size: an event of 400 bytes under the three headers of its signature."""
    event = {"type": "order.placed", "data": {"order_id": "p-00000000"}, "filler": ""}
    event["filler"] = "x" * (400 - len(json.dumps(event)))
    body = json.dumps(event).encode()
    for number in range(count):
        headers = {
            "content-type": "application/json",
            "webhook-id": f"{number:026}",
            "webhook-timestamp": "1700000000",
            "webhook-signature": "v1," + "x" * 44,
        }
        yield load.post(port, "/hook", body, headers)


async def post_all(port: int, count: int, connections: int) -> load.Tally:
    """Posts `count` bodies over `connections` keep-alive connections, each waiting for its answer."""
    tally = load.Tally()
    waiting = requests(port, count)
    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(_post(port, waiting, tally))
    tally.seconds = time.perf_counter() - start
    return tally


async def _post(port: int, waiting: Iterator[bytes], tally: load.Tally) -> None:
    loop = asyncio.get_running_loop()
    _, line = await loop.create_connection(lambda: HttpConnection(loop, loop.time()), "127.0.0.1", port)
    for request in itertools.takewhile(lambda _: line.reusable, waiting):
        began = time.perf_counter()
        answer = await line.send(request, ANSWER_BYTES_MAX)
        status = answer.status if isinstance(answer, RawAnswer) else 0
        tally.statuses[status] = tally.statuses.get(status, 0) + 1
        tally.took_ms.append((time.perf_counter() - began) * 1000)
    line.close()
