"""A SQLite file as the source of a copy. It is read beside the process that owns it: WAL readers disturb nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import apsw

from crossdock.engines.sqlite.database import open_reader
from crossdock.freight.port import Journals
from crossdock.freight.statements import of_sqlite, reads
from crossdock.freight.tables import AUDIT, PLATFORM, Key, Kind, Row, Table, Value
from crossdock.model.errors import Unavailable
from crossdock.model.ids import START, Position, StoreId
from crossdock.model.lane import Gate

T = TypeVar("T")

READS = {name: of_sqlite(statement) for name, statement in reads().items()}

# The file numbers the logs of stores; the entries of the platform's own log stand in the whole log alone.
PLATFORM_LOG = """
SELECT place, seq, at, actor, action, object, outcome, correlation_id, detail, leaf
FROM (SELECT *, row_number() OVER (ORDER BY seq) AS place FROM audit WHERE store_id IS NULL)
WHERE place > ? ORDER BY place LIMIT ?
"""
PLATFORM_LOG_LAST = "SELECT count(*) FROM audit WHERE store_id IS NULL"


class SqliteSource:
    """`freight.port.Source` on the file at `path`, which must have this release's migrations."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: apsw.Connection | None = None
        self._turn = asyncio.Lock()

    async def close(self) -> None:
        if self._connection is not None:
            await asyncio.to_thread(self._connection.close)
            self._connection = None

    async def stores(self) -> list[StoreId]:
        return [StoreId(str(row[0])) for row in await self._ask("SELECT store_id FROM stores ORDER BY store_id")]

    async def rows(self, table: Table, store: str, after: Key | None, limit: int) -> list[Row]:
        if table is AUDIT and store == PLATFORM:
            found = await self._ask(PLATFORM_LOG, after[0] if after else 0, limit)
        elif after is None:
            found = await self._ask(READS[f"first_{table.name}"], store or None, limit)
        elif not table.key:
            return []
        else:
            found = await self._ask(READS[f"after_{table.name}"], store or None, *after, limit)
        flags = [at for at, column in enumerate(table.columns) if column.kind is Kind.FLAG]
        return [flagged(row, flags) for row in found]

    async def last(self, table: Table, store: str, prefix: Key) -> int:
        if table is AUDIT and store == PLATFORM:
            found = await self._ask(PLATFORM_LOG_LAST)
        else:
            found = await self._ask(READS[f"last_{table.name}"], store or None, *prefix)
        return int(found[0][0]) if found else 0

    async def journals(self, store: StoreId) -> Journals:
        for head, gate, epoch in await self._ask("SELECT head, gate, epoch FROM journals WHERE store_id = ?", store):
            return Journals(Position(head), Gate(gate), epoch)
        return Journals(START, Gate.OPEN, 0, present=False)

    async def _ask(self, statement: str, *values: Value) -> list[tuple[Any, ...]]:
        return await self._do(lambda connection: connection.execute(statement, values).fetchall())

    async def _do(self, work: Callable[[apsw.Connection], T]) -> T:
        async with self._turn:
            try:
                if self._connection is None:
                    self._connection = await asyncio.to_thread(open_reader, self._path)
                return await asyncio.to_thread(work, self._connection)
            except apsw.Error as error:
                raise Unavailable("CD5009", f"The database file could not be read ({error}).") from error


def flagged(row: Row, flags: Sequence[int]) -> Row:
    return tuple(bool(value) if at in flags else value for at, value in enumerate(row)) if flags else row
