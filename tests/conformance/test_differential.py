"""Any sequence of calls leaves every engine and the in-memory reference alike, and every ledger closed."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossdock.engines.memory.engine import MemoryEngine
from crossdock.engines.postgres.engine import PostgresEngine
from crossdock.engines.sqlite.engine import SqliteEngine
from crossdock.journal.port import LaneWish
from crossdock.model.contract import Queued
from crossdock.model.errors import CrossdockError
from crossdock.model.ids import START, Instant, LaneId, Position
from crossdock.model.lane import Counts, Gate, Held, HeldState, LaneChange
from crossdock.model.limits import SLOTS
from crossdock.stores.port import CloseLane, Engine, OpenLane, ReplayHeld, ReplayResolved
from crossdock.testing.samples import NORTH, NOW, SOUTH, attempt, draft, lane_id, write
from postgres import House

LANES = (lane_id("a"), lane_id("b"), lane_id("a", store=SOUTH))
lanes = st.sampled_from(LANES)
positions = st.integers(0, 8)
outcome = st.sampled_from(["delivered", "filtered", "retrying", "waiting", "parked"])

appends = st.tuples(
    st.just("append"),
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from([NORTH, SOUTH]), st.integers(0, 1)), max_size=5),
)
turns = st.tuples(st.just("turn"), lanes, st.lists(outcome, max_size=8), st.integers(0, 40))
wild = st.tuples(
    st.just("wild"), lanes, positions, positions, st.lists(positions, max_size=2), st.lists(positions, max_size=2)
)
opens = st.tuples(st.just("open"), lanes)
closes = st.tuples(st.just("close"), lanes, st.sampled_from(Queued))
replays = st.tuples(st.just("replay"), lanes, st.lists(positions, max_size=4), st.booleans())
gates = st.tuples(st.just("gate"), st.sampled_from([NORTH, SOUTH]), st.sampled_from([*Gate, Gate.OPEN, Gate.OPEN]))
steps = st.lists(st.one_of(appends, turns, turns, wild, opens, closes, replays, gates), max_size=25)


def a_turn(read: Any, outcomes: list[str]) -> LaneChange:
    """A change that balances: each due row and each entry of the window ends as the list says, in turn."""
    lane, ends = read.lane, iter(outcomes)
    tally = {"delivered": 0, "filtered": 0}
    hold, release = [], []
    cursor = lane.cursor
    for row, end in zip([row for row, _ in read.due], ends, strict=False):
        if end in tally:
            tally[end] += 1
            release.append(row.position)
        else:
            hold.append(Held(row.position, HeldState(end), Instant(9), row.attempts + 1, row.key, "r", NOW, row.replay))
    for entry, end in zip(read.window, ends, strict=False):
        cursor = entry.position
        if end in tally:
            tally[end] += 1
        else:
            hold.append(Held(cursor, HeldState(end), Instant(9), 1, "ab"[cursor % 2], "r", NOW))
    attempts = tuple(attempt(one.position) for one in hold)
    return LaneChange(lane.id, lane.epoch, lane.cursor, cursor, Counts(**tally), tuple(hold), tuple(release), attempts)


async def answer(work: Awaitable[Any]) -> Any:
    try:
        return await work
    except CrossdockError as error:
        return type(error), error.code


async def do(engine: Engine, step: tuple[Any, ...]) -> Any:
    match step:
        case ("append", rows):
            made = [draft(key, store=store, print_=bytes([print_])) for key, store, print_ in rows]
            return await answer(engine.journal.append(made))
        case ("turn", lane, outcomes, now):
            reads = await engine.lanes.read([LaneWish(lane, 4)], Instant(now))
            return reads, await answer(engine.lanes.settle([a_turn(read, outcomes) for read in reads]))
        case ("wild", lane, start, to, holds, releases):
            rows = tuple(Held(Position(one), HeldState.PARKED, NOW, 0, "", "r", NOW) for one in holds)
            change = LaneChange(lane, 0, Position(start), Position(to), Counts(delivered=1), rows, tuple(releases))
            return await answer(engine.lanes.settle([change]))
        case ("open", lane):
            return await answer(write(engine, OpenLane(lane)))
        case ("close", lane, queued):
            return await answer(write(engine, CloseLane(lane, queued)))
        case ("gate", store, state):
            return await answer(engine.journal.gate(store, state))
        case (_, lane, places, held):
            return await answer(write(engine, replay(lane, tuple(places), held)))


def replay(lane: LaneId, places: tuple[Position, ...], held: bool) -> ReplayHeld | ReplayResolved:
    if held:
        return ReplayHeld(lane, places, Instant(3))
    return ReplayResolved(lane, places, ("k",) * len(places), Instant(3))


async def look(engine: Engine) -> list[Any]:
    ledgers = await engine.lanes.ledgers()
    assert all(ledger.closes for ledger in ledgers)
    wishes = [LaneWish(lane, 20) for lane in LANES]
    seen: list[Any] = [ledgers, await engine.lanes.read(wishes, Instant(5)), await engine.lanes.open_lanes()]
    seen += [await engine.lanes.open_lanes([SOUTH]), set(await engine.lanes.stirring(range(SLOTS)))]
    seen += [await engine.registry.changes(2)]
    for store in (NORTH, SOUTH):
        seen += [await engine.journal.read(store, START, 99), await engine.journal.conflicts(store, 99)]
    for lane in LANES:
        seen += [await engine.lanes.held(lane, None, START, 99), await engine.lanes.attempts(lane, 99)]
    return [*seen, await engine.registry.audit(None, 0, 999), await engine.registry.audit(NORTH, 0, 999)]


async def alike(engine: Engine, sequence: list[tuple[Any, ...]]) -> None:
    reference = MemoryEngine(lambda: NOW)
    await engine.start()
    try:
        for step in [("open", LANES[0]), *sequence]:
            assert await do(engine, step) == await do(reference, step), step
            assert await look(engine) == await look(reference), step
    finally:
        await engine.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(steps)
def test_sqlite_does_what_the_reference_does(sequence: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(alike(SqliteEngine(Path(folder) / "j.db", lambda: NOW), sequence))


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(steps)
def test_postgresql_does_what_the_reference_does(postgres_shared: House, sequence: list[tuple[Any, ...]]) -> None:
    postgres_shared.clean()
    asyncio.run(alike(PostgresEngine(postgres_shared.app, lambda: NOW), sequence))
