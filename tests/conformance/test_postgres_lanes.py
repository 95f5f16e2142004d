"""What the lanes on PostgreSQL owe beyond the suite: groups, locks, fences, and the number of statements."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
import psycopg
import pytest

from crossdock.engines.postgres.journal import PostgresJournal
from crossdock.engines.postgres.lanes import PostgresLanes
from crossdock.engines.postgres.news import News
from crossdock.engines.postgres.pool import SESSION, Pool
from crossdock.journal.port import LaneWish
from crossdock.journal.slots import slot_of
from crossdock.model.errors import Bug
from crossdock.model.ids import START, Instant, LaneId, Position, StoreId
from crossdock.model.lane import Counts, Fence, Gate, Held, HeldState, LaneChange
from crossdock.testing.samples import NORTH, NOW, SOUTH, attempt, drafts, held, lane_id
from postgres import House

DEADLINE_SECONDS = 20.0
LANE = lane_id()


@dataclass
class Bench:
    """A database with the schema: the address that Crossdock serves with, a connection that no wall stops, and one that
    looks on from outside every transaction."""

    app: str
    admin: psycopg.Connection[tuple[Any, ...]]
    watch: psycopg.Connection[tuple[Any, ...]]

    def lane(self, lane: LaneId, cursor: int = 0) -> LaneId:
        self.admin.execute(
            "INSERT INTO lanes (store_id, connection_id, route, slot, start, cursor, open) "
            "VALUES (%s, %s, %s, %s, %s, %s, true)",
            (lane.store, lane.connection, lane.route, slot_of(lane.store, lane.connection), cursor, cursor),
        )
        return lane

    def one(self, query: str, *values: Any) -> Any:
        row = self.admin.execute(query, values).fetchone()  # type: ignore[arg-type]
        return None if row is None else row[0]

    def waiters(self) -> int:
        """How many transactions wait for another's lock."""
        row = self.watch.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ).fetchone()
        return 0 if row is None else int(row[0])


@pytest.fixture
def bench(postgres_house: House) -> Iterator[Bench]:
    with (
        psycopg.connect(postgres_house.admin, autocommit=True) as admin,
        psycopg.connect(postgres_house.admin, autocommit=True) as watch,
    ):
        admin.execute("SET search_path = crossdock")
        yield Bench(postgres_house.app, admin, watch)


@asynccontextmanager
async def opened(bench: Bench, hear: Callable[[str], None] | None = None) -> AsyncIterator[Pool]:
    pool = Pool(bench.app, 4)
    if hear is not None:
        pool.count_queries(hear)
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close()


@pytest.fixture
async def pool(bench: Bench) -> AsyncIterator[Pool]:
    async with opened(bench) as pool:
        yield pool


@pytest.fixture
async def journal(pool: Pool) -> AsyncIterator[PostgresJournal]:
    journal = PostgresJournal(pool, News(pool))
    yield journal
    await journal.close()


@pytest.fixture
async def lanes(pool: Pool) -> AsyncIterator[PostgresLanes]:
    lanes = PostgresLanes(pool)
    yield lanes
    await lanes.close()


@pytest.fixture
async def other(bench: Bench) -> AsyncIterator[PostgresLanes]:
    """The lanes as another process has them."""
    async with opened(bench) as pool:
        lanes = PostgresLanes(pool)
        yield lanes
        await lanes.close()


def change(lane: LaneId, start: int, to: int, *holds: Held, fence: Fence | None = None) -> LaneChange:
    """Everything between is delivered but what is held."""
    counts = Counts(delivered=to - start - sum(start < one.position <= to for one in holds))
    return LaneChange(lane, 0, Position(start), Position(to), counts, holds, fence=fence)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not true():
            await asyncio.sleep(0)


async def in_time(work: Awaitable[Any]) -> Any:
    return await asyncio.wait_for(work, DEADLINE_SECONDS)


async def test_calls_in_one_group_get_their_own_stores_and_nothing_else(
    bench: Bench, journal: PostgresJournal, lanes: PostgresLanes
) -> None:
    stores = [StoreId(f"s{number}") for number in range(20)]
    asked = [bench.lane(lane_id(store=store)) for store in stores]
    await journal.append([one for store in stores for one in drafts(4, store=store)])
    for lane in asked:
        assert await lanes.settle([change(lane, 0, 2, held(2, key=lane.store))]) == [True]
    answers = await asyncio.gather(*(lanes.read([LaneWish(lane, 10)], NOW) for lane in reversed(asked)))
    for lane, (read,) in zip(reversed(asked), answers, strict=True):
        assert (read.lane.id, read.head) == (lane, 4)
        assert [row.key for row in read.held] == [lane.store]
        seen = [entry for _, entry in read.due] + list(read.window)
        assert [(entry.store, entry.position) for entry in seen] == [(lane.store, at) for at in (2, 3, 4)]
        assert {entry.body for entry in seen} == {f"{lane.store}:e{at}".encode() for at in (2, 3, 4)}


