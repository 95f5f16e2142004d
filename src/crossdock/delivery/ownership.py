"""Which lanes this process runs: those of the slots that it leases, as long as it knows by its own clock that it does.

`share` decides, purely: what to claim and what to give back. `Ownership` asks the engine and keeps the lease's end. A
slot is given back in two steps: first its lanes start nothing new; when their last turn has settled, it is released.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from crossdock.journal.slots import Slots, Standing
from crossdock.model.lane import Fence
from crossdock.model.limits import BEAT_MS, BEAT_MS_MAX, LEASE_MARGIN_MS, LEASE_MS, SECOND_MS, SLOTS

NEVER = float("-inf")
LAPSE_SLACK_MS = 50  # so long after another's lease has ended a beat looks for its slots: the clocks are not one
CLAIM_AGAIN_MS = 200  # who still misses slots asks again after that: they may have been locked by another's claim
APART_MS, APART = 10, 16  # members come one after the other, by rank, to what all of them want


@dataclass(frozen=True, slots=True)
class Share:
    """What a member shall do about its slots: claim so many more, and give these back."""

    claim: int
    give: frozenset[int]


def fair_share(members: int, rank: int) -> int:
    """How many slots the member with `rank` (0 to members - 1) shall have. The shares of all add up to SLOTS, and no
    two differ by more than one."""
    return SLOTS // members + (rank < SLOTS % members)


def share(standing: Standing, leaving: Collection[int]) -> Share:
    """A member with less than its share claims, one with more gives back: first what it was giving back before, so that
    it does not change its mind. Busy slots are not spared, or whoever came first would keep all the work."""
    missing = fair_share(max(1, standing.members), standing.rank) - len(standing.owned)
    if missing >= 0:
        return Share(missing, frozenset())
    given_first = sorted(standing.owned, key=lambda slot: (slot not in leaving, slot))
    return Share(0, frozenset(given_first[:-missing]))


@dataclass(frozen=True, slots=True)
class Turnover:
    """The slots that this process runs now and did not before, and those that it runs no more."""

    gained: frozenset[int]
    lost: frozenset[int]


class Ownership:
    """The slots of one member. `elapsed` gives seconds, and goes on while the process is frozen.

    `asked` is set when a beat should not wait for its time."""

    def __init__(self, slots: Slots, member: str, elapsed: Callable[[], float]) -> None:
        self.member = member
        self.members = 0
        self.asked = asyncio.Event()
        self._slots = slots
        self._elapsed = elapsed
        self._epochs: dict[int, int] = {}
        self._leaving: frozenset[int] = frozenset()
        self._turns: Counter[int] = Counter()
        self._gained: set[int] = set()
        self._lost: set[int] = set()
        self._until = NEVER
        self._next_beat = NEVER

    @property
    def slots(self) -> Collection[int]:
        """The slots whose lanes this process runs."""
        return self._epochs.keys()

    def has(self, slot: int) -> bool:
        return slot in self._epochs

    def alive(self) -> bool:
        """Whether the lease stands. Where it does not, nothing may be sent before a beat has told what is left."""
        return self._elapsed() < self._until

    def late_ms(self) -> int:
        """How long ago the lease ended; 0 while it stands, and before the first one."""
        return 0 if self._until == NEVER else max(0, int((self._elapsed() - self._until) * SECOND_MS))

    def due(self) -> bool:
        return self.asked.is_set() or self._elapsed() >= self._next_beat

    def wait_ms(self) -> int:
        """Until the next beat."""
        return max(1, int((self._next_beat - self._elapsed()) * SECOND_MS)) if self._next_beat > NEVER else 1

    def enter(self, slot: int) -> Fence | None:
        """The fence of a turn of one of the slot's lanes; `leave_turn` must follow. None if it may not start."""
        epoch = self._epochs.get(slot)
        if epoch is None or not self.alive():
            return None
        self._turns[slot] += 1
        return Fence(slot, epoch)

    def leave_turn(self, fence: Fence) -> None:
        """The turn has ended, and settled."""
        self._turns[fence.slot] -= 1
        if not self._turns[fence.slot]:
            del self._turns[fence.slot]
            if fence.slot in self._leaving:
                self.asked.set()

    def stands(self, fence: Fence) -> bool:
        """Whether a turn under the fence may go on sending."""
        return self.alive() and self._epochs.get(fence.slot) == fence.epoch

    async def beat(self) -> Turnover:
        """Renews the lease, claims what is missing and releases what has been left. Raises what the engine raises; then
        the lease ends when it would have ended, and what is told here is told by the next beat that succeeds."""
        self.asked.clear()
        asked_at = self._elapsed()
        self._next_beat = asked_at + BEAT_MS / SECOND_MS
        async with asyncio.timeout(BEAT_MS_MAX / SECOND_MS):
            standing = await self._slots.beat(self.member)
            # The lease counts from before the question: however long the answer took, or this process slept, it is over
            # here before it is over there.
            self._until = asked_at + (LEASE_MS - LEASE_MARGIN_MS) / SECOND_MS
            self.members = standing.members
            self._beat_within(standing.lapse_ms + LAPSE_SLACK_MS, asked_at, standing.rank)
            due = share(standing, self._leaving)
            # Before anything is released, nothing of it may start any more.
            self._leaving = due.give
            self._now_has({slot: epoch for slot, epoch in standing.owned.items() if slot not in due.give})
            if due.claim:
                claimed = await self._slots.claim(self.member, due.claim)
                self._now_has({**self._epochs, **claimed})
                if len(claimed) < due.claim:
                    self._beat_within(CLAIM_AGAIN_MS, asked_at, standing.rank)
            await self._release()
        return self._turnover()

    def _beat_within(self, wait_ms: int, asked_at: float, rank: int) -> None:
        self._next_beat = min(self._next_beat, asked_at + (wait_ms + rank % APART * APART_MS) / SECOND_MS)

    async def leave(self) -> None:
        """Gives everything up, at once: no turn may be under way."""
        self._until = NEVER
        self._epochs.clear()
        async with asyncio.timeout(BEAT_MS_MAX / SECOND_MS):
            await self._slots.leave(self.member)

    async def _release(self) -> None:
        left = [slot for slot in sorted(self._leaving) if not self._turns[slot]]
        if left:
            await self._slots.release(self.member, left)
            self._leaving -= frozenset(left)

    def _now_has(self, epochs: dict[int, int]) -> None:
        before, self._epochs = self._epochs, epochs
        if before == epochs:
            return  # as at nearly every beat
        for slot in before.keys() | epochs.keys():
            if before.get(slot) == epochs.get(slot):
                continue
            if slot in before:
                self._lost.add(slot)
            if slot in epochs:
                self._gained.add(slot)

    def _turnover(self) -> Turnover:
        made = Turnover(frozenset(self._gained & self._epochs.keys()), frozenset(self._lost))
        self._gained.clear()
        self._lost.clear()
        return made
