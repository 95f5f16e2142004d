"""Sending again what a person names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from delivery_world import REJECTED, ROUTE, TAKEN, FarEnd, World

from crossdock.delivery.replay import Candidate, Selection, plan_replay
from crossdock.delivery.replaying import Replays
from crossdock.model.errors import Conflict
from crossdock.model.ids import EventId, Position
from crossdock.model.limits import REPLAY_EVENTS_MAX, REPLAY_PER_SECOND, SECOND_MS


async def parked_world(number: int = 6) -> tuple[World, FarEnd, Replays, Callable[[], None]]:
    """Every third event is parked, the others are delivered; the last value mends the far end."""
    mended = False

    def mend() -> None:
        nonlocal mended
        mended = True

    far = FarEnd(lambda way, parcel: TAKEN if mended or parcel.position % 3 else REJECTED)
    world = await World(far).begin()
    for index in range(number):
        await world.publish({"sku": f"k{index % 2}"})
    await world.publish({"sku": "x"}, type_="order.placed")
    await world.deliver()
    return world, far, Replays(world.engine.journal, world.engine.lanes, world, world.keys), mend


async def test_a_dry_run_counts_by_class_and_changes_nothing() -> None:
    world, _, replays, _ = await parked_world()
    made = await replays.plan(world.lane(), Selection(parked_only=False), world.now)
    assert made.counts == {"parked.rejected": 2, "resolved": 4}
    assert (await world.count())["parked"] == 2


async def test_parked_events_are_delivered_by_a_replay_and_marked_as_one() -> None:
    world, far, replays, mend = await parked_world()
    mend()
    made = await replays.plan(world.lane(), Selection(), world.now)
    await world.commit(*made.writes)
    far.took.clear()
    await world.deliver(2 * SECOND_MS)
    assert [(parcel.event_id, parcel.replay) for parcel in far.took["one"]] == [("evt-3", True), ("evt-6", True)]
    counts = await world.count()
    assert (counts["delivered"], counts["parked"]) == (6, 0)


async def test_resolved_events_come_again_in_the_order_of_their_key_and_the_ledger_closes() -> None:
    world, far, replays, mend = await parked_world()
    mend()
    made = await replays.plan(world.lane(), Selection(parked_only=False, after=Position(1)), world.now)
    await world.commit(*made.writes)
    await world.check()
    far.took.clear()
    await world.deliver(2 * SECOND_MS)
    assert sorted(far.took_ids()) == ["evt-2", "evt-3", "evt-4", "evt-5", "evt-6"]
    for key in ("k0", "k1"):
        positions = [parcel.position for parcel in far.took["one"] if parcel.key == key]
        assert positions == sorted(positions)
    await world.check()


@pytest.mark.parametrize(
    ("selection", "events"),
    [
        (Selection(event_id=EventId("evt-3")), {3}),
        (Selection(to=Position(4)), {3}),
        (Selection(after=Position(3)), {6}),
        (Selection(key="k0"), {3}),
        (Selection(type="order.placed"), set()),
        (Selection(reason="rejected"), {3, 6}),
        (Selection(reason="exhausted"), set()),
        (Selection(reason="rejected", parked_only=False), {3, 6}),
        (Selection(key="k1", parked_only=False), {2, 4, 6}),
    ],
)
async def test_a_selection_takes_what_fits_all_of_it(selection: Selection, events: set[int]) -> None:
    world, _, replays, _ = await parked_world()
    made = await replays.plan(world.lane(), selection, world.now)
    assert {position for write in made.writes for position in write.positions} == events


async def test_a_route_that_refuses_replay_has_to_be_forced() -> None:
    world, _, _, _ = await parked_world()
    route = replace(ROUTE, refuses_replay=True)
    with pytest.raises(Conflict, match="CD4011"):
        plan_replay(world.lane(), route, [], world.now)
    assert plan_replay(world.lane(), route, [], world.now, force=True).total == 0


async def test_a_replay_is_spread_over_time_and_bounded() -> None:
    world, _, _, _ = await parked_world(1)
    entry = await world.engine.journal.entry(world.lane().store, Position(1))
    assert entry is not None
    many = [Candidate(replace(entry, position=Position(index + 1)), "") for index in range(REPLAY_EVENTS_MAX + 7)]
    made = plan_replay(world.lane(), ROUTE, many, world.now)
    assert (made.total, made.left) == (REPLAY_EVENTS_MAX, 7)
    assert all(len(write.positions) <= REPLAY_PER_SECOND for write in made.writes)
    assert [write.not_before for write in made.writes] == [
        world.now + index * SECOND_MS for index in range(len(made.writes))
    ]
    assert made.spread_ms == made.writes[-1].not_before - world.now
