"""Who runs which lanes: lanes are spread over slots, and a process leases slots.

Guarantees:
    One.      A slot has at most one owner; each change of owner raises its epoch. A change that carries an older epoch
              settles nothing (`model.lane.Fence`).
    Renewed.  A member keeps its slots as long as it beats within LEASE_MS; after that anybody may claim them.
    Shared.   Claims take what is free, never what a live member holds.
The lease's clock is the engine's own. A member that was asleep learns by `beat` which slots it still has.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from crossdock.model.ids import ConnectionId, StoreId
from crossdock.model.limits import LEASE_MS, SLOTS


def slot_of(store: StoreId, connection: ConnectionId) -> int:
    """The slot of a connection's lanes, 0 to SLOTS - 1: the same in every process and release."""
    return zlib.crc32(f"{store}/{connection}".encode()) % SLOTS


@dataclass(frozen=True, slots=True)
class Standing:
    """How a member stands after its beat: how many live members there are, itself included, the epochs of the slots
    that it owns, and its `rank`: how many of the live members come before it by name. Without the rank the shares could
    not add up: with 33 members, 32 of them would keep 32 slots each, and the last would starve.

    `lapse_ms` is when the first of the others' leases ends, in milliseconds from now, should it not beat again."""

    members: int
    owned: Mapping[int, int]
    rank: int = 0
    lapse_ms: int = LEASE_MS


class Slots(Protocol):
    async def beat(self, member: str) -> Standing:
        """Joins, or renews the lease for LEASE_MS from now."""
        ...

    async def claim(self, member: str, at_most: int) -> Mapping[int, int]:
        """Takes at most so many slots that no live member owns, each at a new epoch; the slots taken with it."""
        ...

    async def release(self, member: str, slots: Collection[int]) -> None:
        """Gives slots up. Those that the member does not own stay as they are."""
        ...

    async def leave(self, member: str) -> None:
        """Gives everything up and is no member any more."""
        ...


class WholeSlots:
    """For an engine that one process owns: every slot is its own, at epoch 0, as long as it asks."""

    async def beat(self, member: str) -> Standing:
        return Standing(1, dict.fromkeys(range(SLOTS), 0))

    async def claim(self, member: str, at_most: int) -> Mapping[int, int]:
        return {}

    async def release(self, member: str, slots: Collection[int]) -> None:
        return

    async def leave(self, member: str) -> None:
        return
