"""Crossdock on the cluster: real processes, and tills that send an order again until it is acknowledged."""

from __future__ import annotations

import asyncio
import itertools
import json
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from bench.ha.cluster import Cluster
from bench.ha.settings import DATABASE
from bench.ha.word import Word
from bench.requests import signed_order
from bench.stage import GAPS, INDEXES, SECRET, STORE, Stage, connect, first_token_at, hook, order, placed, unbounded
from crossdock.demo.processes import Processes, free_ports, get

PARTS = {"ingest": "ingest", "deliver": "deliver", "deliver-2": "deliver", "api": "api"}
TILLS = 16
AGAIN_SECONDS = 0.2  # a till that was refused; the answer says 1 s, and this asks harder
ANSWER_SECONDS_MAX = 30.0
QUIET_SECONDS_MAX = 120.0
SALES = 20


@dataclass(frozen=True, slots=True)
class OnCluster:
    cluster: Cluster

    def environment(self) -> Mapping[str, str]:
        return {
            "CROSSDOCK_DATABASE": self.cluster.conninfo("crossdock_app"),
            "CROSSDOCK_DATABASE_OWNER": self.cluster.conninfo("crossdock_owner"),
        }

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.cluster.conninfo("postgres", DATABASE)) as connection:
            connection.execute("SET search_path = crossdock")
            return connection.execute(query).fetchall()  # type: ignore[arg-type]

    def sound(self) -> bool:
        """Every index holds what its table holds (amcheck), and positions have no gap."""
        with psycopg.connect(self.cluster.conninfo("postgres", DATABASE), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS amcheck")
            for (index,) in connection.execute(INDEXES).fetchall():
                connection.execute("SELECT bt_index_check(%s::regclass, true)", (index,))
        return not self.rows(GAPS)


@dataclass(slots=True)
class Estate:
    stage: Stage
    till: str
    word: Word
    numbers: Iterator[int] = field(default_factory=itertools.count)
    sold: int = 0

    def sell(self) -> None:
        """Sales by the core, and the same again if they were not acknowledged."""
        with suppress(Exception):  # it may meet a kill: then they are not acknowledged
            self.stage.core.publish(STORE, [placed(self.sold + number) for number in range(SALES)])
            self.sold += SALES


@contextmanager
def estate(cluster: Cluster) -> Iterator[Estate]:
    """Crossdock in four processes with a store, a receiver and one connection each way."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crossdock-bench-")))
        (directory / "data").mkdir(mode=0o700)
        unbounded(directory / "contracts", answer_seconds=10)
        place = OnCluster(cluster)
        tokens = {role: first_token_at(directory / "data", place, role) for role in ("platform_admin", "core")}
        receiver, *ports = free_ports(1 + len(PARTS))
        processes = stack.enter_context(Processes(directory))
        processes.start("receiver", ["-m", "bench.receiver", str(receiver), "0", "0"], ready="ready")
        stage = Stage(directory, place, processes, receiver, PARTS, dict(zip(PARTS, ports, strict=True)), tokens)
        stage.serve()
        stage.client.create_store(STORE)
        till = connect(stage, "orders.generic", {}, {"signing_secret": SECRET})
        hook(stage)
        yield Estate(stage, till, Word())


@contextmanager
def tills(one: Estate, count: int = TILLS) -> Iterator[Word]:
    """A load while the block lasts."""

    async def all_of_them() -> None:
        await asyncio.gather(*(insist(one) for _ in range(count)))

    one.word.done = False
    thread = threading.Thread(target=lambda: asyncio.run(all_of_them()))
    thread.start()
    try:
        yield one.word
    finally:
        one.word.done = True
        thread.join()


async def insist(one: Estate) -> None:
    """One till: an order, again and again until it is acknowledged, then the next."""
    number = next(one.numbers)
    while not one.word.done:
        with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            reader, writer = await asyncio.open_connection("127.0.0.1", one.stage.port)
            try:
                while not one.word.done:
                    writer.write(signed_order(one.stage.port, one.till, order(number)))
                    if await asyncio.wait_for(answered(reader, one.word), ANSWER_SECONDS_MAX):
                        number = next(one.numbers)
                    else:
                        await asyncio.sleep(AGAIN_SECONDS)
            finally:
                writer.close()
        if not one.word.done:
            one.word.not_acknowledged("cut off")
            await asyncio.sleep(AGAIN_SECONDS)


async def answered(reader: asyncio.StreamReader, word: Word) -> bool:
    """Whether the answer acknowledges."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    body = await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
    status = head[9:12].decode()
    if status in {"200", "202"}:
        word.acknowledged(json.loads(body)["event_id"])
        return True
    with suppress(ValueError):
        status += f" {json.loads(body).get('code', '')}"
    word.not_acknowledged(status)
    word.unhelpful += status.startswith("503") and b"retry-after:" not in head
    return False


@dataclass(frozen=True, slots=True)
class Books:
    """What is there in the end. `repeats`: how often the receiver got what it had; `differing`: with another body."""

    lost: int
    undelivered: int
    repeats: int
    differing: int
    open: int
    sound: bool

    @property
    def right(self) -> bool:
        return self.sound and not (self.lost or self.undelivered or self.differing or self.open)

    def shown(self) -> str:
        return (
            f"{self.undelivered} undelivered, {self.repeats} repeats, {self.differing} with another body,"
            f" {self.open} ledgers open, data {'sound' if self.sound else 'BROKEN'}"
        )


def lost(one: Estate) -> int:
    """How many of what was acknowledged are not in the journal."""
    there = {row[0] for row in one.stage.place.rows("SELECT event_id FROM entries WHERE origin <> 'core'")}
    ((sales,),) = one.stage.place.rows("SELECT count(*) FROM entries WHERE origin = 'core'")
    return len(one.word.ids - there) + max(0, one.sold - sales)


def books(one: Estate) -> Books:
    """When the sales have been delivered, or time is up."""
    until = time.monotonic() + QUIET_SECONDS_MAX
    while True:
        lanes = one.stage.client.lanes(STORE)["items"]
        waiting = sum(lane["waiting"] for lane in lanes if lane["route"] != "order-in")
        if not waiting or time.monotonic() > until:
            break
        time.sleep(0.5)
    received = get(one.stage.receiver, "/")
    ((sales,),) = one.stage.place.rows("SELECT count(*) FROM entries WHERE origin = 'core'")
    return Books(
        lost(one),
        sales - received["distinct"],
        received["count"] - received["distinct"],
        received["differing"],
        sum(not lane["closes"] for lane in lanes),
        one.stage.place.sound(),
    )
