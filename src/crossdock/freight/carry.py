"""Carrying one store's rows from a source to a destination, in portions, in rounds, and on from where it was.

While the store still serves, a round carries what only grows and what others lean on. When it stands still, the last
round carries the rest, so that the store rests only as long as that takes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from crossdock.freight.port import Destination, Source
from crossdock.freight.tables import BY_NAME, CONFLICTS, PLATFORM, TABLES, Key, Row, Table

PORTION_ROWS_MAX = 500
PORTION_BYTES = 4 * 1024 * 1024  # what a portion holds in memory, as soon as the size of the rows is known

Tell = Callable[[int], None]
"""Hears how many rows were carried, after each portion."""


async def portions(
    source: Source, table: Table, store: str, after: Key | None = None, until: Callable[[Row], bool] = lambda _: True
) -> AsyncIterator[list[Row]]:
    """The rows after a key, in order, as long as `until` says so."""
    limit = PORTION_ROWS_MAX
    while True:
        rows = await source.rows(table, store, after, limit)
        wanted = [row for row in rows if until(row)]
        if wanted:
            yield wanted
        if len(wanted) < limit or not table.key:
            return
        after = table.key_of(wanted[-1])
        limit = max(1, min(PORTION_ROWS_MAX, limit * PORTION_BYTES // max(1, weight(wanted))))


def weight(rows: Sequence[Row]) -> int:
    """About how many bytes they are."""
    return sum(len(value) if isinstance(value, str | bytes) else 8 for row in rows for value in row)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Of a table that grows: the rows under one key of its parent."""

    table: Table
    prefix: Key = ()

    def after(self, count: int) -> Key:
        return (*self.prefix, count)

    def within(self, last: int | None = None) -> Callable[[Row], bool]:
        """Whether a row belongs to the stretch and comes no later than `last`."""
        under = len(self.prefix)

        def holds(row: Row) -> bool:
            key = self.table.key_of(row)
            return key[:under] == self.prefix and (last is None or int(key[-1] or 0) <= last)

        return holds


async def stretches(source: Source, table: Table, store: str) -> list[Stretch]:
    if not table.parent:
        return [Stretch(table)]
    parent = BY_NAME[table.parent]
    found = [parent.key_of(row) async for rows in portions(source, parent, store) for row in rows]
    return [Stretch(table, key) for key in found]


def carried(store: str) -> list[Table]:
    return [table for table in TABLES if store != PLATFORM or table.platform]


@dataclass
class Carrier:
    """One store's way. `epoch` is that of the copy: the destination's journal is shut for it."""

    source: Source
    destination: Destination
    store: str
    epoch: int
    tell: Tell = field(default=lambda _: None)

    async def round(self, *, last: bool) -> int:
        """How many rows were written. With `last` the source stands still, and everything is carried."""
        tables = [table for table in carried(self.store) if last or table.early]
        bounds = {} if last else await self._bounds()
        written = 0
        for table in tables:
            written += await (self._grow(table, bounds) if table.grows else self._match(table))
        return written

    async def _bounds(self) -> dict[str, int]:
        """How far a round goes where a row names another one that is carried before it: read first, so that the other
        one is there."""
        if self.store == PLATFORM:
            return {}
        return {CONFLICTS.name: await self.source.last(CONFLICTS, self.store, ())}

    async def _grow(self, table: Table, bounds: dict[str, int]) -> int:
        written = 0
        for stretch in await stretches(self.source, table, self.store):
            there = await self.destination.last(table, self.store, stretch.prefix)
            within = stretch.within(bounds.get(table.name))
            async for rows in portions(self.source, table, self.store, stretch.after(there), within):
                await self.destination.put(table, self.store, rows, self.epoch)
                self.tell(len(rows))
                written += len(rows)
        return written

    async def _match(self, table: Table) -> int:
        """Makes the destination's rows those of the source: what is new or differs is put, what is gone is dropped."""
        written = 0
        gone = _Walk(self.destination, table, self.store)
        async for rows in portions(self.source, table, self.store):
            there = {table.key_of(row): row for row in await gone.up_to(table.key_of(rows[-1]))}
            news = [row for row in rows if not _same(table, row, there.pop(table.key_of(row), None))]
            await self.destination.drop(table, self.store, list(there), self.epoch)
            await self.destination.put(table, self.store, news, self.epoch)
            self.tell(len(news))
            written += len(news)
        left = [table.key_of(row) for row in await gone.up_to(None)]
        await self.destination.drop(table, self.store, left, self.epoch)
        return written


def _same(table: Table, row: Row, there: Row | None) -> bool:
    return there is not None and table.compared(row) == table.compared(there)


class _Walk:
    """The destination's rows beside those of the source, by key."""

    def __init__(self, place: Source, table: Table, store: str) -> None:
        self._rows = portions(place, table, store)
        self._table = table
        self._read: list[Row] = []
        self._ended = False

    async def up_to(self, key: Key | None) -> list[Row]:
        """Those that come next and not after the key; all that are left with None."""
        while not self._ended and (key is None or not self._read or self._table.key_of(self._read[-1]) <= key):
            try:
                self._read += await anext(self._rows)
            except StopAsyncIteration:
                self._ended = True
        found = [row for row in self._read if key is None or self._table.key_of(row) <= key]
        self._read = self._read[len(found) :]
        return found
