"""The journal on SQLite: `journal.port.Journal`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import apsw

from crossdock.engines.sqlite.readers import Readers
from crossdock.engines.sqlite.statements import Row, query, rows_of, run_many, write_many
from crossdock.engines.sqlite.writer import Writer
from crossdock.journal.port import ConflictRecord
from crossdock.model.entry import Appended, Conflicting, Draft, Duplicate, Entry, Kept, OtherKey
from crossdock.model.ids import START, EventId, Position, StoreId

Place = tuple[str, str, str]
First = tuple[bytes, Position, EventId, Any]


class SqliteJournal:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers
        self._listeners: list[Callable[[frozenset[StoreId]], None]] = []

    async def append(self, drafts: Sequence[Draft]) -> list[Appended]:
        return await self._writer.append(drafts, partial(self._tell, drafts))

    def _tell(self, drafts: Sequence[Draft], answers: Sequence[Appended]) -> None:
        news = frozenset(draft.store for draft, answer in zip(drafts, answers, strict=True) if isinstance(answer, Kept))
        if news:
            for listener in self._listeners:
                listener(news)

    async def read(self, store: StoreId, after: Position, limit: int) -> list[Entry]:
        return await self._readers.read(lambda connection: entries_after(connection, store, after, limit))

    async def entry(self, store: StoreId, position: Position) -> Entry | None:
        return await self._readers.read(lambda connection: entry_at(connection, store, position))

    async def find(self, store: StoreId, event_id: EventId) -> list[Entry]:
        def work(connection: apsw.Connection) -> list[Entry]:
            return [Entry(*row) for row in rows_of(connection, "entries_of_event", (store, event_id))]

        return await self._readers.read(work)

    async def head(self, store: StoreId) -> Position:
        return await self._readers.read(lambda connection: head_of(connection, store))

    async def heads(self) -> Mapping[StoreId, Position]:
        return await self._readers.read(lambda connection: dict(rows_of(connection, "heads", ())))

    async def subject_key(self, store: StoreId, ref: bytes) -> bytes | None:
        return await self._readers.read(lambda connection: standing_key(connection, store, ref))

    async def conflicts(self, store: StoreId, limit: int) -> list[ConflictRecord]:
        def work(connection: apsw.Connection) -> list[ConflictRecord]:
            return [ConflictRecord(*row) for row in rows_of(connection, "conflicts", (store, limit))]

        return await self._readers.read(work)

    def on_news(self, listener: Callable[[frozenset[StoreId]], None]) -> None:
        self._listeners.append(listener)


def head_of(connection: apsw.Connection, store: StoreId) -> Position:
    for (head,) in rows_of(connection, "head", (store,)):
        return Position(head)
    return START


def entry_at(connection: apsw.Connection, store: StoreId, position: Position) -> Entry | None:
    for row in rows_of(connection, "entry", (store, position)):
        return Entry(*row)
    return None


def entries_after(connection: apsw.Connection, store: StoreId, after: Position, limit: int) -> list[Entry]:
    return [Entry(*row) for row in rows_of(connection, "entries_after", (store, after, limit))]


def standing_key(connection: apsw.Connection, store: StoreId, ref: bytes) -> bytes | None:
    for (wrapped,) in rows_of(connection, "subject_key", (store, ref)):
        return bytes(wrapped)
    return None


def append_all(connection: apsw.Connection, drafts: Sequence[Draft]) -> list[Appended]:
    """Inside the writer's transaction: nobody else can add a key or a position meanwhile."""
    firsts = known_firsts(connection, drafts)
    heads: dict[StoreId, Position] = {}
    standing_heads: dict[StoreId, Position] = {}
    rows: list[Row] = []
    answers: list[Appended] = []
    for draft in drafts:
        place = (draft.store, draft.origin, draft.dedupe_key)
        first = firsts.get(place)
        answer = seen_before(connection, draft, first) if first else other_key(connection, draft)
        if answer is None:
            if draft.store not in heads:
                heads[draft.store] = standing_heads[draft.store] = head_of(connection, draft.store)
            position = heads[draft.store] = Position(heads[draft.store] + 1)
            firsts[place] = (draft.fingerprint, position, draft.event_id, draft.correlation_id)
            rows.append(row_of(draft, position))
            answer = Kept(position)
        answers.append(answer)
    write_many(connection, "add_entries", rows)
    moved = [(store, head) for store, head in heads.items() if head != standing_heads[store]]
    for store, head in moved:
        connection.execute(query("put_head"), (store, head))
    return answers


def known_firsts(connection: apsw.Connection, drafts: Sequence[Draft]) -> dict[Place, First]:
    asked: list[Row] = [(draft.store, draft.origin, draft.dedupe_key) for draft in drafts]
    return {(row[0], row[1], row[2]): row[3:] for row in run_many(connection, "firsts", asked)}  # type: ignore[misc]


def seen_before(connection: apsw.Connection, draft: Draft, first: First) -> Appended:
    fingerprint, position, event_id, correlation_id = first
    if fingerprint == draft.fingerprint:
        return Duplicate(position, event_id, correlation_id)
    record = (draft.store, draft.origin, position, event_id, draft.received_at)
    connection.execute(query("add_conflict"), record)
    return Conflicting(position, event_id)


def other_key(connection: apsw.Connection, draft: Draft) -> OtherKey | None:
    """Keeps the first key of a subject; None if the draft may be appended."""
    if draft.subject_ref is None or draft.subject_key is None:
        return None
    standing = standing_key(connection, draft.store, draft.subject_ref)
    if standing is None:
        connection.execute(query("add_subject_key"), (draft.store, draft.subject_ref, draft.subject_key))
        return None
    return None if standing == draft.subject_key else OtherKey(standing)


def row_of(draft: Draft, position: Position) -> Row:
    return (
        draft.store,
        position,
        draft.origin,
        draft.dedupe_key,
        draft.fingerprint,
        draft.event_id,
        draft.type,
        draft.schema_major,
        draft.source,
        draft.occurred_at,
        draft.received_at,
        draft.correlation_id,
        draft.body,
        draft.personal,
        draft.subject_ref,
        draft.traceparent,
        draft.caused_by,
        draft.hops,
    )
