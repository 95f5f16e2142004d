"""Promise 7, a bad neighbour costs little; and what failing receivers cost the others: `python -m bench.neighbours`.

one       50 stores; one of them sends 100 times what each other one does, and its receiver hangs for 30 seconds.
half      the same with 25 of the 50.
backlog   one of 50 stores has a million events waiting for a receiver that takes them.
failing   what the healthy stores' receivers get a second while 0 %, 10 % and 50 % of all receivers answer 500.

The first three run twice: without the bad stores, and beside them. What counts is the others' time from sale to receipt
(p99) and how much of what they sold arrived within the time. Load, receiver and Crossdock share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.result import Result
from bench.stage import Stage, hook, placed, say, stage
from crossdock.demo.processes import get

STORES = 50
ANSWER_SECONDS = 40  # what far ends get: more than a hanging one takes
SECONDS = 30.0
GRACE_SECONDS = 1.0
BAD_TIMES = 100
SENDERS = 8
PORTION = 1_000
RATIO_MAX, MORE_MS_MAX, SHARE_MIN = 2.0, 250.0, 0.95


@dataclass(frozen=True, slots=True)
class Town:
    """How many stores are bad, where theirs lead, and what each good store sells a second. `backlog` waits for each bad
    one at the start."""

    bad: int
    path: str
    rate: float
    backlog: int = 0

    @property
    def good(self) -> int:
        return STORES - self.bad


ONE = Town(bad=1, path="/hang", rate=4.0)
HALF = Town(bad=25, path="/hang", rate=0.5)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the good stores saw: the events that they sold, those that arrived in time, and how long these took."""

    sold: int
    arrived: int
    p50_ms: float
    p99_ms: float
    hung: int

    @property
    def share(self) -> float:
        return self.arrived / self.sold


def event(number: int, prefix: str) -> dict[str, Any]:
    return {**placed(number), "specversion": "1.0", "id": f"{prefix}-{number}", "source": "/bench"}


def request(one: Stage, store: str, events: Sequence[dict[str, Any]]) -> bytes:
    body = json.dumps(events).encode()
    return (
        f"POST /v1/stores/{store}/events HTTP/1.1\r\nhost: 127.0.0.1:{one.port}\r\n"
        f"authorization: Bearer {one.tokens['core']}\r\ncontent-type: application/cloudevents-batch+json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body


async def post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, whole: bytes) -> int:
    writer.write(whole)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    await reader.readexactly(length)
    return int(head[9:12])


