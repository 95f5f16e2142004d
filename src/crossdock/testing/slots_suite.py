# ruff: noqa: S101  # a suite asserts: that is its work
"""What leased slots promise, as tests, for engines that several processes share. See `journal_suite` for how a test
module takes them; `lapse` ends a member's lease, as if LEASE_MS had passed for it alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from crossdock.journal.slots import slot_of
from crossdock.model.ids import Position
from crossdock.model.lane import Counts, Fence, LaneChange
from crossdock.model.limits import LEASE_MS, SLOTS
from crossdock.stores.port import Engine, OpenLane
from crossdock.testing.samples import drafts, lane_id, write

LANE = lane_id()
SLOT = slot_of(LANE.store, LANE.connection)

Lapse = Callable[[str], Awaitable[None]]


class SlotsSuite:
    async def test_a_member_joins_with_nothing_and_counts_the_living(self, engine: Engine, lapse: Lapse) -> None:
        assert (await engine.slots.beat("ann")).owned == {}
        assert (await engine.slots.beat("bob")).members == 2
        await lapse("bob")
        assert (await engine.slots.beat("ann")).members == 1

    async def test_live_members_rank_by_their_names(self, engine: Engine, lapse: Lapse) -> None:
        for name in ("cid", "ann", "bob"):
            await engine.slots.beat(name)
        assert [(await engine.slots.beat(name)).rank for name in ("ann", "bob", "cid")] == [0, 1, 2]
        await lapse("ann")
        assert [(await engine.slots.beat(name)).rank for name in ("bob", "cid")] == [0, 1]

    async def test_a_member_knows_when_the_first_of_the_others_would_lapse(self, engine: Engine, lapse: Lapse) -> None:
        assert (await engine.slots.beat("ann")).lapse_ms == LEASE_MS
        assert 0 < (await engine.slots.beat("bob")).lapse_ms <= LEASE_MS
        await lapse("ann")
        assert (await engine.slots.beat("bob")).lapse_ms == LEASE_MS

    async def test_claims_take_what_is_free_and_no_more_than_asked(self, engine: Engine) -> None:
        await engine.slots.beat("ann")
        await engine.slots.beat("bob")
        first = await engine.slots.claim("ann", 1_000)
        second = await engine.slots.claim("bob", SLOTS)
        assert (len(first), len(second)) == (1_000, SLOTS - 1_000)
        assert not set(first) & set(second)
        assert await engine.slots.claim("bob", SLOTS) == {}
        assert await engine.slots.claim("bob", 0) == {}
        assert (await engine.slots.beat("ann")).owned == first
        assert (await engine.slots.beat("bob")).owned == second

    async def test_of_many_who_claim_at_once_none_gets_what_another_has(self, engine: Engine) -> None:
        names = [f"m{number}" for number in range(8)]
        for name in names:
            await engine.slots.beat(name)
        taken = await asyncio.gather(*(engine.slots.claim(name, 200) for name in names))
        assert sum(len(one) for one in taken) == SLOTS == len(set().union(*taken))
        for name, slots in zip(names, taken, strict=True):
            assert (await engine.slots.beat(name)).owned == slots

    async def test_each_owner_takes_a_slot_at_a_higher_epoch(self, engine: Engine, lapse: Lapse) -> None:
        await engine.slots.beat("ann")
        first = await engine.slots.claim("ann", SLOTS)
        await engine.slots.beat("bob")
        assert await engine.slots.claim("bob", SLOTS) == {}
        await lapse("ann")
        second = await engine.slots.claim("bob", SLOTS)
        assert set(second) == set(first)
        assert all(second[slot] > first[slot] for slot in first)
        assert (await engine.slots.beat("ann")).owned == {}

    async def test_what_is_released_is_free_and_what_another_owns_stays(self, engine: Engine) -> None:
        await engine.slots.beat("ann")
        await engine.slots.beat("bob")
        first = await engine.slots.claim("ann", 3)
        second = await engine.slots.claim("bob", 3)
        gone = next(iter(first))
        await engine.slots.release("ann", [gone, *second])
        assert set((await engine.slots.beat("ann")).owned) == set(first) - {gone}
        assert (await engine.slots.beat("bob")).owned == second
        assert gone in await engine.slots.claim("bob", SLOTS)

    async def test_who_leaves_owns_nothing_and_counts_no_more(self, engine: Engine) -> None:
        await engine.slots.beat("ann")
        await engine.slots.claim("ann", SLOTS)
        await engine.slots.beat("bob")
        await engine.slots.leave("ann")
        assert len(await engine.slots.claim("bob", SLOTS)) == SLOTS
        assert (await engine.slots.beat("bob")).members == 1

    async def test_a_change_under_an_older_epoch_settles_nothing(self, engine: Engine, lapse: Lapse) -> None:
        await write(engine, OpenLane(LANE))
        await engine.journal.append(drafts(3))
        await engine.slots.beat("ann")
        old = Fence(SLOT, (await engine.slots.claim("ann", SLOTS))[SLOT])
        one = LaneChange(LANE, 0, Position(0), Position(1), Counts(delivered=1), fence=old)
        assert await engine.lanes.settle([one]) == [True]
        await lapse("ann")
        await engine.slots.beat("bob")
        new = Fence(SLOT, (await engine.slots.claim("bob", SLOTS))[SLOT])
        two = replace(one, cursor_from=Position(1), cursor_to=Position(2))
        assert await engine.lanes.settle([two]) == [False]
        lane = await engine.lanes.lane(LANE)
        assert lane is not None
        assert lane.cursor == 1
        assert await engine.lanes.settle([replace(two, fence=new)]) == [True]
        without = replace(two, cursor_from=Position(2), cursor_to=Position(3), fence=None)
        assert await engine.lanes.settle([without]) == [True]

    async def test_a_stale_fence_harms_no_change_beside_it(self, engine: Engine) -> None:
        other = lane_id("other")
        await write(engine, OpenLane(LANE), OpenLane(other))
        await engine.journal.append(drafts(1))
        await engine.slots.beat("ann")
        epochs = await engine.slots.claim("ann", SLOTS)
        stale = LaneChange(LANE, 0, Position(0), Position(1), Counts(delivered=1), fence=Fence(SLOT, epochs[SLOT] + 1))
        slot = slot_of(other.store, other.connection)
        fine = replace(stale, lane=other, fence=Fence(slot, epochs[slot]))
        assert await engine.lanes.settle([stale, fine]) == [False, True]
