"""What a store's rows are, in one list: every table that holds a store's data, with its columns as both engines know
them. A test compares the list with both schemas, so that no later table or column can be left behind.

`store_id` is the first column of every key and is not listed. What an engine keeps only for itself (a lane's slot, the
number of its unresolved rows, when a journal last moved) is not freight: it is computed on arrival.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

Value: TypeAlias = "None | bool | int | str | bytes"
Row: TypeAlias = "tuple[Value, ...]"
Key: TypeAlias = "tuple[Value, ...]"

PLATFORM = ""
"""What stands in the place of a store for the platform's own tokens and audit entries."""


class Kind(StrEnum):
    """A column's type, in PostgreSQL's words. SQLite keeps a boolean as 0 or 1."""

    TEXT = "text"
    WHOLE = "bigint"
    SMALL = "integer"
    BYTES = "bytea"
    FLAG = "boolean"


@dataclass(frozen=True, slots=True)
class Column:
    """`own`: the destination gives it a value of its own, so that it is not compared."""

    name: str
    kind: Kind
    own: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """`key` are the columns of the primary key after the store, by which rows are read in order.

    `grows`: rows are only added, the last column of the key counts them, and none ever changes: so a copy goes on after
    the last that is there. `parent` is the table whose keys the count is kept by, '' for the store itself.
    `early`: copied while the store still serves; the others, which change with every turn, when it stands still.
    `stays`: the record of what was done in a database, which stays there when the store has left."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    grows: bool = False
    parent: str = ""
    early: bool = False
    platform: bool = False
    stays: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def key_of(self, row: Row) -> Key:
        return tuple(row[self.names.index(name)] for name in self.key)

    def compared(self, row: Row) -> Row:
        return tuple(value for value, column in zip(row, self.columns, strict=True) if not column.own)


def _columns(listed: str, own: str = "") -> tuple[Column, ...]:
    """From `name type, name type`."""
    pairs = [one.split() for one in listed.split(",")]
    return tuple(Column(name, Kind(kind), name == own) for name, kind in pairs)


STORES = Table("stores", _columns("name text, created_at bigint, sealed_key bytea, weight integer"), key=(), early=True)
CONNECTIONS = Table(
    "connections",
    _columns(
        "connection_id text, contract text, state text, revision integer, label text, created_at bigint, reason text,"
        "version bigint"
    ),
    key=("connection_id",),
    early=True,
)
REVISIONS = Table(
    "revisions",
    _columns("connection_id text, number integer, contract_version text, config text, author text, at bigint"),
    key=("connection_id", "number"),
    grows=True,
    parent="connections",
    early=True,
)
CREDENTIALS = Table(
    "credentials",
    _columns(
        "connection_id text, name text, sealed bytea, hosts text, version bigint, at bigint, previous bytea,"
        "previous_until bigint"
    ),
    key=("connection_id", "name"),
)
CORE_ENDPOINTS = Table("core_endpoints", _columns("mode text, url text, sealed_secret bytea, version bigint"), key=())
TOKENS = Table(
    "tokens",
    _columns(
        "token_id text, digest bytea, role text, label text, created_at bigint, expires_at bigint, revoked_at bigint"
    ),
    key=("token_id",),
    platform=True,
)
SUBJECT_KEYS = Table("subject_keys", _columns("subject_ref bytea, wrapped bytea"), key=("subject_ref",), early=True)
ENTRIES = Table(
    "entries",
    _columns(
        "position bigint, origin text, dedupe_key text, fingerprint bytea, event_id text, type text,"
        "schema_major integer, source text, occurred_at bigint, received_at bigint, correlation_id text, body bytea,"
        "personal bytea, subject_ref bytea, traceparent text, caused_by text, hops integer"
    ),
    key=("position",),
    grows=True,
    early=True,
)
CONFLICTS = Table(
    "conflicts",
    _columns("seq bigint, origin text, position bigint, event_id text, at bigint"),
    key=("seq",),
    grows=True,
    early=True,
)
LANES = Table(
    "lanes",
    _columns(
        "connection_id text, route text, start bigint, cursor bigint, open boolean, closed_head bigint,"
        "delivered bigint, superseded bigint, filtered bigint, expired bigint, erased bigint, replayed bigint,"
        "skips text, epoch bigint, attempts bigint",
        own="epoch",
    ),
    key=("connection_id", "route"),
)
HELD = Table(
    "held",
    _columns(
        "connection_id text, route text, position bigint, state text, not_before bigint, attempts integer, key text,"
        "reason text, held_at bigint, replay boolean"
    ),
    key=("connection_id", "route", "position"),
)
ATTEMPTS = Table(
    "attempts",
    _columns(
        "connection_id text, route text, seq bigint, position bigint, event_id text, number integer, at bigint,"
        "kind text, code text, took_ms bigint, status integer, retry_after_ms bigint, next text, correlation_id text,"
        "not_before bigint"
    ),
    key=("connection_id", "route", "seq"),
    grows=True,
    parent="lanes",
    early=True,
)
AUDIT = Table(
    "audit",
    _columns(
        "store_seq bigint, seq bigint, at bigint, actor text, action text, object text, outcome text,"
        "correlation_id text, detail text, leaf bytea",
        own="seq",
    ),
    key=("store_seq",),
    grows=True,
    early=True,
    platform=True,
    stays=True,
)

TABLES = (
    STORES,
    CONNECTIONS,
    REVISIONS,
    CREDENTIALS,
    CORE_ENDPOINTS,
    TOKENS,
    SUBJECT_KEYS,
    ENTRIES,
    CONFLICTS,
    LANES,
    HELD,
    ATTEMPTS,
    AUDIT,
)
"""In an order in which no row comes before one that it names. `journals` is carried apart: its row is the gate."""

BY_NAME = {table.name: table for table in TABLES}


def shown(store: str) -> str:
    return f"the store {store}" if store else "the platform"