async def test_each_call_in_a_group_has_its_own_time_and_window(
    bench: Bench, journal: PostgresJournal, lanes: PostgresLanes
) -> None:
    bench.lane(LANE)
    await journal.append(drafts(6))
    await lanes.settle([change(LANE, 0, 2, held(1, not_before=50), held(2, not_before=90))])
    times = (Instant(10), Instant(60), Instant(99))
    answers = await asyncio.gather(*(lanes.read([LaneWish(LANE, size)], now) for size, now in enumerate(times)))
    assert [[row.position for row, _ in read.due] for (read,) in answers] == [[], [1], [1, 2]]
    assert [[entry.position for entry in read.window] for (read,) in answers] == [[], [3], [3, 4]]
    both = await lanes.read([LaneWish(LANE, 1), LaneWish(lane_id("none"), 9), LaneWish(LANE, 9)], NOW)
    assert [[entry.position for entry in read.window] for read in both] == [[3], [3, 4, 5, 6]]


async def test_a_group_takes_as_many_statements_for_one_lane_as_for_a_hundred(bench: Bench) -> None:
    heard: list[str] = []
    async with opened(bench, heard.append) as pool:
        lanes, journal = PostgresLanes(pool), PostgresJournal(pool, News(pool))
        asked = [bench.lane(lane_id(f"{number}", store=StoreId(f"s{number % 10}"))) for number in range(100)]
        await journal.append([one for number in range(10) for one in drafts(5, store=StoreId(f"s{number}"))])

        async def statements(work: Sequence[Awaitable[Any]]) -> int:
            heard.clear()
            await asyncio.gather(*work)
            return len(heard)

        def settles(some: Sequence[LaneId], start: int, fence: Fence | None) -> list[Awaitable[Any]]:
            held_before = tuple(held(at) for at in (start,) if at)
            tried = (attempt(start + 1), attempt(start + 2))
            return [
                lanes.settle(
                    [
                        replace(
                            change(lane, start, start + 2, held(start + 2), *held_before), attempts=tried, fence=fence
                        )
                    ]
                )
                for lane in some
            ]

        def releases(some: Sequence[LaneId]) -> list[Awaitable[Any]]:
            made = [replace(change(lane, 4, 4), release=(Position(2),), counts=Counts(delivered=1)) for lane in some]
            return [lanes.settle([one]) for one in made]

        def reads(some: Sequence[LaneId], window: int) -> list[Awaitable[Any]]:
            return [lanes.read([LaneWish(lane, window)], NOW) for lane in some]

        one, many, slot = asked[:1], asked[1:-1], Fence(1, 0)
        # On its first use of an array type a connection asks the server about it.
        await asyncio.gather(*settles(asked[-1:], 0, slot))
        # BEGIN, lanes, windows, COMMIT
        assert [await statements(reads(some, 5)) for some in (one, many)] == [4, 4]
        # BEGIN, lanes, journals, put held, attempts, move lanes, COMMIT
        assert [await statements(settles(some, 0, None)) for some in (one, many)] == [7, 7]
        # And one for the slots, and one for the held rows that are named.
        assert [await statements(settles(some, 2, slot)) for some in (one, many)] == [9, 9]
        # BEGIN, lanes, journals, held, release, move lanes, COMMIT
        assert [await statements(releases(some)) for some in (one, many)] == [7, 7]
        # BEGIN, lanes, unresolved rows, windows, entries of what is due, COMMIT
        assert [await statements(reads(some, 5)) for some in (one, many)] == [6, 6]
        # Those that are stale are looked at, and nothing is written: BEGIN, lanes, journals, held, COMMIT
        assert [await statements(settles(some, 0, None)) for some in (one, many)] == [5, 5]
        await lanes.close()
        await journal.close()


async def test_nothing_asked_is_nothing_sent(bench: Bench) -> None:
    heard: list[str] = []
    async with opened(bench, heard.append) as pool:
        lanes = PostgresLanes(pool)
        assert (await lanes.read([], NOW), await lanes.settle([])) == ([], [])
        assert heard == []
        await lanes.close()


