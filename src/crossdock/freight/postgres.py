"""A PostgreSQL database as the source or the destination of a copy, as the runtime role: row security binds it too.

What a copy writes is fenced: its epoch stands in the store's `journals` row, whose gate is shut, and every portion
holds that row while it is written. So a copy that was given up cannot write once a later one has begun or the store
serves.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import asyncpg

from crossdock.engines.postgres.pool import QUERIES, Pool, Transaction, Unit
from crossdock.engines.postgres.writes import write_audit
from crossdock.engines.sql import queries
from crossdock.freight.port import Journals
from crossdock.freight.statements import reads, writes, written
from crossdock.freight.tables import AUDIT, LANES, PLATFORM, TABLES, Key, Row, Table, shown
from crossdock.journal.slots import slot_of
from crossdock.model.connection import AuditEntry
from crossdock.model.errors import Conflict, Invalid
from crossdock.model.ids import START, ConnectionId, Position, StoreId
from crossdock.model.lane import Gate

NAMED: Mapping[str, str] = {**QUERIES, **reads(), **writes(), **queries("crossdock.freight", "queries")}
CONNECTIONS_MAX = 3


def freight_pool(url: str) -> Pool:
    """Not opened yet."""
    return Pool(url, CONNECTIONS_MAX, NAMED)


class PostgresPlace:
    """`freight.port.Destination` over a pool of `freight_pool`.

    `keeps_numbers`: audit entries keep their numbers in the installation's log, for a database whose log is empty; else
    they are numbered on."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.keeps_numbers = False

    async def stores(self) -> list[StoreId]:
        async with self._pool.reads_across("stores") as unit:
            return [StoreId(row[0]) for row in await unit.rows("every_store")]

    async def rows(self, table: Table, store: str, after: Key | None, limit: int) -> list[Row]:
        if after is not None and not table.key:
            return []
        async with self._reads(store) as unit:
            if after is None:
                found = await unit.rows(f"first_{table.name}", store, limit)
            else:
                found = await unit.rows(f"after_{table.name}", store, *after, limit)
        return [tuple(row) for row in found]

    async def last(self, table: Table, store: str, prefix: Key) -> int:
        async with self._reads(store) as unit:
            found = await unit.rows(f"last_{table.name}", store, *prefix)
        return int(found[0][0]) if found else 0

    async def journals(self, store: StoreId) -> Journals:
        async with self._pool.reads([store]) as unit:
            for head, gate, epoch in await unit.rows("journals_row", store):
                return Journals(Position(head), Gate(gate), epoch)
        return Journals(START, Gate.OPEN, 0, present=False)

    async def begin(self, store: StoreId, epoch: int) -> None:
        async with self._pool.writes([store]) as unit:
            if not await unit.rows("begin", store, epoch):
                raise overtaken(store)

    async def put(self, table: Table, store: str, rows: Sequence[Row], epoch: int) -> None:
        if not rows:
            return
        try:
            async with self._writes(store) as unit:
                await self._hold(unit, store, epoch)
                await self._put(unit, table, store, rows)
        except asyncpg.IntegrityConstraintViolationError as error:
            raise Conflict(
                "CD5026",
                f"The destination has other rows in {table.name} that stand where those of {shown(store)} belong.",
                where=str(error.constraint_name or ""),
                remedy="Copy into a database that holds nothing else of it.",
            ) from None  # the driver's own message quotes the values
        except asyncpg.DataError:
            raise Invalid(
                "CD5026",
                f"A row of {shown(store)} in {table.name} has a form that PostgreSQL does not keep, such as a NUL.",
                where=f"from {table.key_of(rows[0])} to {table.key_of(rows[-1])}",
                remedy="Set the value right at the source.",
            ) from None

    async def _put(self, unit: Unit, table: Table, store: str, rows: Sequence[Row]) -> None:
        if table is LANES:
            rows = [arriving_lane(StoreId(store), row) for row in rows]
        if table is AUDIT and not self.keeps_numbers:
            ((first,),) = await unit.rows("take_numbers", len(rows))
            rows = [(row[0], first + at, *row[2:]) for at, row in enumerate(rows, 1)]
        await unit.run(f"put_{table.name}", store, *arrays(rows, len(written(table))))

    async def drop(self, table: Table, store: str, keys: Sequence[Key], epoch: int) -> None:
        """Never of a table that grows."""
        if not keys:
            return
        async with self._writes(store) as unit:
            await self._hold(unit, store, epoch)
            await unit.run(f"drop_{table.name}", store, *arrays(keys, len(table.key)))

    async def arrive(self, store: StoreId, head: Position, epoch: int) -> None:
        async with self._pool.writes([store]) as unit:
            await self._hold(unit, store, epoch)
            await unit.run("arrive_journal", store, head)
            await unit.run("arrive_lanes", store)

    async def open(self, store: StoreId, epoch: int, record: AuditEntry | None = None) -> None:
        async with self._pool.writes([store]) as unit:
            was = await unit.rows("journals_row", store)
            if not await unit.rows("open_gate", store, epoch):
                raise overtaken(store)
            if record is not None and was[0][1] != Gate.OPEN:
                await write_audit(unit, [record])
            await unit.rows("cry_open", json.dumps([store]))

    async def gate(self, store: StoreId, state: Gate, epoch: int) -> None:
        """At a source: closes the gate for a move with that epoch. When it returns, nothing that found the gate more
        open is under way. Conflict (CD5029) if a later move has begun."""
        async with self._pool.writes([store]) as unit:
            if not await unit.rows("close_gate", store, state, epoch):
                raise overtaken(store)
        async with self._pool.writes([store]) as unit:
            await unit.rows("await_turns", store)
            await unit.rows("await_changes", store)

    async def reopen(self, store: StoreId, epoch: int) -> None:
        """At a source: the store serves here again, from that epoch on. Nothing if a later move has closed it."""
        async with self._pool.writes([store]) as unit:
            if await unit.rows("reopen_gate", store, epoch):
                await unit.rows("cry_open", json.dumps([store]))

    async def forget(self, store: StoreId, epoch: int) -> int:
        """Deletes a store's rows where its journal is shut, in portions; how many. Its row in `journals` stays, shut,
        so that nothing begins there by mistake. Conflict (CD5029) if the gate is not shut for that epoch."""
        gone = 0
        for table in reversed(TABLES):
            if table.stays:
                continue
            while True:
                async with self._pool.writes([store]) as unit:
                    await self._hold(unit, store, epoch)
                    some = await unit.run(f"forget_{table.name}", store)
                gone += some
                if not some:
                    break
        return gone

    async def log_end(self) -> tuple[int, int]:
        """The counter of the installation's log, and the highest number in it: the counter is 0 where nobody has
        changed anything yet, and a copy that keeps the numbers is under way."""
        async with self._pool.reads_across("audit") as unit:
            ((counter, highest),) = await unit.rows("log_end")
        return counter, highest

    async def number_on(self) -> None:
        """The installation's log goes on after the highest number that is in it."""
        _, highest = await self.log_end()
        async with self._pool.writes_with_platform(()) as unit:
            await unit.run("number_on", highest)

    async def _hold(self, unit: Unit, store: str, epoch: int) -> None:
        if store != PLATFORM and not await unit.rows("hold_journal", store, epoch):
            raise overtaken(StoreId(store))

    def _reads(self, store: str) -> Transaction:
        return self._pool.reads([StoreId(store)]) if store else self._pool.reads_of_platform()

    def _writes(self, store: str) -> Transaction:
        return self._pool.writes([StoreId(store)]) if store else self._pool.writes_with_platform(())


def overtaken(store: StoreId) -> Conflict:
    return Conflict(
        "CD5029",
        f"The store {store} serves here, or a later copy of it has begun. Nothing more was written.",
        remedy="See where the store is; begin again if it is not where it should be.",
    )


def arriving_lane(store: StoreId, row: Row) -> Row:
    """With its slot, and at the next epoch: a turn that began where the lane was before settles nothing here."""
    names = LANES.names
    at = names.index("epoch")
    epoch = row[at]
    slot = slot_of(store, ConnectionId(str(row[names.index("connection_id")])))
    return (*row[:at], int(epoch or 0) + 1, *row[at + 1 :], slot)


def arrays(rows: Iterable[Sequence[Any]], width: int) -> list[tuple[Any, ...]]:
    return list(zip(*rows, strict=True)) or [()] * width
