"""The core pulls, acknowledges and rejects."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from delivery_world import ROUTE, FarEnd, World
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdock.delivery.inbox import Inbox, Marked, handle_of, place_of
from crossdock.delivery.sending import Gear
from crossdock.model.connection import ConnectionState, CoreMode
from crossdock.model.contract import Direction
from crossdock.model.errors import Unavailable
from crossdock.model.ids import LaneId, Position, StoreId
from crossdock.model.lane import Gate
from crossdock.observe.lines import Lines

ONE, TWO = StoreId("one"), StoreId("two")
INBOUND = replace(ROUTE, direction=Direction.INBOUND)


async def pulled() -> tuple[World, Inbox]:
    world = await World(FarEnd(), INBOUND, ("one", "two")).begin()
    for store in ("one", "two"):
        lane = world.lane(store)
        world.ways[lane] = replace(world.ways[lane], core=CoreMode.PULL)
    return world, new_inbox(world)


def new_inbox(world: World) -> Inbox:
    gear = Gear(
        world.engine.journal,
        world.engine.lanes,
        world,
        {},
        world.keys,
        world.clock,
        world.dice,
        Lines(world.write),
        lambda: world.now / 1_000,
    )
    inbox = Inbox(gear)
    world.engine.journal.on_news(inbox.wake)
    return inbox


async def arrive(world: World, number: int, store: str = "one", key: str | None = None) -> None:
    for index in range(number):
        await world.publish({"sku": key or f"k{index}", "cost": 5}, store, inbound=world.lane(store))


async def ids(inbox: Inbox, limit: int = 100, store: StoreId = ONE) -> list[str]:
    return [item.parcel.event_id for item in await inbox.read(store, limit)]


async def test_a_page_is_in_order_cut_to_the_contract_and_comes_again_until_it_is_marked() -> None:
    world, inbox = await pulled()
    await arrive(world, 3)
    page = await inbox.read(ONE, 10)
    assert [item.parcel.event_id for item in page] == ["evt-1", "evt-2", "evt-3"]
    assert page[0].parcel.data == {"sku": "k0"}
    assert await ids(new_inbox(world)) == ["evt-1", "evt-2", "evt-3"]
    assert await inbox.ack(ONE, [page[0].handle]) == Marked(done=1)
    assert await ids(new_inbox(world)) == ["evt-2", "evt-3"]
    await world.check()


async def test_marks_in_any_order_leave_what_lies_between_for_the_next_page() -> None:
    world, inbox = await pulled()
    await arrive(world, 5, key="same")
    page = await inbox.read(ONE, 10)
    assert await inbox.ack(ONE, [page[3].handle, page[1].handle]) == Marked(done=2)
    assert await ids(inbox) == ["evt-1", "evt-3", "evt-5"]
    assert await inbox.ack(ONE, [page[1].handle, page[0].handle]) == Marked(done=1, again=1)
    assert await ids(inbox) == ["evt-3", "evt-5"]
    await world.check()
    assert (await world.count())["delivered"] == 3


async def test_what_is_rejected_is_parked_with_a_code_and_never_with_words() -> None:
    world, inbox = await pulled()
    await arrive(world, 2)
    page = await inbox.read(ONE, 10)
    await inbox.reject(ONE, [page[0].handle], "unknown_sku")
    await inbox.reject(ONE, [page[1].handle], "Ann Smith, 12 High Street")
    assert await ids(inbox) == []
    assert (await world.count())["parked"] == 2
    attempts = await world.engine.lanes.attempts(world.lane(), 9)
    assert [attempt.answer.code for attempt in attempts] == ["rejected", "unknown_sku"]


async def test_a_handle_leads_into_no_other_store() -> None:
    world, inbox = await pulled()
    await arrive(world, 1, "two")
    (item,) = await inbox.read(TWO, 10)
    assert await inbox.ack(ONE, [item.handle, "", "x" * 400, handle_of(world.lane(), Position(99))]) == Marked(
        unknown=4
    )
    assert len(await inbox.read(TWO, 10)) == 1
    assert (await world.count("two"))["delivered"] == 0


async def test_what_is_not_for_the_core_is_passed_over_however_much_it_is() -> None:
    world, inbox = await pulled()
    for _ in range(1_200):
        await world.publish({"sku": "a"})
    await arrive(world, 1)
    assert await ids(inbox) == ["evt-1201"]
    assert (await world.count())["filtered"] == 1_200
    await world.check()


async def test_a_paused_connection_gives_nothing_and_takes_late_marks() -> None:
    world, inbox = await pulled()
    await arrive(world, 2)
    page = await inbox.read(ONE, 1)
    world.set_state(world.lane(), ConnectionState.PAUSED)
    assert await ids(inbox) == []
    assert await inbox.ack(ONE, [page[0].handle]) == Marked(done=1)


async def test_a_pull_that_waits_ends_with_the_news() -> None:
    world, inbox = await pulled()
    waiting = asyncio.ensure_future(inbox.read(ONE, 10, wait_seconds=30))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not waiting.done()
    await arrive(world, 1)
    assert [item.parcel.event_id for item in await waiting] == ["evt-1"]


@given(st.text(max_size=60))
def test_any_text_is_a_handle_or_none_and_never_an_error(text: str) -> None:
    place = place_of(ONE, text)
    assert place is None or place[0].store == ONE


@pytest.mark.parametrize("position", [1, 10**15])
def test_a_handle_names_its_place(position: int) -> None:
    lane = LaneId(ONE, World(FarEnd()).lane().connection, ROUTE.name)
    assert place_of(ONE, handle_of(lane, Position(position))) == (lane, position)


MARKS = st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(0, 2)), max_size=25)


@settings(max_examples=50, deadline=None)
@given(MARKS)
def test_however_pages_are_marked_each_event_ends_once_and_the_ledger_closes(
    marks: list[tuple[int, bool, int]],
) -> None:
    async def story() -> None:
        world, inbox = await pulled()
        for which, keep, more in marks:
            await arrive(world, more)
            await world.publish({"sku": "noise"})
            page = await inbox.read(ONE, 10)
            if which < len(page):
                handles = [page[which].handle]
                await (inbox.ack(ONE, handles) if keep else inbox.reject(ONE, handles, "no"))
            await world.check()
        while page := await inbox.read(ONE, 10):
            assert [item.parcel.position for item in page] == sorted(item.parcel.position for item in page)
            assert (await inbox.ack(ONE, [item.handle for item in page])).done == len(page)
        counts = await world.count()
        assert counts["waiting"] == 0
        assert counts["delivered"] + counts["parked"] == sum(more for _, _, more in marks)
        assert counts["filtered"] == len(marks)

    asyncio.run(story())


async def test_a_mark_while_the_store_moves_is_asked_for_again_and_never_called_unknown() -> None:
    world, inbox = await pulled()
    await arrive(world, 1)
    (item,) = await inbox.read(ONE, 5)
    await world.engine.journal.gate(ONE, Gate.CLOSING)
    assert await ids(inbox) == []
    with pytest.raises(Unavailable, match="CD5024"):
        await inbox.ack(ONE, [item.handle])
    await world.engine.journal.gate(ONE, Gate.OPEN)
    assert await inbox.ack(ONE, [item.handle]) == Marked(done=1)
