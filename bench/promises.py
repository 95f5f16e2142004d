"""`make promises`: rows 1, 3 and 4 on the embedded engine at smaller counts, each with the planted fault that must turn
it red. Options: `--kills N --events N --ids N --rows 1,3,4` (the defaults are the published counts)."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import itertools
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from bench import load
from bench.stage import SECRET, STORE, Stage, connect, hook, order, placed, say, stage
from crossdock.demo.processes import DemoFailed, get

CONCURRENT = 32


@dataclass(slots=True)
class Result:
    """One row of the table: what was seen, and whether the promise holds."""

    holds: bool
    seen: str


def signed_order(port: int, connection: str, document: dict[str, Any]) -> bytes:
    body = json.dumps(document).encode()
    moment = str(int(time.time()))
    digest = hmac.digest(SECRET.encode(), moment.encode() + b"." + body, hashlib.sha256).hex()
    headers = {"content-type": "application/json", "x-signature": digest, "x-timestamp": moment}
    return load.post(port, f"/in/{connection}", body, headers)


def entries(directory: Path, query: str) -> list[tuple[Any, ...]]:
    """A read of the database file from outside."""
    connection = apsw.Connection(str(directory / "data" / "crossdock.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return list(connection.execute(query))
    finally:
        connection.close()


@dataclass(slots=True)
class Acknowledged:
    """Event ids that were answered with 2xx."""

    ids: set[str] = field(default_factory=set)
    idle: int = 0
    """Kills before which nothing was acknowledged: too many, and the promise was not tried."""


async def send_until_broken(port: int, connection: str, numbers: Iterator[int], acked: Acknowledged) -> None:
    """One closed loop of signed orders; ends when the server is gone."""
    with suppress(OSError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while True:
                writer.write(signed_order(port, connection, order(next(numbers))))
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                if head[9:12] in (b"200", b"202"):
                    acked.ids.add(json.loads(body)["event_id"])
        finally:
            writer.close()


async def load_until_broken(port: int, connection: str, numbers: Iterator[int], acked: Acknowledged) -> None:
    await asyncio.gather(*(send_until_broken(port, connection, numbers, acked) for _ in range(CONCURRENT)))


def kill_cycles(one: Stage, kills: int, dice: random.Random) -> Acknowledged:
    acked = Acknowledged()
    till = connect(one, "orders.generic", {}, {"signing_secret": SECRET})
    hook(one)
    numbers, sales = itertools.count(), itertools.count()
    for cycle in range(kills):
        moment = dice.uniform(0.05, 0.5)
        with suppress(Exception):  # the sale may meet the kill of the last cycle: then it is not acknowledged
            one.core.publish(STORE, [placed(next(sales)) for _ in range(20)])
        before = len(acked.ids)
        killer = threading.Timer(moment, one.processes.kill, ("crossdock",))
        killer.start()
        asyncio.run(load_until_broken(one.port, till, numbers, acked))
        killer.join()
        acked.idle += len(acked.ids) == before
        one.serve()
        if (cycle + 1) % 20 == 0:
            say(f"    {cycle + 1} kills, {len(acked.ids):,} acknowledged")
    return acked


def row_1(kills: int, saboteur: str) -> Result:
    """2xx means durable: kill -9 at random moments under load."""
    with stage(saboteur=saboteur) as one:
        acked = kill_cycles(one, kills, random.Random(1))
        books = settled(one, 120)
        seen = get(one.receiver, "/")
        one.processes.end("crossdock")
        there = {row[0] for row in entries(one.directory, "SELECT event_id FROM entries WHERE origin <> 'core'")}
        sound = entries(one.directory, "PRAGMA quick_check") == [("ok",)]
    lost = len(acked.ids - there)
    bad_books = sum(not lane["closes"] for lane in books)
    text = (
        f"{kills} kills ({acked.idle} of them idle), {len(acked.ids):,} acknowledged, {lost} lost"
        + (f" (below {3 / max(len(acked.ids), 1):.1e})" if not lost else "")
        + f", integrity {'ok' if sound else 'BROKEN'}, {len(books)} ledgers, {bad_books} open, "
        f"{seen['count'] - seen['distinct']} repeats delivered, {seen['differing']} with another body"
    )
    tried = acked.idle <= kills // 10
    return Result(not lost and sound and not bad_books and not seen["differing"] and tried, text)


def settled(one: Stage, seconds_max: float) -> list[dict[str, Any]]:
    """The ledgers when no webhook waits any more, or when time is up."""
    until = time.monotonic() + seconds_max
    while True:
        lanes: list[dict[str, Any]] = one.client.lanes(STORE)["items"]
        waiting = sum(lane["waiting"] for lane in lanes if lane["route"] != "order-in")
        if not waiting or time.monotonic() > until:
            return lanes
        time.sleep(0.5)


def row_3(events: int, saboteur: str) -> Result:
    """Duplicates are bounded, byte-identical and carry the same id: the receiver takes an event and then breaks the
    connection instead of answering, three times in ten."""
    with stage(saboteur=saboteur, ack_loss=0.3) as one:
        hook(one)
        for first in range(0, events, 1_000):
            one.core.publish(STORE, [placed(number) for number in range(first, min(first + 1_000, events))])
        lanes = settled(one, 600)
        seen = get(one.receiver, "/")
    repeats = seen["count"] - seen["distinct"]
    waiting = sum(lane["waiting"] + lane["parked"] for lane in lanes)
    text = (
        f"{events:,} events, {seen['ack_losses']:,} answers lost, {repeats:,} repeats, "
        f"{seen['distinct']:,} distinct ids, {seen['differing']} with another body, {waiting} left"
    )
    holds = seen["distinct"] == events and repeats <= seen["ack_losses"] and not seen["differing"] and not waiting
    return Result(holds, text)


def row_4(ids: int, saboteur: str) -> Result:
    """Inbound dedupe is atomic: 32 at once with the same id, half of them with another body."""
    with stage(saboteur=saboteur) as one:
        till = connect(one, "orders.generic", {}, {"signing_secret": SECRET})
        statuses: dict[int, int] = {}
        for number in range(ids):
            same, other = order(number), {**order(number), "status": "open"}
            burst = [same if turn % 2 == 0 else other for turn in range(CONCURRENT)]
            requests = iter([signed_order(one.port, till, document) for document in burst])
            tally = asyncio.run(load.run(one.port, requests, connections=CONCURRENT, seconds=30))
            for status, count in tally.statuses.items():
                statuses[status] = statuses.get(status, 0) + count
        one.processes.end("crossdock")
        ((rows, distinct),) = entries(
            one.directory, "SELECT COUNT(*), COUNT(DISTINCT event_id) FROM entries WHERE origin <> 'core'"
        )
        ((flagged,),) = entries(one.directory, "SELECT COUNT(*) FROM conflicts")
    conflicts = statuses.get(409, 0)
    text = (
        f"{ids:,} ids x {CONCURRENT} at once: {rows:,} rows for {distinct:,} ids, "
        f"{conflicts:,} of {ids * CONCURRENT // 2:,} conflicts answered 409, {flagged:,} recorded"
    )
    return Result(rows == distinct == ids and conflicts == flagged == ids * CONCURRENT // 2, text)


Row = tuple[int, str, Callable[[int, str], Result], str, str]
ROWS: tuple[Row, ...] = (
    (1, "2xx means durable", row_1, "kills", "ack-before-commit"),
    (3, "duplicates are bounded, byte-identical and carry the same id", row_3, "events", "new-id-per-attempt"),
    (4, "inbound dedupe is atomic", row_4, "ids", "select-then-insert"),
)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--events", type=int, default=5_000)
    parser.add_argument("--ids", type=int, default=300)
    parser.add_argument("--rows", default="1,3,4")
    return parser.parse_args()


def main() -> int:
    given = options()
    wanted = {int(number) for number in given.rows.split(",")}
    right = True
    for number, promise, play, unit, saboteur in ROWS:
        if number not in wanted:
            continue
        say(f"{number}. {promise}")
        count = getattr(given, unit)
        started = time.monotonic()
        result = play(count, "")
        say(f"   {'holds ' if result.holds else 'BROKEN'}  {result.seen}")
        try:
            caught = play(max(10, count // 20), saboteur)
        except DemoFailed as failure:
            caught = Result(False, str(failure)[:200])
        say(f"   saboteur {saboteur}: {'turned it red' if not caught.holds else 'STAYED GREEN'}  {caught.seen}")
        say(f"   {time.monotonic() - started:.0f} s\n")
        right = right and result.holds and not caught.holds
    say("Every promise holds and every saboteur was caught." if right else "NOT every promise holds.")
    return 0 if right else 1


if __name__ == "__main__":
    raise SystemExit(main())
