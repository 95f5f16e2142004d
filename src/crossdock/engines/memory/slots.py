"""Leased slots in memory: the reference for engines that many processes share, and the ground of tests with several."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from crossdock.journal.slots import Standing
from crossdock.model.ids import Instant
from crossdock.model.lane import Fence
from crossdock.model.limits import LEASE_MS, SLOTS


class MemorySlots:
    """`journal.slots.Slots`. The lease lies on the member, so that a beat touches one row however many slots it has."""

    def __init__(self, clock: Callable[[], Instant]) -> None:
        self._clock = clock
        self._until: dict[str, Instant] = {}
        self._owners: dict[int, str] = {}
        self._epochs = [0] * SLOTS

    async def beat(self, member: str) -> Standing:
        now = self._clock()
        self._until[member] = Instant(now + LEASE_MS)
        owned = {slot: self._epochs[slot] for slot, owner in self._owners.items() if owner == member}
        living = self._living(now)
        lapse = min((self._until[other] - now for other in living - {member}), default=LEASE_MS)
        return Standing(len(living), owned, rank=sum(other < member for other in living), lapse_ms=lapse)

    async def claim(self, member: str, at_most: int) -> Mapping[int, int]:
        living = self._living(self._clock())
        if member not in living:
            return {}
        free = [slot for slot in range(SLOTS) if self._owners.get(slot) not in living]
        taken = free[: max(0, at_most)]
        for slot in taken:
            self._owners[slot] = member
            self._epochs[slot] += 1
        return {slot: self._epochs[slot] for slot in taken}

    async def release(self, member: str, slots: Collection[int]) -> None:
        for slot in slots:
            if self._owners.get(slot) == member:
                del self._owners[slot]

    async def leave(self, member: str) -> None:
        self._owners = {slot: owner for slot, owner in self._owners.items() if owner != member}
        self._until.pop(member, None)

    def stands(self, fence: Fence) -> bool:
        """Whether the slot still has the epoch that the fence names."""
        return self._epochs[fence.slot] == fence.epoch

    def _living(self, now: Instant) -> set[str]:
        return {member for member, until in self._until.items() if until > now}