async def test_of_two_processes_that_settle_one_lane_one_wins(
    bench: Bench, journal: PostgresJournal, lanes: PostgresLanes, other: PostgresLanes
) -> None:
    bench.lane(LANE)
    await journal.append(drafts(40))
    for at in range(0, 40, 2):
        one, two = await in_time(
            asyncio.gather(
                lanes.settle([change(LANE, at, at + 2, held(at + 1))]), other.settle([change(LANE, at, at + 2)])
            )
        )
        assert sorted(one + two) == [False, True]
    (ledger,) = await lanes.ledgers(NORTH)
    assert ledger.closes
    assert ledger.waiting == bench.one("SELECT unresolved FROM lanes")


async def test_a_stale_fence_settles_nothing(bench: Bench, journal: PostgresJournal, lanes: PostgresLanes) -> None:
    bench.lane(LANE)
    await journal.append(drafts(4))
    bench.admin.execute("UPDATE slots SET epoch = 3 WHERE slot = 7")
    stale = [change(LANE, 0, 2, fence=fence) for fence in (Fence(7, 2), Fence(7, 4), Fence(5_000, 0))]
    assert await lanes.settle(stale) == [False, False, False]
    assert bench.one("SELECT cursor FROM lanes") == 0
    beside = await lanes.settle([stale[0], change(LANE, 0, 1, fence=Fence(7, 3)), change(LANE, 1, 2)])
    assert beside == [False, True, True]


async def test_a_take_over_that_commits_while_a_settle_waits_for_it_is_seen(
    bench: Bench, journal: PostgresJournal, lanes: PostgresLanes
) -> None:
    bench.lane(LANE)
    await journal.append(drafts(4))
    with bench.admin.transaction():
        bench.admin.execute("UPDATE slots SET epoch = epoch + 1 WHERE slot = 7")
        settling = asyncio.create_task(lanes.settle([change(LANE, 0, 2, fence=Fence(7, 0))]))
        await until(lambda: bench.waiters() == 1)
    assert await in_time(settling) == [False]
    assert bench.one("SELECT cursor FROM lanes") == 0


async def test_a_take_over_waits_for_a_settle_under_way(
    bench: Bench, journal: PostgresJournal, lanes: PostgresLanes
) -> None:
    bench.lane(LANE)
    await journal.append(drafts(4))
    taker = await asyncpg.connect(bench.app, server_settings=dict(SESSION))
    try:
        with bench.admin.transaction():
            # The settle has read its fence, and waits for the lane.
            bench.admin.execute("SELECT FROM lanes FOR UPDATE")
            settling = asyncio.create_task(lanes.settle([change(LANE, 0, 2, fence=Fence(7, 0))]))
            await until(lambda: bench.waiters() == 1)
            taking = asyncio.create_task(taker.execute("UPDATE slots SET epoch = epoch + 1 WHERE slot = 7"))
            await until(lambda: bench.waiters() == 2)
        assert await in_time(settling) == [True]
        await in_time(taking)
        assert await lanes.settle([change(LANE, 2, 4, fence=Fence(7, 0))]) == [False]
    finally:
        await taker.close()


async def test_a_store_that_is_shut_while_a_settle_waits_for_its_lane_settles_nothing(
    bench: Bench, journal: PostgresJournal, lanes: PostgresLanes
) -> None:
    bench.lane(LANE)
    await journal.append(drafts(4))
    with bench.admin.transaction():
        bench.admin.execute("SELECT FROM lanes FOR UPDATE")
        settling = asyncio.create_task(lanes.settle([change(LANE, 0, 2)]))
        await until(lambda: bench.waiters() == 1)
        shutting = asyncio.create_task(journal.gate(NORTH, Gate.SHUT))
        await until(lambda: bench.one("SELECT gate FROM journals") == "shut")
    assert await in_time(settling) == [False]
    await in_time(shutting)
    assert bench.one("SELECT cursor FROM lanes") == 0


async def test_a_gate_is_shut_when_the_settles_that_found_it_open_are_done(
    bench: Bench, journal: PostgresJournal, lanes: PostgresLanes
) -> None:
    bench.lane(LANE)
    await journal.append(drafts(4))
    with bench.admin.transaction():
        # The settle has found the gate open, and waits to write its attempt.
        bench.admin.execute("LOCK TABLE attempts IN SHARE MODE")
        settling = asyncio.create_task(lanes.settle([replace(change(LANE, 0, 2), attempts=(attempt(1),))]))
        await until(lambda: bench.waiters() == 1)
        shutting = asyncio.create_task(journal.gate(NORTH, Gate.SHUT))
        await until(lambda: bench.waiters() == 2)
        assert not shutting.done()
    await in_time(shutting)
    assert bench.one("SELECT cursor FROM lanes") == 2
    assert await in_time(settling) == [True]


