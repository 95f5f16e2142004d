"""Bringing a store to a standstill and over: rounds while it serves, then closing, a grace, shut, the last round, the
proof. Whatever fails before the end opens the store again where it was."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from crossdock.freight.carry import Carrier, Tell
from crossdock.freight.port import Destination, Source
from crossdock.freight.proof import Proof, Proved
from crossdock.model.errors import Conflict
from crossdock.model.ids import StoreId

ROUNDS_MAX = (
    8  # while the store serves; a store that grows faster than it is carried is stopped after that all the same
)
LITTLE_ROWS = 500  # what is left then is carried in well under a second
GRACE_SECONDS = 3.0  # a turn sends nothing new after TURN_MS_MAX, and settles what it sent


OVERTAKEN = "CD5029"


class Hold(Protocol):
    """How the source is brought to a standstill. Durable when it returns."""

    async def close(self, store: StoreId) -> None:
        """No more entries, no new turns."""
        ...

    async def shut(self, store: StoreId) -> None:
        """Nothing of the store changes any more."""
        ...

    async def release(self, store: StoreId) -> None:
        """The copy is given up: the store serves where it was."""
        ...

    @property
    def still(self) -> bool:
        """Whether the source stands still already."""
        ...


class AtRest:
    """A source that nobody runs: it stands still already."""

    still = True

    async def close(self, store: StoreId) -> None:
        return

    async def shut(self, store: StoreId) -> None:
        return

    async def release(self, store: StoreId) -> None:
        return


@dataclass
class Journey:
    """One store on its way from a source to a destination, with the epoch of the copy. `pause` is how a grace is
    waited for."""

    source: Source
    destination: Destination
    hold: Hold
    epoch: int
    grace_seconds: float = GRACE_SECONDS
    tell: Tell = field(default=lambda _: None)
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def travel(self, store: StoreId) -> Proved:
        """Everything is at the destination, proved, behind a gate that is still shut there; the source stands still.

        Conflict CD5025 if the copy is not what the source holds, CD5026 if it does not fit there, CD5029 if another
        copy has begun. Then, or when it is cancelled, the source serves again."""
        await self.destination.begin(store, self.epoch)
        carrier = Carrier(self.source, self.destination, store, self.epoch, self.tell)
        proof = Proof(self.source, self.destination, store)
        try:
            if not self.hold.still:
                await self._rounds(carrier, proof)
            await self.hold.close(store)
            if not self.hold.still:
                await self.pause(self.grace_seconds)
            await self.hold.shut(store)
            await carrier.round(last=True)
            journals = await self.source.journals(store)
            await self.destination.arrive(store, journals.head, self.epoch)
            return await proof.finish()
        except BaseException as error:
            if not (isinstance(error, Conflict) and error.code == OVERTAKEN):  # else the source is the other copy's
                await asyncio.shield(self.hold.release(store))
            raise

    async def _rounds(self, carrier: Carrier, proof: Proof) -> None:
        for _ in range(ROUNDS_MAX):
            carried = await carrier.round(last=False)
            await proof.advance()
            if carried <= LITTLE_ROWS:
                return
