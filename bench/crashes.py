"""Promises 1 and 2: what was acknowledged is there, and every ledger closes, whatever is killed under load.

On the embedded engine the process is killed. On PostgreSQL each in turn: the process that takes events in, one of two
that deliver, a backend of the server, and the whole server as by a power cut.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from bench.requests import signed_order
from bench.result import Result, below
from bench.stage import ONE, SECRET, STORE, OnServer, Stage, connect, hook, order, placed, say, stage
from crossdock.demo.processes import get

CONCURRENT = 32
APART = {"ingest": "ingest", "deliver": "deliver", "deliver-2": "deliver", "api": "api"}
REST_SECONDS = (0.1, 0.6)  # between two kills, drawn evenly
WORD_SECONDS_MAX = 60.0  # how long a kill may keep everybody from being acknowledged


@dataclass(slots=True)
class Acknowledged:
    """Event ids that were answered with 2xx."""

    ids: set[str] = field(default_factory=set)
    done: bool = False


async def send(one: Stage, connection: str, numbers: Iterator[int], acked: Acknowledged) -> None:
    """One closed loop of signed orders, which connects again whenever it is broken off."""
    while not acked.done:
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
            try:
                while not acked.done:
                    writer.write(signed_order(one.port, connection, order(next(numbers))))
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                    body = await reader.readexactly(length)
                    if head[9:12] in (b"200", b"202"):
                        acked.ids.add(json.loads(body)["event_id"])
                    else:
                        await asyncio.sleep(0.02)
            finally:
                writer.close()
        await asyncio.sleep(0.02)


def load(one: Stage, connection: str, acked: Acknowledged) -> threading.Thread:
    numbers = itertools.count()

    async def all_of_them() -> None:
        await asyncio.gather(*(send(one, connection, numbers, acked) for _ in range(CONCURRENT)))

    thread = threading.Thread(target=lambda: asyncio.run(all_of_them()))
    thread.start()
    return thread


def kill_part(name: str) -> Callable[[Stage], None]:
    def kill(one: Stage) -> None:
        one.processes.kill(name)
        one.serve(name)

    return kill


def kill_backend(one: Stage) -> None:
    assert isinstance(one.place, OnServer)
    one.place.server.kill_backend()
    one.place.server.wait()


def kill_server(one: Stage) -> None:
    assert isinstance(one.place, OnServer)
    one.place.server.stop("immediate")
    one.place.server.start()


def kill_deliver() -> Callable[[Stage], None]:
    names = itertools.cycle(("deliver", "deliver-2"))

    def kill(one: Stage) -> None:
        kill_part(next(names))(one)

    return kill


VICTIMS: Mapping[str, tuple[Mapping[str, str], Callable[[Stage], None]]] = {
    "process": (ONE, kill_part("crossdock")),
    "ingest": (APART, kill_part("ingest")),
    "deliver": (APART, kill_deliver()),
    "backend": (APART, kill_backend),
    "server": (APART, kill_server),
}
OF = {"sqlite": ("process",), "postgres": ("ingest", "deliver", "backend", "server")}


@dataclass(slots=True)
class Seen:
    """What a run of kills left. `idle`: after so many kills nobody was acknowledged for WORD_SECONDS_MAX. `open`:
    ledgers that did not close, over all looks."""

    acked: int = 0
    lost: int = 0
    idle: int = 0
    looks: int = 0
    open: int = 0
    sound: bool = True
    ledgers: int = 0
    repeats: int = 0
    differing: int = 0
    undelivered: int = 0

    @property
    def durable(self) -> bool:
        return not self.lost and self.sound and not self.differing and not self.idle

    @property
    def whole(self) -> bool:
        return not self.open and not self.undelivered and self.looks > 0 and not self.idle


def run(engine: str, victim: str, kills: int, saboteur: str = "", refuse: float = 0.0) -> Seen:
    parts, kill = VICTIMS[victim]
    seen, acked, dice = Seen(), Acknowledged(), random.Random(1)
    with stage(engine, parts=parts, saboteur=saboteur, refuse=refuse) as one:
        till = connect(one, "orders.generic", {}, {"signing_secret": SECRET})
        hook(one)
        thread = load(one, till, acked)
        sold = 0
        try:
            for cycle in range(kills):
                time.sleep(dice.uniform(*REST_SECONDS))
                sold += publish(one, sold)
                kill(one)
                seen.idle += not heard(acked)
                look(one, seen)
                if (cycle + 1) % 50 == 0:
                    say(f"    {victim}: {cycle + 1} kills, {len(acked.ids):,} acknowledged")
        finally:
            acked.done = True
            thread.join()
        finish(one, seen, acked, sold)
    return seen


def publish(one: Stage, first: int) -> int:
    """Twenty sales; how many were acknowledged (all or none of a call)."""
    with suppress(Exception):  # it may meet a kill: then it is not acknowledged
        one.core.publish(STORE, [placed(first + number) for number in range(20)])
        return 20
    return 0


def heard(acked: Acknowledged) -> bool:
    """Whether somebody is acknowledged again."""
    before, until = len(acked.ids), time.monotonic() + WORD_SECONDS_MAX
    while len(acked.ids) == before:
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def look(one: Stage, seen: Seen) -> None:
    """Every ledger, in the middle of it all."""
    with suppress(Exception):  # the api's own sessions may just have been killed: the next look comes soon
        lanes = one.client.lanes(STORE)["items"]
        seen.looks += 1
        seen.open += sum(not lane["closes"] for lane in lanes)


def finish(one: Stage, seen: Seen, acked: Acknowledged, sold: int) -> None:
    books = settled(one, 180)
    received = get(one.receiver, "/")
    seen.repeats, seen.differing = received["count"] - received["distinct"], received["differing"]
    there = {row[0] for row in one.place.rows("SELECT event_id FROM entries WHERE origin <> 'core'")}
    ((sales,),) = one.place.rows("SELECT count(*) FROM entries WHERE origin = 'core'")
    seen.undelivered = sales - received["distinct"]
    seen.lost = len(acked.ids - there) + max(0, sold - sales)
    seen.acked = len(acked.ids) + sold
    seen.open += sum(not lane["closes"] for lane in books)
    seen.ledgers = len(books)
    seen.sound = one.place.sound()


def settled(one: Stage, seconds_max: float) -> list[dict[str, Any]]:
    """The ledgers when no webhook waits any more, or when time is up."""
    until = time.monotonic() + seconds_max
    while True:
        lanes: list[dict[str, Any]] = one.client.lanes(STORE)["items"]
        waiting = sum(lane["waiting"] for lane in lanes if lane["route"] != "order-in")
        if not waiting or time.monotonic() > until:
            return lanes
        time.sleep(0.5)


def row_1(engine: str, kills: int, saboteur: str) -> Result:
    """2xx means durable."""
    victims = ("ingest", "server") if saboteur and engine == "postgres" else OF[engine]
    found = [(victim, run(engine, victim, kills, saboteur)) for victim in victims]
    texts = [
        f"{victim} x {kills}: {one.acked:,} acknowledged, {one.lost} lost{below(one.lost, one.acked)},"
        f" data {'sound' if one.sound else 'BROKEN'}, {one.repeats} repeats, {one.differing} with another body"
        + (f", {one.idle} idle" if one.idle else "")
        for victim, one in found
    ]
    return Result(all(one.durable for _, one in found), "; ".join(texts))


def row_2(engine: str, kills: int, saboteur: str) -> Result:
    """Nothing vanishes: every ledger closes at every look, and what was sold was received, although the receiver turns
    three tries in ten away."""
    victim = "deliver" if engine == "postgres" else "process"
    seen = run(engine, victim, kills, saboteur, refuse=0.3)
    text = (
        f"{victim} x {kills}: {seen.looks} looks at {seen.ledgers} ledgers, {seen.open} did not close,"
        f" {seen.undelivered} sales that never arrived"
    )
    return Result(seen.whole, text)
