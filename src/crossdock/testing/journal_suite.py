# ruff: noqa: S101  # a suite asserts: that is its work
"""The guarantees of a journal as tests. A test module subclasses a suite and gives it an `engine` fixture: a started
engine with nothing in it. Engines that outlive their process take `DurableSuite` too, with a `reopen` fixture."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from crossdock.journal.port import Moved
from crossdock.model.entry import Conflicting, Duplicate, Kept, OtherKey
from crossdock.model.errors import Unavailable
from crossdock.model.ids import START, EventId, Position, StoreId
from crossdock.model.lane import Gate
from crossdock.stores.port import Engine, OpenLane
from crossdock.testing.samples import NORTH, NOW, SOUTH, audit, draft, drafts, lane_id, raised, write


class JournalSuite:
    async def test_positions_count_from_one_without_a_gap(self, engine: Engine) -> None:
        answers = await engine.journal.append(drafts(3))
        assert answers == [Kept(Position(1)), Kept(Position(2)), Kept(Position(3))]
        assert [entry.position for entry in await engine.journal.read(NORTH, START, 10)] == [1, 2, 3]

    async def test_an_entry_comes_back_as_it_was_given(self, engine: Engine) -> None:
        full = replace(
            draft("a"), personal=b"p", subject_ref=b"r" * 32, subject_key=b"k", traceparent="00-1-2-01", hops=3
        )
        await engine.journal.append([full])
        (entry,) = await engine.journal.read(NORTH, START, 1)
        assert entry == await engine.journal.entry(NORTH, Position(1))
        for name in entry.__slots__:
            if name != "position":
                assert getattr(entry, name) == getattr(full, name), name

    async def test_the_same_key_again_returns_the_first_position(self, engine: Engine) -> None:
        await engine.journal.append(drafts(2))
        again = replace(draft("e2"), event_id=EventId("other"), body=b"other")
        assert await engine.journal.append([again]) == [
            Duplicate(Position(2), EventId("e2"), draft("e2").correlation_id)
        ]
        assert await engine.journal.head(NORTH) == 2

    async def test_the_same_key_with_another_body_is_a_recorded_conflict(self, engine: Engine) -> None:
        await engine.journal.append([draft("a"), draft("b")])
        answers = await engine.journal.append([draft("b", print_=b"2"), draft("a", print_=b"3")])
        assert answers == [Conflicting(Position(2), EventId("b")), Conflicting(Position(1), EventId("a"))]
        records = await engine.journal.conflicts(NORTH, 10)
        assert [(record.position, record.event_id, record.at) for record in records] == [(1, "a", NOW), (2, "b", NOW)]
        assert await engine.journal.conflicts(NORTH, 1) == records[:1]

    async def test_one_call_may_hold_the_same_key_twice(self, engine: Engine) -> None:
        answers = await engine.journal.append([draft("a"), draft("a"), draft("a", print_=b"2"), draft("b")])
        assert [type(answer) for answer in answers] == [Kept, Duplicate, Conflicting, Kept]
        assert await engine.journal.head(NORTH) == 2

    async def test_a_key_is_unique_within_its_origin_only(self, engine: Engine) -> None:
        answers = await engine.journal.append([draft("a"), draft("a", origin="con_x/in")])
        assert answers == [Kept(Position(1)), Kept(Position(2))]
        assert [entry.origin for entry in await engine.journal.find(NORTH, EventId("a"))] == ["core", "con_x/in"]

    async def test_the_first_key_of_a_subject_stands(self, engine: Engine) -> None:
        first = replace(draft("a"), personal=b"p", subject_ref=b"r", subject_key=b"one")
        second = replace(draft("b"), personal=b"q", subject_ref=b"r", subject_key=b"two")
        assert await engine.journal.append([first, second, draft("c")]) == [
            Kept(Position(1)),
            OtherKey(b"one"),
            Kept(Position(2)),
        ]
        assert await engine.journal.append([replace(second, subject_key=b"one")]) == [Kept(Position(3))]
        assert await engine.journal.subject_key(NORTH, b"r") == b"one"

    async def test_thirty_two_senders_of_one_key_leave_one_entry_and_every_conflict(self, engine: Engine) -> None:
        ids = 25
        answers = await asyncio.gather(
            *(
                engine.journal.append([draft(f"k{key}", print_=bytes([sender % 4]))])
                for key in range(ids)
                for sender in range(32)
            )
        )
        kept = [one for (one,) in answers if isinstance(one, Kept)]
        conflicting = [one for (one,) in answers if isinstance(one, Conflicting)]
        assert sorted(one.position for one in kept) == list(range(1, ids + 1))
        assert len(conflicting) == len(await engine.journal.conflicts(NORTH, 10_000)) == ids * 24
        assert len(await engine.journal.read(NORTH, START, 10_000)) == ids

    async def test_a_reader_never_misses_a_late_writer(self, engine: Engine) -> None:
        """Many appenders, and a reader that goes on from the last position that it saw."""
        writers, each = 16, 25
        seen: list[Position] = []

        async def follow() -> None:
            while len(seen) < writers * each:
                after = seen[-1] if seen else START
                seen.extend(entry.position for entry in await engine.journal.read(NORTH, after, 50))
                await asyncio.sleep(0)

        async def send(writer: int) -> None:
            for number in range(each):
                (answer,) = await engine.journal.append([draft(f"{writer}-{number}")])
                assert isinstance(answer, Kept)
                assert await engine.journal.entry(NORTH, answer.position) is not None

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(follow())
            for writer in range(writers):
                group.create_task(send(writer))
        assert seen == list(range(1, writers * each + 1))

    async def test_one_stores_id_never_reaches_anothers_entries(self, engine: Engine) -> None:
        subject = replace(draft("a"), subject_ref=b"r", subject_key=b"k")
        await engine.journal.append([subject, draft("a", print_=b"2")])
        for store in (SOUTH, StoreId("north%"), StoreId("")):
            assert await engine.journal.read(store, START, 10) == []
            assert await engine.journal.entry(store, Position(1)) is None
            assert await engine.journal.find(store, EventId("a")) == []
            assert await engine.journal.head(store) == START
            assert await engine.journal.subject_key(store, b"r") is None
            assert await engine.journal.conflicts(store, 10) == []
        assert await engine.journal.append([draft("a", store=SOUTH, print_=b"3")]) == [Kept(Position(1))]

    async def test_news_names_the_stores_that_got_entries(self, engine: Engine) -> None:
        news: list[frozenset[StoreId]] = []
        engine.journal.on_news(news.append)
        await engine.journal.append([draft("a"), draft("a", store=SOUTH)])
        await engine.journal.append([draft("a")])
        assert news == [frozenset({NORTH, SOUTH})]

    async def test_what_moved_since_a_mark_is_named_and_nothing_that_moved_is_missed(self, engine: Engine) -> None:
        assert not (await engine.journal.moved(None)).whole
        first = await follower_of(engine)
        await engine.journal.append([draft("a"), draft("b"), draft("a", store=SOUTH)])
        second = await engine.journal.moved(first.mark)
        assert (second.whole, second.heads) == (True, {NORTH: 2, SOUTH: 1})
        await engine.journal.append([draft("c")])
        third = await engine.journal.moved(second.mark)
        assert third.heads[NORTH] == 3
        assert (await engine.journal.moved(first.mark)).heads == {NORTH: 3, SOUTH: 1}
        assert third.mark >= second.mark

    async def test_a_follower_of_what_moved_sees_every_head(self, engine: Engine) -> None:
        """Many appenders over many stores, and a poll that goes on from the mark that it was given."""
        stores, each = [StoreId(f"s{number}") for number in range(8)], 10
        mark = (await follower_of(engine)).mark
        seen: dict[StoreId, Position] = {}

        async def follow() -> None:
            nonlocal mark
            while sum(seen.values()) < len(stores) * each:
                moved = await engine.journal.moved(mark)
                assert moved.whole
                assert all(seen.get(store, START) <= head for store, head in moved.heads.items())
                seen.update(moved.heads)
                mark = moved.mark
                await asyncio.sleep(0)

        async def send(store: StoreId) -> None:
            for number in range(each):
                await engine.journal.append([draft(f"{number}", store=store)])

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(follow())
            for store in stores:
                group.create_task(send(store))
        assert seen == dict.fromkeys(stores, each)

    async def test_a_gate_that_is_not_open_refuses_entries_and_harms_no_call_beside(self, engine: Engine) -> None:
        await engine.journal.append([draft("a")])
        for state in (Gate.CLOSING, Gate.SHUT):
            await engine.journal.gate(NORTH, state)
            beside = StoreId(f"beside-{state}")
            answers = await asyncio.gather(
                engine.journal.append([draft("b", store=SOUTH), draft("b")]),
                engine.journal.append([draft("b", store=beside)]),
                engine.journal.append([draft("a")]),
                return_exceptions=True,
            )
            assert [one.code for one in answers if isinstance(one, Unavailable)] == ["CD5024", "CD5024"]
            assert [one.retry_after_ms for one in answers if isinstance(one, Unavailable)] == [1_000, 1_000]
            assert answers[1] == [Kept(Position(1))]
        assert await engine.journal.head(SOUTH) == START
        assert await engine.journal.head(NORTH) == 1

    async def test_a_gate_that_is_opened_again_lets_entries_in_and_counts_as_moved(self, engine: Engine) -> None:
        news: list[frozenset[StoreId]] = []
        engine.journal.on_news(news.append)
        await engine.journal.gate(NORTH, Gate.SHUT, epoch=4)
        mark = (await follower_of(engine)).mark
        await engine.journal.gate(NORTH, Gate.OPEN)
        assert (await engine.journal.moved(mark)).heads == {NORTH: 0}
        assert news == [frozenset({NORTH})]
        assert await engine.journal.append([draft("a")]) == [Kept(Position(1))]


async def follower_of(engine: Engine) -> Moved:
    """What a follower has heard when it may rely on marks: whatever was under way at its first look has ended."""
    async with asyncio.timeout(30):
        moved = await engine.journal.moved(None)
        while not moved.whole:
            moved = await engine.journal.moved(moved.mark)
    return moved


class DurableSuite:
    """For engines that keep: `reopen` closes the engine and opens what it kept."""

    async def test_what_was_acknowledged_is_there_after_a_restart(
        self, engine: Engine, reopen: Callable[[], Awaitable[Engine]]
    ) -> None:
        await write(engine, OpenLane(lane_id()))
        await engine.journal.append([*drafts(5), draft("e1", print_=b"2")])
        before = await engine.journal.read(NORTH, START, 10)
        again = await reopen()
        assert await again.journal.read(NORTH, START, 10) == before
        assert len(await again.journal.conflicts(NORTH, 10)) == 1
        assert await again.journal.append([draft("e1"), draft("e6")]) == [
            Duplicate(Position(1), EventId("e1"), draft("e1").correlation_id),
            Kept(Position(6)),
        ]
        assert [lane.id for lane in await again.lanes.open_lanes()] == [lane_id()]
        assert [entry.action for entry in await again.registry.audit(None, 0, 10)] == [audit().action]

    async def test_a_gate_stays_as_it_was_set_after_a_restart(
        self, engine: Engine, reopen: Callable[[], Awaitable[Engine]]
    ) -> None:
        await engine.journal.gate(NORTH, Gate.CLOSING, epoch=2)
        again = await reopen()
        assert (await raised(Unavailable, again.journal.append([draft("a")]))).code == "CD5024"
