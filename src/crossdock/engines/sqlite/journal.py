"""The journal on SQLite: `journal.port.Journal`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import apsw

from crossdock.engines.rows import KnownKeys, entry_row
from crossdock.engines.sqlite.readers import Readers
from crossdock.engines.sqlite.statements import Row, query, rows_of, run_many, write_many
from crossdock.engines.sqlite.writer import Writer
from crossdock.journal.books import moving
from crossdock.journal.port import ConflictRecord, Moved
from crossdock.model.entry import Appended, Conflicting, Draft, Duplicate, Entry, Kept, OtherKey
from crossdock.model.ids import START, EventId, Position, StoreId
from crossdock.model.lane import Gate

Place = tuple[str, str, str]
First = tuple[bytes, Position, EventId, Any]


class SqliteJournal:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers
        self._listeners: list[Callable[[frozenset[StoreId]], None]] = []
        self._known = KnownKeys()

    async def append(self, drafts: Sequence[Draft]) -> list[Appended]:
        return await self._writer.append(drafts, partial(self._tell, drafts))

    def _tell(self, drafts: Sequence[Draft], answers: Sequence[Appended]) -> None:
        for draft, answer in zip(drafts, answers, strict=True):
            self._known.learn(draft, answer)
        self._news({draft.store for draft, answer in zip(drafts, answers, strict=True) if isinstance(answer, Kept)})

    def _news(self, stores: Collection[StoreId]) -> None:
        if stores:
            for listener in self._listeners:
                listener(frozenset(stores))

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

    async def moved(self, mark: int | None) -> Moved:
        return await self._readers.read(lambda connection: moved_since(connection, mark))

    async def gate(self, store: StoreId, state: Gate, epoch: int | None = None) -> None:
        def work(connection: apsw.Connection) -> None:
            connection.execute(query("put_gate"), (store, state, epoch))

        await self._writer.do(work, lambda _: self._news((store,) if state is Gate.OPEN else ()))

    def known_subject_key(self, store: StoreId, ref: bytes) -> bytes | None:
        return self._known.get(store, ref)

    async def subject_key(self, store: StoreId, ref: bytes) -> bytes | None:
        known = self._known.get(store, ref)
        if known is None:
            known = await self._readers.read(lambda connection: standing_key(connection, store, ref))
            if known is not None:
                self._known.remember(store, ref, known)
        return known

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


def head_and_gate(connection: apsw.Connection, store: StoreId) -> tuple[Position, Gate]:
    for head, gate in rows_of(connection, "head_and_gate", (store,)):
        return Position(head), Gate(gate)
    return START, Gate.OPEN


def moved_since(connection: apsw.Connection, mark: int | None) -> Moved:
    """Marks are the seconds of `moved_at`, which never go back: who asks from the last one again misses none."""
    ((last,),) = rows_of(connection, "last_moved", ())
    if mark is None:
        return Moved({}, last, whole=False)
    return Moved(dict(rows_of(connection, "moved_since", (mark,))), last, whole=True)


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
    """Inside the writer's transaction: nobody else can add a key or a position meanwhile. Unavailable (CD5024) if one
    of the stores is moving."""
    standing_heads = heads_of(connection, dict.fromkeys(draft.store for draft in drafts))
    firsts = known_firsts(connection, drafts)
    subjects = Subjects(connection, drafts)
    heads = dict(standing_heads)
    rows: list[Row] = []
    answers: list[Appended] = []
    for draft in drafts:
        place = (draft.store, draft.origin, draft.dedupe_key)
        first = firsts.get(place)
        answer = seen_before(connection, draft, first) if first else subjects.other_key(draft)
        if answer is None:
            position = heads[draft.store] = Position(heads[draft.store] + 1)
            firsts[place] = (draft.fingerprint, position, draft.event_id, draft.correlation_id)
            rows.append(entry_row(draft, position))
            answer = Kept(position)
        answers.append(answer)
    subjects.write(connection)
    write_many(connection, "add_entries", rows)
    moved = [(store, head) for store, head in heads.items() if head != standing_heads[store]]
    for store, head in moved:
        connection.execute(query("put_head"), (store, head))
    return answers


def heads_of(connection: apsw.Connection, stores: Collection[StoreId]) -> dict[StoreId, Position]:
    heads: dict[StoreId, Position] = {}
    for store in stores:
        heads[store], gate = head_and_gate(connection, store)
        if gate is not Gate.OPEN:
            raise moving(store)
    return heads


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


class Subjects:
    """The keys of the people in one group of drafts: read together, the new ones written together."""

    def __init__(self, connection: apsw.Connection, drafts: Sequence[Draft]) -> None:
        asked: list[Row] = [
            (store, ref)
            for store, ref in dict.fromkeys((one.store, one.subject_ref) for one in drafts)
            if ref is not None
        ]
        found = run_many(connection, "subject_keys", asked)
        self._standing: dict[Row, bytes] = {(row[0], row[1]): bytes(row[2]) for row in found}  # type: ignore[arg-type]
        self._new: list[Row] = []

    def other_key(self, draft: Draft) -> OtherKey | None:
        """Keeps the first key of a subject; None if the draft may be appended."""
        if draft.subject_ref is None or draft.subject_key is None:
            return None
        standing = self._standing.get((draft.store, draft.subject_ref))
        if standing is None:
            self._standing[draft.store, draft.subject_ref] = draft.subject_key
            self._new.append((draft.store, draft.subject_ref, draft.subject_key))
            return None
        return None if standing == draft.subject_key else OtherKey(standing)

    def write(self, connection: apsw.Connection) -> None:
        write_many(connection, "add_subject_keys", self._new)
