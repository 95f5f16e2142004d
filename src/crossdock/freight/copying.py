"""`crossdock db copy`: every store of an installation, and the platform's own rows, into another database.

Each store is begun, carried, proved and opened by itself, so that a copy that was killed goes on where it was: what the
destination has is not carried again, and a store that serves there is only proved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from crossdock.freight.carry import Carrier
from crossdock.freight.port import Source
from crossdock.freight.postgres import PostgresPlace
from crossdock.freight.proof import Proof, Proved
from crossdock.freight.standing import GRACE_SECONDS, Hold, Journey
from crossdock.freight.tables import PLATFORM, shown
from crossdock.model.connection import AuditEntry
from crossdock.model.errors import Conflict, NotFound
from crossdock.model.ids import StoreId
from crossdock.model.lane import Gate


class Told(Protocol):
    """Who watches a copy."""

    def begun(self, store: str, number: int, of: int) -> None:
        """`store` is '' for the platform's own rows."""
        ...

    def rows(self, carried: int) -> None: ...

    def ended(self, proved: Proved, *, there_before: bool) -> None: ...


Record = Callable[[Proved], AuditEntry]
"""Makes the entry which says that a store has come."""


@dataclass(frozen=True, slots=True)
class Copying:
    """`hold` says whether the source runs. With `only` one store is copied, and nothing of the platform's."""

    source: Source
    destination: PostgresPlace
    hold: Hold
    told: Told
    record: Record
    only: StoreId | None = None
    grace_seconds: float = GRACE_SECONDS

    async def run(self) -> list[Proved]:
        """Conflict CD5025, CD5026 or CD5029: see `Journey`. NotFound (CD3004) for a store that is not there."""
        counter, _ = await self.destination.log_end()
        # Where nobody has changed anything yet, the log keeps its numbers: the counter stays 0 until all is there.
        self.destination.keeps_numbers = counter == 0 and self.hold.still and self.only is None
        if not self.destination.keeps_numbers:
            await self.destination.number_on()
        stores = await self._stores()
        ways: list[str] = [] if self.only else [PLATFORM]
        proved = []
        for number, store in enumerate([*ways, *stores], 1):
            self.told.begun(store, number, len(ways) + len(stores))
            proved.append(await (self._store(StoreId(store)) if store else self._platform()))
        if not self.only and not self.hold.still:
            await self._platform()  # what was changed meanwhile
        await self.destination.number_on()
        return proved

    async def _stores(self) -> list[StoreId]:
        stores = await self.source.stores()
        if self.only is None:
            return stores
        if self.only not in stores:
            raise NotFound("CD3004", f"The source has no store {self.only}.", remedy="See `crossdock store list`.")
        return [self.only]

    async def _store(self, store: StoreId) -> Proved:
        here, there = await self.source.journals(store), await self.destination.journals(store)
        if there.present and there.gate is Gate.OPEN:
            return await self._served(store, moved=here.gate is Gate.SHUT)
        journey = Journey(
            self.source, self.destination, self.hold, here.epoch + 1, self.grace_seconds, tell=self.told.rows
        )
        proved = await journey.travel(store)
        # Nobody looks at a place that is filled at rest; where processes run, they must look at the store anew.
        record = None if self.hold.still else self.record(proved)
        await self.destination.open(store, here.epoch + 1, record)
        self.told.ended(proved, there_before=False)
        return proved

    async def _served(self, store: StoreId, *, moved: bool) -> Proved:
        """Of a store that the destination serves already: either this copy opened it, or it is another one."""
        proof = Proof(self.source, self.destination, store)
        try:
            if moved:  # it has gone on since
                await proof.advance(common=True)
            proved = proof.so_far() if moved else await proof.finish()
        except Conflict as error:
            raise foreign(store) from error
        self.told.ended(proved, there_before=True)
        return proved

    async def _platform(self) -> Proved:
        """Its log and its tokens. The log that is there must be how this one begins."""
        proof = Proof(self.source, self.destination, PLATFORM)
        try:
            await proof.advance()
        except Conflict as error:
            raise foreign(PLATFORM) from error
        carrier = Carrier(self.source, self.destination, PLATFORM, 0, self.told.rows)
        await carrier.round(last=True)
        if self.hold.still:
            proved = await proof.finish()
        else:
            await proof.advance()
            proved = proof.so_far()
        self.told.ended(proved, there_before=False)
        return proved


def foreign(store: str) -> Conflict:
    return Conflict(
        "CD5026",
        f"The destination has rows of {shown(store)} already, and they are not those of the source.",
        remedy="Copy into a database that holds nothing of it; `--store` copies one store without the platform's rows.",
    )
