"""`crossdock store move`: a store changes its cell.

    claim     the directory gives the move a number, above every one before: the epoch of all that it writes
    rounds    most rows are carried while the store serves
    close     no entries, no new turns; a grace for turns under way; then nothing changes any more
    last      the rest is carried, and every row proved
    settle    one compare-and-set in the directory: from here on the store is at its new home
    open      the new home serves; the old one stays shut

Killed before `settle`, the store is where it was, and the same command ends the move, or undoes it with its old cell.
Killed after it, the same command opens the new home. Of two at once the later wins, and the earlier writes nothing
more: every write carries the number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Protocol

from crossdock.engines.cells.directory import Directory, Home, no_home
from crossdock.freight.carry import Tell
from crossdock.freight.postgres import PostgresPlace, overtaken
from crossdock.freight.proof import Proved
from crossdock.freight.standing import GRACE_SECONDS, Journey
from crossdock.model.connection import AuditEntry
from crossdock.model.errors import Invalid, Unavailable
from crossdock.model.ids import Position, StoreId
from crossdock.model.lane import Gate

Record = Callable[[StoreId, Position, str], AuditEntry]
"""Makes the entry of a store that has come, from the journal's head and the proof's digest ('' if it was there)."""


class Places(Protocol):
    """The cells by name. Only those that a move needs have to be there."""

    @property
    def names(self) -> Collection[str]: ...

    async def at(self, cell: str) -> PostgresPlace:
        """Unavailable, with the cell's name, if it does not answer or its schema is not this release's."""
        ...


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many rows were deleted. `silent`: the cells that did not answer, where some may be left."""

    rows: int
    silent: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CellHold:
    """`standing.Hold` of a cell, under the number of the move."""

    directory: Directory
    place: PostgresPlace
    cell: str
    epoch: int

    @property
    def still(self) -> bool:
        return False

    async def close(self, store: StoreId) -> None:
        await self.place.gate(store, Gate.CLOSING, self.epoch)

    async def shut(self, store: StoreId) -> None:
        await self.place.gate(store, Gate.SHUT, self.epoch)

    async def release(self, store: StoreId) -> None:
        """Nothing if a later move has begun: then the store is that one's."""
        if await self.directory.settle(store, self.cell, self.cell, self.epoch):
            await self.place.reopen(store, self.epoch)


@dataclass(frozen=True, slots=True)
class Moving:
    directory: Directory
    places: Places
    record: Record
    grace_seconds: float = GRACE_SECONDS
    tell: Tell = field(default=lambda _: None)
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def run(self, store: StoreId, to: str) -> Proved | None:
        """None if the store was there already. Invalid (CD7032) for a cell that is not known; NotFound (CD3004) for a
        store that the directory does not have; Conflict CD5025, CD5026 or CD5029 as `Journey` says: then the store is
        where it was."""
        home = await self.home(store)
        there = await self._place(to)
        if home.cell == to:
            await self._settle_in(store, home)
            return None
        here = await self._place(home.cell)
        epoch = await self.directory.claim(store)
        hold = CellHold(self.directory, here, home.cell, epoch)
        journey = Journey(here, there, hold, epoch, self.grace_seconds, self.tell, self.pause)
        try:
            proved = await journey.travel(store)
            await self._settle(store, home, Home(to, epoch))
        except BaseException:
            await asyncio.shield(hold.release(store))
            raise
        await there.open(store, epoch, self.record(store, proved.head, proved.digest))
        return proved

    async def home(self, store: StoreId) -> Home:
        home = await self.directory.home(store)
        if home is None:
            raise no_home(store)
        return home

    async def forget(self, store: StoreId) -> Forgotten:
        """Deletes what the store left in the cells that it has moved from."""
        home = await self.home(store)
        gone = 0
        silent: list[str] = []
        for name in self.places.names:
            if name == home.cell:
                continue
            try:
                place = await self.places.at(name)
                left = await place.journals(store)
                if left.present and left.gate is Gate.SHUT and left.epoch <= home.epoch:
                    gone += await place.forget(store, left.epoch)
            except Unavailable:
                silent.append(name)
        return Forgotten(gone, tuple(silent))

    async def _settle(self, store: StoreId, was: Home, now: Home) -> None:
        try:
            done = await self.directory.settle(store, was.cell, now.cell, now.epoch)
        except Unavailable:
            # The commit may stand although nobody said so: what the directory says now is what counts.
            done = await self.directory.home(store) == now
        if not done:
            raise overtaken(store)

    async def _settle_in(self, store: StoreId, home: Home) -> None:
        """Ends a move here that was killed after its last step, or undoes one from here that was killed before it."""
        place = await self._place(home.cell)
        standing = await place.journals(store)
        if standing.gate is Gate.OPEN and standing.epoch == home.epoch:
            return
        if standing.epoch == home.epoch:
            await place.open(store, home.epoch, self.record(store, standing.head, ""))
            return
        epoch = await self.directory.claim(store)
        await CellHold(self.directory, place, home.cell, epoch).release(store)

    async def _place(self, cell: str) -> PostgresPlace:
        if cell not in self.places.names:
            raise Invalid(
                "CD7032",
                f"There is no cell {cell}; there are {', '.join(sorted(self.places.names))}.",
                where="--to",
                remedy="Add it to CROSSDOCK_CELLS of every process first, then move.",
            )
        return await self.places.at(cell)
