"""Promises 1 and 19 on the simulated disk: what was acknowledged outlives every power cut, and an error of the disk is
never a 2xx. SQLite alone: PostgreSQL keeps its own files.

Each run is a seed. They are spread over the processors; how fast they are changes nothing of what they see."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from math import ceil

from bench.lax import LAX
from bench.result import Result, below
from crossdock.engines.sqlite.engine import SqliteEngine
from crossdock.model.errors import Unavailable
from crossdock.model.ids import EventId, Position, StoreId
from crossdock.testing.samples import NOW, draft
from crossdock.testing.world.disk import Disk
from crossdock.testing.world.outages import STORES, Broken, Outages

CUTS = 20  # of a run, beside some crashes: more would read ever longer journals after each
APPENDS = 12  # of a run whose syncs fail in turn
SEEDS_AT_ONCE = 5  # what a process is given at a time


@dataclass(slots=True)
class Seen:
    """Power cuts, or failed syncs; what was acknowledged; and what was found wrong."""

    ends: int = 0
    acked: int = 0
    refused: int = 0
    broken: int = 0
    first: str = ""
    cpu_seconds: float = 0.0

    def add(self, other: Seen) -> None:
        self.cpu_seconds += other.cpu_seconds
        self.ends += other.ends
        self.acked += other.acked
        self.refused += other.refused
        self.broken += other.broken
        self.first = self.first or other.first


async def lives(seed: int) -> Seen:
    outages = Outages(seed)
    broken = ""
    try:
        while outages.cuts < CUTS:
            await outages.life()
        await outages.finish()
    except Broken as error:
        broken = str(error)
    finally:
        outages.close()
    return Seen(outages.cuts, outages.known.acknowledged, outages.refused, bool(broken), broken)


async def failing_syncs(seed: int) -> Seen:
    """The same run again and again, while its first sync fails, its second, and so on, until there is no such sync."""
    seen = Seen()
    for at in count(1):
        one = await failing_sync(seed, at)
        if one is None:
            return seen
        seen.add(one)
    raise AssertionError("unreachable")


async def failing_sync(seed: int, at: int) -> Seen | None:
    disk = Disk(f"{seed} {at}", checkpoint_pages=20)
    try:
        engine = disk.open_engine(lambda: NOW)
        await engine.start()
        disk.fail("sync", at)
        failing = disk.syncs + at
        places, refused, late = await appended(engine, seed, disk, failing)
        if disk.syncs < failing:
            return None
        await engine.close()
        again = disk.syncs - failing
        if disk.dice.random() < 0.5:  # a restart, and only then the cut
            engine = disk.open_engine(lambda: NOW)
            await engine.start()
        disk.power_cut()
        lost = await missing(disk, places)
    finally:
        disk.close()
    wrong = (
        [f"{lost} lost"] * bool(lost)
        + [f"{late} 2xx after it"] * bool(late)
        + [f"{again} syncs after it"] * (again > 0)
    )
    text = f"seed {seed}, sync {at}: {', '.join(wrong)}" if wrong else ""
    return Seen(1, len(places), refused, lost + late + (again > 0), text)


Places = dict[tuple[StoreId, Position], EventId]


async def appended(engine: SqliteEngine, seed: int, disk: Disk, failing: int) -> tuple[Places, int, int]:
    """What was answered where, how many calls were refused, and how many were acknowledged after the failed sync."""
    places: Places = {}
    refused = late = 0
    for number in range(APPENDS):
        over = disk.syncs >= failing
        one = draft(f"{seed}-{number}", store=STORES[number % len(STORES)])
        try:
            (answer,) = await engine.journal.append([one])
        except Unavailable:
            refused += 1
            continue
        late += over
        places[one.store, answer.position] = one.event_id  # type: ignore[union-attr]
    return places, refused, late


async def missing(disk: Disk, places: Places) -> int:
    engine = disk.open_engine(lambda: NOW)
    await engine.start()
    entries = {key: await engine.journal.entry(*key) for key in places}
    there = {key: entry.event_id for key, entry in entries.items() if entry is not None}
    return sum(there.get(key) != event_id for key, event_id in places.items())


def run(saboteur: str, what: Callable[[int], Awaitable[Seen]], seeds: range) -> Seen:
    """In a process of the pool."""

    async def all_of_them() -> Seen:
        seen = Seen()
        for seed in seeds:
            seen.add(await what(seed))
        return seen

    started = time.process_time()
    with LAX[saboteur]():
        seen = asyncio.run(all_of_them())
    seen.cpu_seconds = time.process_time() - started
    return seen


def spread(saboteur: str, what: Callable[[int], Awaitable[Seen]], seeds: int) -> Seen:
    seen = Seen()
    parts = [range(first, min(first + SEEDS_AT_ONCE, seeds)) for first in range(0, seeds, SEEDS_AT_ONCE)]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as processes:
        for part in processes.map(partial(run, saboteur, what), parts):
            seen.add(part)
    return seen


def row_1_cuts(engine: str, cuts: int, saboteur: str) -> Result:
    """2xx means durable. Where several saboteurs are named, each must be caught."""
    found = [(name, spread(name, lives, ceil(cuts / CUTS))) for name in saboteur.split(", ")]
    texts = [
        f"{shown(name)}{seen.ends:,} power cuts, {seen.acked:,} acknowledged, {seen.broken} runs broken"
        f"{below(seen.broken, seen.ends)}, {seen.ends / seen.cpu_seconds:,.0f} cuts a second of CPU{first(seen)}"
        for name, seen in found
    ]
    return Result(not all(seen.broken for _, seen in found), "; ".join(texts))


def row_19(engine: str, runs: int, saboteur: str) -> Result:
    """An error of the disk is never a 2xx, and no failed sync is tried again. Saboteurs as in `row_1_cuts`."""
    found = [(name, spread(name, failing_syncs, runs)) for name in saboteur.split(", ")]
    texts = [
        f"{shown(name)}{runs} runs, {seen.ends:,} failed syncs, {seen.acked:,} acknowledged, {seen.refused:,} refused,"
        f" {seen.broken} false or synced again{below(seen.broken, seen.acked)}{first(seen)}"
        for name, seen in found
    ]
    return Result(not all(seen.broken for _, seen in found), "; ".join(texts))


def shown(name: str) -> str:
    return f"{name}: " if name else ""


def first(seen: Seen) -> str:
    return f" ({seen.first[:160]})" if seen.first else ""
