"""Who gets which slots, and when a lease is over: the pure share, and members of one engine over time."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdock.delivery.ownership import (
    APART,
    APART_MS,
    CLAIM_AGAIN_MS,
    LAPSE_SLACK_MS,
    Ownership,
    Turnover,
    fair_share,
    share,
)
from crossdock.engines.memory.slots import MemorySlots
from crossdock.journal.slots import Slots, Standing, WholeSlots
from crossdock.model.errors import Unavailable
from crossdock.model.ids import Instant
from crossdock.model.lane import Fence
from crossdock.model.limits import BEAT_MS, LEASE_MARGIN_MS, LEASE_MS, SLOTS


class Clock:
    def __init__(self) -> None:
        self.ms = 0

    def __call__(self) -> Instant:
        return Instant(self.ms)

    def elapsed(self) -> float:
        return self.ms / 1_000


@given(st.integers(1, 2 * SLOTS))
def test_fair_shares_add_up_and_nobody_starves(members: int) -> None:
    shares = [fair_share(members, rank) for rank in range(members)]
    assert sum(shares) == SLOTS
    assert max(shares) - min(shares) <= 1
    assert min(shares) > 0 or members > SLOTS


owned = st.sets(st.integers(0, 40), max_size=40).map(lambda slots: dict.fromkeys(slots, 1))


@given(st.integers(1, 3_000), st.integers(0, 2_999), owned, st.sets(st.integers(0, 40), max_size=40))
def test_a_share_brings_a_member_to_what_is_fair(
    members: int, rank: int, owned: dict[int, int], leaving: set[int]
) -> None:
    rank %= members
    due = share(Standing(members, owned, rank), leaving)
    assert len(owned) + due.claim - len(due.give) == fair_share(members, rank)
    assert due.give <= owned.keys()
    assert not (due.claim and due.give)


@given(owned, st.sets(st.integers(0, 40), max_size=40), st.integers(50, 1_000))
def test_what_is_being_given_back_is_not_exchanged_for_something_else(
    owned: dict[int, int], leaving: set[int], members: int
) -> None:
    standing = Standing(members, owned, members - 1)
    first = share(standing, leaving).give
    assert share(standing, first).give == first
    assert first <= leaving or leaving & owned.keys() <= first


async def beat_all(members: Collection[Ownership], clock: Clock) -> list[Turnover]:
    clock.ms += BEAT_MS
    return [await member.beat() for member in members]


moves = st.lists(st.sampled_from(["join", "join", "leave", "crash", "beat"]), min_size=1, max_size=12)


@settings(max_examples=30, deadline=None)
@given(moves, st.randoms(use_true_random=False))
def test_whoever_comes_and_goes_the_shares_settle_and_then_nothing_moves(moves: list[str], dice: object) -> None:
    async def story() -> None:
        clock = Clock()
        slots = MemorySlots(clock)
        live: list[Ownership] = []
        for number, move in enumerate(["join", *moves]):
            if move == "join":
                live.append(Ownership(slots, f"m{number % 7}-{number}", clock.elapsed))
            elif move == "beat" or len(live) < 2:
                await beat_all(live, clock)
            else:
                gone = live.pop(dice.randrange(len(live)))  # type: ignore[attr-defined]
                if move == "leave":
                    await gone.leave()
            held = [slot for one in live for slot in one.slots]
            assert len(held) == len(set(held))
        for _ in range(LEASE_MS // BEAT_MS + 4):
            await beat_all(live, clock)
        by_name = sorted(live, key=lambda one: one.member)
        assert [len(one.slots) for one in by_name] == [fair_share(len(live), rank) for rank in range(len(live))]
        assert len({slot for one in live for slot in one.slots}) == SLOTS
        assert await beat_all(live, clock) == [Turnover(frozenset(), frozenset())] * len(live)

    asyncio.run(story())


async def pair() -> tuple[Clock, MemorySlots, Ownership, Ownership]:
    """One member that owns every slot, and one that has not joined yet."""
    clock = Clock()
    slots = MemorySlots(clock)
    one, two = (Ownership(slots, name, clock.elapsed) for name in ("one", "two"))
    await one.beat()
    assert len(one.slots) == SLOTS
    return clock, slots, one, two


async def test_a_slot_with_a_turn_under_way_is_given_back_when_the_turn_has_settled() -> None:
    _, _, one, two = await pair()
    fences = [one.enter(slot) for slot in range(SLOTS)]
    assert all(fences)
    await two.beat()
    lost = (await one.beat()).lost
    assert len(lost) == SLOTS // 2
    assert (await two.beat()).gained == frozenset()
    slot = min(lost)
    fence = fences[slot]
    assert fence is not None
    assert one.enter(slot) is None
    assert not one.stands(fence)
    one.leave_turn(fence)
    assert one.due()
    await one.beat()
    assert (await two.beat()).gained == {slot}


async def test_a_member_that_slept_past_its_lease_starts_and_sends_nothing_until_a_beat_tells_what_is_left() -> None:
    clock, _, one, two = await pair()
    fence = one.enter(7)
    assert fence is not None
    assert one.stands(fence)
    clock.ms += LEASE_MS - LEASE_MARGIN_MS
    assert not one.stands(fence)
    assert one.enter(8) is None
    # Nobody has taken anything meanwhile.
    assert await one.beat() == Turnover(frozenset(), frozenset())
    assert one.stands(fence)
    clock.ms += LEASE_MS
    await two.beat()
    assert not one.stands(fence)
    turnover = await one.beat()
    assert turnover.lost == frozenset(range(SLOTS))
    assert not one.stands(fence)
    assert (one.late_ms(), len(one.slots)) == (0, 0)


async def test_who_misses_slots_asks_again_soon_and_who_has_its_share_waits_for_its_beat() -> None:
    _, _, one, two = await pair()
    fences = [one.enter(slot) for slot in range(SLOTS)]
    await two.beat()
    assert two.wait_ms() <= CLAIM_AGAIN_MS + APART_MS * APART
    await one.beat()
    assert one.wait_ms() == BEAT_MS
    for fence in fences:
        assert fence is not None
        one.leave_turn(fence)
    await one.beat()
    assert len((await two.beat()).gained) == SLOTS // 2
    assert (one.wait_ms(), two.wait_ms()) == (BEAT_MS, BEAT_MS)


async def test_when_another_s_lease_would_end_a_beat_comes_no_later() -> None:
    clock, _, one, two = await pair()
    await two.beat()
    clock.ms = LEASE_MS - BEAT_MS // 2  # the two has not beaten since
    await one.beat()
    assert BEAT_MS // 2 < one.wait_ms() <= BEAT_MS // 2 + LAPSE_SLACK_MS + APART_MS * APART
    clock.ms += one.wait_ms()
    assert len((await one.beat()).gained | set(one.slots)) == SLOTS


class Faulty:
    """Slots whose calls fail when they are told to, after they were done where `late` says so."""

    def __init__(self, slots: Slots, clock: Clock) -> None:
        self._slots = slots
        self._clock = clock
        self.fails: set[str] = set()
        self.takes_ms = 0

    def _after(self, name: str) -> None:
        self._clock.ms += self.takes_ms
        if name in self.fails:
            raise Unavailable("CD5009", "the answer was lost")

    async def beat(self, member: str) -> Standing:
        standing = await self._slots.beat(member)
        self._after("beat")
        return standing

    async def claim(self, member: str, at_most: int) -> Mapping[int, int]:
        claimed = await self._slots.claim(member, at_most)
        self._after("claim")
        return claimed

    async def release(self, member: str, slots: Collection[int]) -> None:
        await self._slots.release(member, slots)
        self._after("release")

    async def leave(self, member: str) -> None:
        await self._slots.leave(member)


async def test_slots_that_came_with_a_lost_answer_are_told_by_the_next_beat() -> None:
    clock = Clock()
    faulty = Faulty(MemorySlots(clock), clock)
    member = Ownership(faulty, "one", clock.elapsed)
    faulty.fails = {"claim"}
    with pytest.raises(Unavailable):
        await member.beat()
    assert len(member.slots) == 0
    faulty.fails = set()
    assert len((await member.beat()).gained) == SLOTS


async def test_a_loss_that_came_with_a_lost_answer_is_told_by_the_next_beat() -> None:
    clock = Clock()
    slots = MemorySlots(clock)
    faulty = Faulty(slots, clock)
    member, other = Ownership(faulty, "one", clock.elapsed), Ownership(slots, "two", clock.elapsed)
    await member.beat()
    await other.beat()
    faulty.fails = {"release"}
    with pytest.raises(Unavailable):
        await member.beat()
    assert len(member.slots) == SLOTS // 2
    await other.beat()
    faulty.fails = set()
    assert len((await member.beat()).lost) == SLOTS // 2
    assert not set(member.slots) & set(other.slots)


async def test_beats_that_fail_do_not_lengthen_the_lease_and_a_slow_answer_counts_from_its_question() -> None:
    clock = Clock()
    faulty = Faulty(WholeSlots(), clock)
    member = Ownership(faulty, "one", clock.elapsed)
    await member.beat()
    clock.ms = BEAT_MS
    faulty.fails = {"beat"}
    with pytest.raises(Unavailable):
        await member.beat()
    clock.ms = LEASE_MS - LEASE_MARGIN_MS - 1
    assert member.alive()
    clock.ms += 1
    assert not member.alive()
    faulty.fails, faulty.takes_ms = set(), LEASE_MS
    await member.beat()
    assert not member.alive()
    assert member.late_ms() == LEASE_MARGIN_MS
    faulty.takes_ms = 0
    await member.beat()
    assert member.alive()


async def test_who_leaves_owns_nothing_and_starts_nothing() -> None:
    _, _, one, two = await pair()
    await one.leave()
    assert one.enter(0) is None
    assert not one.stands(Fence(0, 1))
    await two.beat()
    assert len(two.slots) == SLOTS


def test_three_beats_may_be_lost() -> None:
    assert LEASE_MS - LEASE_MARGIN_MS > 3 * BEAT_MS