async def test_a_gate_that_closes_stops_reads_and_one_that_is_shut_settles_too(
    bench: Bench, journal: PostgresJournal, lanes: PostgresLanes
) -> None:
    south = bench.lane(lane_id(store=SOUTH))
    bench.lane(LANE)
    await journal.append([*drafts(4), *drafts(4, store=SOUTH)])
    wishes = [LaneWish(LANE, 9), LaneWish(south, 9)]
    await journal.gate(NORTH, Gate.CLOSING)
    assert [read.lane.id for read in await lanes.read(wishes, NOW)] == [south]
    assert await lanes.settle([change(LANE, 0, 1), change(south, 0, 1)]) == [True, True]
    await journal.gate(NORTH, Gate.SHUT)
    assert await lanes.settle([change(LANE, 1, 2), change(south, 1, 2)]) == [False, True]
    await journal.gate(NORTH, Gate.OPEN)
    assert await lanes.settle([change(LANE, 1, 2)]) == [True]
    assert [read.lane.id for read in await lanes.read(wishes, NOW)] == [LANE, south]


async def test_groups_over_the_same_lanes_in_other_orders_do_not_lock_each_other_out(
    bench: Bench, journal: PostgresJournal, lanes: PostgresLanes, other: PostgresLanes
) -> None:
    names = [bench.lane(lane_id(f"{n}", store=store)) for n in range(20) for store in (NORTH, SOUTH)]
    await journal.append([*drafts(30), *drafts(30, store=SOUTH)])
    for at in range(30):
        fences = [Fence(slot, 0) for slot in range(len(names))]
        ours = [change(lane, at, at + 1, fence=fence) for lane, fence in zip(names, fences, strict=True)]
        theirs = [change(lane, at, at + 1, fence=fence) for lane, fence in zip(names[::-1], fences, strict=True)]
        one, two = await in_time(asyncio.gather(lanes.settle(ours), other.settle(theirs)))
        assert all(mine != yours for mine, yours in zip(one, two[::-1], strict=True))


async def test_a_bad_call_fails_alone(bench: Bench, journal: PostgresJournal, lanes: PostgresLanes) -> None:
    south = bench.lane(lane_id(store=SOUTH))
    bench.lane(LANE)
    await journal.append([*drafts(6), *drafts(6, store=SOUTH)])
    unkeepable = (held(2, key="\x00"), replace(held(2), attempts=2**40), replace(held(2), key="\ud800"))
    for number, bad in enumerate(unkeepable):
        good, bug, failed, better = await asyncio.gather(
            lanes.settle([change(LANE, number, number + 1)]),
            lanes.settle([change(south, number, number + 1), replace(change(south, number + 1, 5), counts=Counts())]),
            lanes.settle([change(south, number, number + 2, replace(bad, position=Position(number + 2)))]),
            lanes.settle([change(south, number, number + 1)]),
            return_exceptions=True,
        )
        assert (good, better) == ([True], [True])
        assert isinstance(bug, Bug)
        assert isinstance(failed, Exception)
        assert not isinstance(failed, AssertionError)
    assert all(ledger.closes and ledger.waiting == 3 for ledger in await lanes.ledgers())
    assert bench.one("SELECT count(*) FROM held") == 0


async def test_a_call_that_fails_halfway_leaves_nothing_of_itself_to_the_calls_beside_it(
    bench: Bench, journal: PostgresJournal, lanes: PostgresLanes
) -> None:
    bench.lane(LANE)
    await journal.append(drafts(6))
    wrong = replace(change(LANE, 2, 5), counts=Counts(delivered=9))
    first, failed, second = await asyncio.gather(
        lanes.settle([change(LANE, 0, 1)]),
        lanes.settle([change(LANE, 1, 2, held(2)), wrong]),
        lanes.settle([change(LANE, 1, 3), change(LANE, 3, 4)]),
        return_exceptions=True,
    )
    assert isinstance(failed, Bug)
    assert (first, second) == ([True], [True, True])
    (ledger,) = await lanes.ledgers()
    assert (ledger.counts.delivered, ledger.waiting, ledger.closes) == (4, 2, True)
    assert await lanes.held(LANE, None, START, 9) == []