class Sellers:
    """Keep-alive connections that post what is put before them, and count the answers."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._queue: asyncio.Queue[tuple[bytes, int]] = asyncio.Queue()
        self.taken = 0

    def put(self, whole: bytes, events: int) -> None:
        self._queue.put_nowait((whole, events))

    async def work(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        while True:
            whole, events = await self._queue.get()
            if await post(reader, writer, whole) == 202:
                self.taken += events
            self._queue.task_done()

    async def done(self) -> None:
        await self._queue.join()


def sales(one: Stage, names: Sequence[str], rate: float, portion: int, prefix: str) -> Iterator[tuple[float, bytes]]:
    """When each portion is sold, in seconds from the start, from store to store."""
    numbers = itertools.count()
    step = portion / (rate * len(names))
    for turn in itertools.count():
        events = [event(next(numbers), prefix) for _ in range(portion)]
        yield turn * step, request(one, names[turn % len(names)], events)


async def sell(one: Stage, lines: Sequence[tuple[Iterator[tuple[float, bytes]], int, Sellers]], seconds: float) -> None:
    """Plays each line of sales in its own time. What is sold is not held up by what is bad: each has its sellers."""
    loop = asyncio.get_running_loop()
    workers = [asyncio.create_task(sellers.work()) for _, _, sellers in lines for _ in range(SENDERS)]
    begin = loop.time()

    async def play(line: Iterator[tuple[float, bytes]], portion: int, sellers: Sellers) -> None:
        for at, whole in line:
            if at >= seconds:
                return
            await asyncio.sleep(max(0.0, begin + at - loop.time()))
            sellers.put(whole, portion)

    await asyncio.gather(*(play(*line) for line in lines))
    for _, _, sellers in lines:
        await sellers.done()
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


def settle(one: Stage, names: Sequence[str]) -> None:
    """Every store has sold something: nothing of a first time is in what is measured."""
    for store in names:
        one.core.publish(store, [placed(0)])
    until = time.monotonic() + 60
    while get(one.receiver, "/")["distinct"] < len(names) and time.monotonic() < until:
        time.sleep(0.1)
    get(one.receiver, "/reset")


def wait_behind(one: Stage, names: Sequence[str], connections: Sequence[str], backlog: int) -> None:
    """So many events wait for each of the stores when the others begin."""
    for store, connection in zip(names, connections, strict=True):
        one.client.pause(store, connection)
        for first in range(0, backlog, PORTION):
            one.core.publish(store, [placed(number) for number in range(first, min(first + PORTION, backlog))])
        one.client.resume(store, connection)


def run(engine: str, town: Town, seconds: float, saboteur: str = "", *, bad: bool) -> Seen:
    """What the good stores see, beside the bad ones or without them."""
    with stage(engine, saboteur=saboteur, answer_seconds=ANSWER_SECONDS) as one:
        good = [f"good-{number}" for number in range(town.good)]
        worse = [f"bad-{number}" for number in range(town.bad)] if bad else []
        for store in (*good, *worse):
            one.client.create_store(store)
        for store in good:
            hook(one, store)
        settle(one, good)
        connections = [hook(one, store, town.path) for store in worse]
        if town.backlog:
            wait_behind(one, worse, connections, town.backlog)
        fine, other = Sellers(one.port), Sellers(one.port)
        lines = [(sales(one, good, town.rate, 1, "good"), 1, fine)]
        if worse and not town.backlog:
            rate = town.rate * BAD_TIMES
            portion = max(1, int(rate / 5))
            lines.append((sales(one, worse, rate, portion, "bad"), portion, other))
        asyncio.run(sell(one, lines, seconds))
        time.sleep(GRACE_SECONDS)
        seen = get(one.receiver, "/")
    ids = sorted(seen["good_ms"])
    return Seen(fine.taken, len(ids), at(ids, 0.5), at(ids, 0.99), seen["hung"])


def at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("inf")


def compared(engine: str, town: Town, seconds: float, saboteur: str = "") -> Result:
    """Whether the others are as well off beside the bad ones as without them, within the bounds of the promise."""
    alone = run(engine, town, seconds, saboteur, bad=False)
    beside = run(engine, town, seconds, saboteur, bad=True)
    bound = max(RATIO_MAX * alone.p99_ms, alone.p99_ms + MORE_MS_MAX)
    holds = beside.p99_ms <= bound and beside.share >= SHARE_MIN * alone.share
    text = (
        f"p99 {alone.p99_ms:.0f} ms alone, {beside.p99_ms:.0f} ms beside (bound {bound:.0f}); p50 {alone.p50_ms:.0f}"
        f" and {beside.p50_ms:.0f}; in time {alone.share:.1%} and {beside.share:.1%} of {beside.sold:,} sold"
    )
    return Result(holds, text + (f"; {beside.hung:,} calls hung" if beside.hung else ""))


def row_7(engine: str, seconds: int, saboteur: str) -> Result:
    return compared(engine, ONE, float(seconds), saboteur)


EVENTS_EACH = 400
FAILING = (0.0, 0.1, 0.5)


def healthy_rate(engine: str, failing: float) -> float:
    """What the stores with a healthy receiver get a second, from the first to the last of their events, which all wait
    at the start."""
    with stage(engine) as one:
        bad = int(STORES * failing)
        hooks = {}
        for number in range(STORES):
            store = f"s-{number}"
            one.client.create_store(store)
            hooks[store] = hook(one, store, "/fail" if number < bad else "/hook")
            one.client.pause(store, hooks[store])
            one.core.publish(store, [placed(turn) for turn in range(EVENTS_EACH)])
        # The failing ones first: they are at work when the others begin.
        for store, connection in hooks.items():
            one.client.resume(store, connection)
        wanted, until = (STORES - bad) * EVENTS_EACH, time.monotonic() + 120
        while (seen := get(one.receiver, "/"))["distinct"] < wanted and time.monotonic() < until:
            time.sleep(0.1)
    if seen["distinct"] < wanted:
        say(f"    only {seen['distinct']:,} of {wanted:,} arrived")
    return float(seen["distinct"] / max(seen["seconds"], 0.001))


def by_failing(engine: str) -> bool:
    say(f"Failing receivers on {engine} ({STORES} stores, {EVENTS_EACH} events waiting for each)")
    base = 0.0
    right = True
    for failing in FAILING:
        rate = healthy_rate(engine, failing)
        base = base or rate
        right = right and rate >= 0.9 * base
        say(f"  {failing:>4.0%} fail: the healthy ones get {rate:>8,.0f}/s   x{rate / base:.2f}")
    return right


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["one", "half", "backlog", "failing"])
    parser.add_argument("--engine", default="sqlite,postgres")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--backlog", type=int, default=1_000_000)
    given = parser.parse_args()
    towns = {"one": ONE, "half": HALF, "backlog": Town(bad=1, path="/hook-bad", rate=4.0, backlog=given.backlog)}
    right = True
    for engine in given.engine.split(","):
        for part in given.parts:
            if part == "failing":
                right = by_failing(engine) and right
                continue
            say(f"Bad neighbours: {part} ({engine}, {given.seconds:.0f} s)")
            result = compared(engine, towns[part], given.seconds)
            say(f"  {'holds ' if result.holds else 'BROKEN'}  {result.seen}\n")
            right = right and result.holds
    return 0 if right else 1


if __name__ == "__main__":
    raise SystemExit(main())
