# ruff: noqa: S101  # a suite asserts: that is its work
"""The guarantees of lanes as tests. See `journal_suite` for how a test module takes them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from crossdock.journal.port import LaneWish
from crossdock.journal.slots import slot_of
from crossdock.model.contract import Queued
from crossdock.model.errors import Bug
from crossdock.model.ids import START, Instant, Position, StoreId
from crossdock.model.lane import Counts, Gate, Held, HeldState, LaneChange, Skip
from crossdock.model.limits import SLOTS
from crossdock.stores.port import CloseLane, Engine, OpenLane, ReplayHeld, ReplayResolved
from crossdock.testing.samples import NORTH, NOW, SOUTH, attempt, draft, drafts, held, lane_id, raised, write

LANE = lane_id()


async def ready(engine: Engine, entries: int = 4) -> None:
    """An open lane with entries after its cursor."""
    await write(engine, OpenLane(LANE))
    await engine.journal.append(drafts(entries))


def change(cursor_to: int, delivered: int = 0, *holds: Held, cursor_from: int = 0) -> LaneChange:
    return LaneChange(LANE, 0, Position(cursor_from), Position(cursor_to), Counts(delivered=delivered), holds)


async def closes(engine: Engine) -> None:
    assert all(ledger.closes for ledger in await engine.lanes.ledgers())


class LanesSuite:
    async def test_a_new_lane_starts_at_the_head(self, engine: Engine) -> None:
        await engine.journal.append(drafts(3))
        await write(engine, OpenLane(LANE))
        await engine.journal.append([draft("later")])
        (read,) = await engine.lanes.read([LaneWish(LANE, 10)], NOW)
        assert (read.lane.start, read.lane.cursor, read.head) == (3, 3, 4)
        assert [entry.event_id for entry in read.window] == ["later"]
        await closes(engine)

    async def test_a_change_settles_whole(self, engine: Engine) -> None:
        await ready(engine)
        parked, retrying = held(2, HeldState.PARKED), held(3, key="k")
        settled = replace(change(4, 2, parked, retrying), attempts=(attempt(2), attempt(3)))
        assert await engine.lanes.settle([settled]) == [True]
        (ledger,) = await engine.lanes.ledgers(NORTH)
        assert (ledger.accepted, ledger.waiting, ledger.parked, ledger.counts.delivered) == (4, 1, 1, 2)
        assert ledger.closes
        assert [one for one, _ in await engine.lanes.held(LANE, None, START, 10)] == [parked, retrying]
        assert [one for one, _ in await engine.lanes.held(LANE, HeldState.PARKED, START, 10)] == [parked]
        assert await engine.lanes.attempts(LANE, 10) == [attempt(3), attempt(2)]
        assert await engine.lanes.attempts(LANE, 10, Position(2)) == [attempt(2)]

    async def test_a_stale_change_changes_nothing(self, engine: Engine) -> None:
        await ready(engine)
        first = change(2, 2)
        assert await engine.lanes.settle([first]) == [True]
        stale = (first, replace(change(3, 1, cursor_from=2), epoch=9), replace(first, lane=lane_id("unknown")))
        assert await engine.lanes.settle(stale) == [False, False, False]
        lane = await engine.lanes.lane(LANE)
        assert lane is not None
        assert (lane.cursor, lane.counts.delivered) == (2, 2)

    async def test_books_that_do_not_balance_are_refused(self, engine: Engine) -> None:
        await ready(engine)
        assert await engine.lanes.settle([change(2, 1, held(2))]) == [True]
        before = await engine.lanes.read([LaneWish(LANE, 10)], NOW)
        wrong = (
            change(3, 0, cursor_from=2),
            change(3, 2, cursor_from=2),
            change(9, 7, cursor_from=2),
            change(1, -1, cursor_from=2),
            change(3, 0, held(1), cursor_from=2),
            replace(change(2, 1, cursor_from=2), release=(Position(1),)),
            replace(change(2, 1, held(2), cursor_from=2), release=(Position(2),)),
            replace(change(3, 0, cursor_from=2), counts=Counts(delivered=2, expired=-1)),
            change(4, 0, held(3), held(3), cursor_from=2),
        )
        for one in wrong:
            fine = change(3, 1, cursor_from=2)
            error = await raised(Bug, engine.lanes.settle([one]))
            assert error.code == "CD5001"
            await raised(Bug, engine.lanes.settle([replace(one, attempts=(attempt(3),)), fine]))
        assert await engine.lanes.read([LaneWish(LANE, 10)], NOW) == before
        assert await engine.lanes.attempts(LANE, 10) == []
        await closes(engine)

    async def test_a_bad_change_does_not_fail_a_good_one_beside_it(self, engine: Engine) -> None:
        await ready(engine)
        answers = await asyncio.gather(
            engine.lanes.settle([change(3, 9)]),
            engine.lanes.settle([change(3, 3)]),
            engine.journal.append([draft("beside")]),
            return_exceptions=True,
        )
        assert isinstance(answers[0], Bug)
        assert answers[1] == [True]
        assert await engine.journal.head(NORTH) == 5

    async def test_what_is_due_and_what_waits(self, engine: Engine) -> None:
        await ready(engine, 8)
        waiting = HeldState.WAITING
        rows = (
            held(1, key="a", not_before=50),
            held(2, waiting, key="a"),
            held(3, HeldState.PARKED, key="b"),
            held(4, waiting, key="b"),
            held(5, waiting, key="b"),
            held(6, key="c", not_before=200),
            held(7, waiting),
        )
        assert await engine.lanes.settle([change(8, 1, *rows)]) == [True]
        (read,) = await engine.lanes.read([LaneWish(LANE, 0)], Instant(100))
        assert [row.position for row in read.held] == [1, 2, 4, 5, 6, 7]
        assert [(row.position, entry.position) for row, entry in read.due] == [(1, 1), (4, 4), (7, 7)]
        assert read.window == ()

    async def test_what_came_while_closed_becomes_a_skip(self, engine: Engine) -> None:
        await ready(engine, 2)
        await write(engine, CloseLane(LANE, Queued.HOLD))
        assert await engine.lanes.open_lanes() == []
        await engine.journal.append(drafts(3, first=3))
        await write(engine, OpenLane(LANE))
        await engine.journal.append(drafts(1, first=6))
        (read,) = await engine.lanes.read([LaneWish(LANE, 10)], NOW)
        assert read.lane.skips == (Skip(Position(2), Position(5)),)
        assert [entry.position for entry in read.window] == [1, 2, 3, 4, 5, 6]
        passed = replace(change(6), counts=Counts(delivered=3, filtered=3))
        assert await engine.lanes.settle([passed]) == [True]
        lane = await engine.lanes.lane(LANE)
        assert lane is not None
        assert lane.skips == ()
        await closes(engine)

    async def test_what_comes_while_closed_is_not_the_lanes_business(self, engine: Engine) -> None:
        await ready(engine, 2)
        await write(engine, CloseLane(LANE, Queued.HOLD))
        await engine.journal.append([draft("later")])
        (ledger,) = await engine.lanes.ledgers()
        assert (ledger.accepted, ledger.waiting) == (2, 2)
        await write(engine, OpenLane(LANE))
        await closes(engine)

    async def test_discarding_expires_all_but_the_parked_and_ends_turns_under_way(self, engine: Engine) -> None:
        await ready(engine, 5)
        await engine.lanes.settle([change(3, 1, held(2), held(3, HeldState.PARKED))])
        await write(engine, CloseLane(LANE, Queued.DISCARD))
        (ledger,) = await engine.lanes.ledgers()
        assert (ledger.counts.expired, ledger.parked, ledger.waiting) == (3, 1, 0)
        assert await engine.lanes.settle([change(4, 1, cursor_from=3)]) == [False]
        assert await engine.lanes.settle([replace(change(5, 0, cursor_from=5), release=(Position(2),))]) == [False]
        await closes(engine)

    async def test_parked_and_resolved_entries_are_taken_up_again(self, engine: Engine) -> None:
        await ready(engine, 5)
        await engine.lanes.settle([change(4, 2, held(2, HeldState.PARKED, key="k"), held(3))])
        await write(
            engine,
            ReplayHeld(LANE, (Position(1), Position(2), Position(3), Position(9)), Instant(7)),
            ReplayResolved(
                LANE, (Position(4), Position(2), Position(5), Position(0)), ("x", "y", "z", "w"), Instant(8)
            ),
        )
        (read,) = await engine.lanes.read([LaneWish(LANE, 0)], NOW)
        assert [(row.position, row.attempts, row.key, row.not_before, row.replay) for row in read.held] == [
            (2, 0, "k", 7, True),
            (3, 1, "", 0, False),
            (4, 0, "x", 8, True),
        ]
        assert read.lane.replayed == 1
        await closes(engine)
        again = replace(change(4, 3, cursor_from=4), release=(Position(2), Position(3), Position(4)))
        assert await engine.lanes.settle([again]) == [True]
        await closes(engine)

    async def test_ledgers_close_while_lanes_move(self, engine: Engine) -> None:
        await write(engine, OpenLane(LANE))
        done = asyncio.Event()

        async def watch() -> None:
            while not done.is_set():
                await closes(engine)
                await asyncio.sleep(0)

        async def move() -> None:
            for number in range(40):
                await engine.journal.append([draft(f"m{number}")])
                settle = change(number + 1, 0, held(number + 1), cursor_from=number)
                assert await engine.lanes.settle([settle]) == [True]
            done.set()

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(watch())
            group.create_task(move())

    async def test_one_stores_lane_never_reads_anothers_entries(self, engine: Engine) -> None:
        south = replace(LANE, store=SOUTH)
        await write(engine, OpenLane(south))
        await engine.journal.append([*drafts(3), draft("s", store=SOUTH)])
        (read,) = await engine.lanes.read([LaneWish(south, 10), LaneWish(LANE, 10)], NOW)
        assert [entry.store for entry in read.window] == [SOUTH]
        assert await engine.lanes.ledgers(NORTH) == []

    async def test_open_lanes_of_some_stores_are_those_of_no_other(self, engine: Engine) -> None:
        south, west = lane_id("south", store=SOUTH), lane_id("west", store=StoreId("west"))
        closed = lane_id("closed")
        await write(engine, *(OpenLane(one) for one in (LANE, south, west, closed)))
        await write(engine, CloseLane(closed, Queued.HOLD))
        assert [lane.id for lane in await engine.lanes.open_lanes([NORTH, SOUTH])] == [LANE, south]
        assert [lane.id for lane in await engine.lanes.open_lanes()] == [LANE, south, west]
        assert await engine.lanes.open_lanes([]) == await engine.lanes.open_lanes([StoreId("none")]) == []

    async def test_the_lanes_that_stir_have_entries_ahead_or_rows_that_are_not_parked(self, engine: Engine) -> None:
        idle, ahead, retrying, waiting, parked, closed = (
            lane_id(name) for name in ("idle", "ahead", "retrying", "waiting", "parked", "closed")
        )
        rows = {
            retrying: held(1, not_before=99),
            waiting: held(1, HeldState.WAITING, key="k"),
            parked: held(1, HeldState.PARKED),
        }
        await write(engine, *(OpenLane(one) for one in (idle, ahead, *rows, closed)))
        await engine.journal.append(drafts(1))
        done = [replace(change(1, 1), lane=idle), *(replace(change(1, 0, row), lane=one) for one, row in rows.items())]
        assert await engine.lanes.settle(done) == [True] * 4
        await write(engine, CloseLane(closed, Queued.HOLD))
        assert set(await engine.lanes.stirring(range(SLOTS))) == {ahead, retrying, waiting}
        slots = {slot_of(lane.store, lane.connection) for lane in (ahead, idle)}
        assert await engine.lanes.stirring(slots) == [ahead]
        assert await engine.lanes.stirring([]) == []

    async def test_a_lane_whose_gate_is_not_open_is_not_read_and_settles_until_it_is_shut(self, engine: Engine) -> None:
        south = replace(LANE, store=SOUTH)
        await ready(engine)
        await write(engine, OpenLane(south))
        await engine.journal.gate(NORTH, Gate.CLOSING)
        wishes = [LaneWish(LANE, 10), LaneWish(south, 10)]
        assert [read.lane.id for read in await engine.lanes.read(wishes, NOW)] == [south]
        assert await engine.lanes.settle([change(1, 1)]) == [True]
        await engine.journal.gate(NORTH, Gate.SHUT)
        assert await engine.lanes.read([LaneWish(LANE, 10)], NOW) == []
        assert await engine.lanes.settle([change(2, 1, cursor_from=1)]) == [False]
        await engine.journal.gate(NORTH, Gate.OPEN)
        (read,) = await engine.lanes.read([LaneWish(LANE, 10)], NOW)
        assert (read.lane.cursor, read.lane.counts.delivered) == (1, 1)
        assert await engine.lanes.settle([change(2, 1, cursor_from=1)]) == [True]
        await closes(engine)