async def test_a_change_sees_what_the_one_before_it_did(
    bench: Bench, journal: PostgresJournal, lanes: PostgresLanes
) -> None:
    bench.lane(LANE)
    await journal.append(drafts(6))
    parked, tried = HeldState.PARKED, (attempt(1), attempt(2))
    answers = await lanes.settle(
        [
            replace(change(LANE, 0, 3, held(1), held(2), held(3, parked)), attempts=tried),
            replace(change(LANE, 3, 4, held(2, parked)), release=(Position(1),), counts=Counts(delivered=2)),
            replace(change(LANE, 4, 5), attempts=(attempt(5),)),
        ]
    )
    assert answers == [True, True, True]
    rows = [row for row, _ in await lanes.held(LANE, None, START, 9)]
    assert [(row.position, row.state) for row in rows] == [(2, parked), (3, parked)]
    assert bench.one("SELECT unresolved FROM lanes") == 0
    assert await lanes.attempts(LANE, 9) == [attempt(5), attempt(2), attempt(1)]
    assert await lanes.attempts(LANE, 1, Position(2)) == [attempt(2)]
    assert all(ledger.closes for ledger in await lanes.ledgers(NORTH))


async def test_what_is_unresolved_is_counted_exactly(
    bench: Bench, journal: PostgresJournal, lanes: PostgresLanes
) -> None:
    bench.lane(LANE)
    await journal.append(drafts(9))
    retrying, waiting, parked = HeldState
    moves: Sequence[tuple[int, int, dict[int, HeldState], tuple[int, ...]]] = (
        (0, 4, {1: retrying, 2: waiting, 3: parked, 4: retrying}, ()),
        (4, 4, {1: parked, 2: retrying, 4: retrying}, ()),
        (4, 6, {5: retrying, 6: parked}, (1, 2)),
        (6, 6, {4: waiting}, (3, 5)),
        (6, 9, {7: waiting, 4: parked}, (6,)),
    )
    for start, to, states, gone in moves:
        holds = [held(at, state) for at, state in states.items()]
        made = change(LANE, start, to, *holds)
        released = Counts(made.counts.delivered + len(gone))
        assert await lanes.settle([replace(made, release=tuple(map(Position, gone)), counts=released)]) == [True]
        real = bench.one("SELECT count(*) FROM held WHERE state <> 'parked'")
        assert bench.one("SELECT unresolved FROM lanes") == real
        (read,) = await lanes.read([LaneWish(LANE, 0)], NOW)
        assert len(read.held) == real
        (ledger,) = await lanes.ledgers()
        assert ledger.closes


async def test_the_open_and_the_stirring_are_found_by_store_and_by_slot(
    bench: Bench, journal: PostgresJournal, lanes: PostgresLanes
) -> None:
    idle, news, late, closed, lone = (bench.lane(lane_id(name)) for name in ("idle", "news", "late", "closed", "lone"))
    south = bench.lane(lane_id("lone", store=SOUTH))
    await journal.append(drafts(2))
    await lanes.settle([change(idle, 0, 2), change(late, 0, 2, held(1)), change(lone, 0, 2, held(1, HeldState.PARKED))])
    bench.admin.execute("UPDATE lanes SET open = false WHERE connection_id = 'con_closed'")
    slots = {slot_of(one.store, one.connection) for one in (idle, news, late, closed, lone, south)}
    assert sorted(await lanes.stirring(slots)) == sorted([news, late])
    assert await lanes.stirring({slot_of(news.store, news.connection)}) == [news]
    assert [one.id for one in await lanes.open_lanes([SOUTH])] == [south]
    assert [one.id for one in await lanes.open_lanes()] == sorted([idle, news, late, lone, south])
    assert await lanes.open_lanes([]) == []
    found = await lanes.lane(closed)
    assert found is not None
    assert not found.open


async def test_the_ledgers_of_many_stores_are_read_in_portions(
    bench: Bench, journal: PostgresJournal, lanes: PostgresLanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crossdock.engines.postgres.lanes.LEDGER_STORES_MAX", 2)
    names = [bench.lane(lane_id(store=StoreId(f"s{number}"))) for number in range(5)]
    await journal.append([one for lane in names for one in drafts(3, store=lane.store)])
    await lanes.settle([change(lane, 0, 3, held(1), held(2, HeldState.PARKED)) for lane in names])
    ledgers = await lanes.ledgers()
    assert [ledger.lane for ledger in ledgers] == names
    assert all((ledger.waiting, ledger.parked) == (1, 1) and ledger.closes for ledger in ledgers)
