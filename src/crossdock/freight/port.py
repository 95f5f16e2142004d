"""What a copy asks of the two databases that it goes between.

Rows are canonical: tuples in the order of `Table.columns`, equal on both engines where they mean the same. The store is
an argument and no column; PLATFORM ('') stands for the platform's own rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from crossdock.freight.tables import Key, Row, Table
from crossdock.model.connection import AuditEntry
from crossdock.model.ids import Position, StoreId
from crossdock.model.lane import Gate


@dataclass(frozen=True, slots=True)
class Journals:
    """A store's row in `journals`; `present` is False where there is none (an open gate, nothing kept)."""

    head: Position
    gate: Gate
    epoch: int
    present: bool = True


class Source(Protocol):
    async def stores(self) -> list[StoreId]:
        """Every store, by id."""
        ...

    async def rows(self, table: Table, store: str, after: Key | None, limit: int) -> list[Row]:
        """At most `limit` rows in the order of their keys, after that key. `after` may be a part of a key, from its
        start: then the rows whose key comes after everything that starts so. One snapshot a call."""
        ...

    async def last(self, table: Table, store: str, prefix: Key) -> int:
        """Of a table that grows: the last count under the prefix (a key of the parent), 0 for none."""
        ...

    async def journals(self, store: StoreId) -> Journals: ...


class Destination(Source, Protocol):
    async def begin(self, store: StoreId, epoch: int) -> None:
        """Shuts the store's journal here for the copy with that epoch. Conflict (CD5029) if a later copy has begun, or
        the store serves here at that epoch."""
        ...

    async def put(self, table: Table, store: str, rows: Sequence[Row], epoch: int) -> None:
        """Writes them, whole or not at all. Rows that are there already change, or stay if the table only grows.
        Conflict (CD5029) unless the journal is shut for that epoch."""
        ...

    async def drop(self, table: Table, store: str, keys: Sequence[Key], epoch: int) -> None:
        """Deletes them, where the journal is shut for that epoch."""
        ...

    async def arrive(self, store: StoreId, head: Position, epoch: int) -> None:
        """Everything is there: computes what the engine keeps for itself. The gate stays shut."""
        ...

    async def open(self, store: StoreId, epoch: int, record: AuditEntry | None = None) -> None:
        """Opens the gate that was shut for that epoch, with an entry in the store's log, so that every process there
        looks at the store anew. Nothing if it is open at that epoch; Conflict (CD5029) otherwise."""
        ...
