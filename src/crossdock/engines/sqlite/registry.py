"""The registry on SQLite: `stores.port.Registry`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import apsw

from crossdock.engines.refusals import refuse_shut, stores_of_change
from crossdock.engines.sqlite.journal import head_and_gate
from crossdock.engines.sqlite.readers import Readers
from crossdock.engines.sqlite.statements import Row, query, rows_of
from crossdock.engines.sqlite.writer import Writer
from crossdock.engines.sqlite.writes import write_audit, write_one
from crossdock.model.connection import (
    AuditEntry,
    Connection,
    ConnectionState,
    CoreEndpoint,
    CoreMode,
    Credential,
    Revision,
    Role,
    Store,
    Token,
)
from crossdock.model.ids import ConnectionId, Instant, StoreId, TokenId
from crossdock.stores.port import Change, Changes, RevokeToken


class SqliteRegistry:
    def __init__(self, writer: Writer, readers: Readers, clock: Callable[[], Instant]) -> None:
        self._writer = writer
        self._readers = readers
        self._clock = clock
        self._listeners: list[Callable[[Change], None]] = []

    async def commit(self, change: Change) -> None:
        now = self._clock()

        def work(connection: apsw.Connection) -> None:
            refuse_shut(
                {store: head_and_gate(connection, store)[1] for store in sorted(stores_named(connection, change))}
            )
            for write in change.writes:
                write_one(connection, write, now)
            for entry in change.audit:
                write_audit(connection, entry)

        await self._writer.do(work, lambda _: self._tell(change))

    def _tell(self, change: Change) -> None:
        for listener in self._listeners:
            listener(change)

    async def _rows(self, name: str, *values: Any) -> list[tuple[Any, ...]]:
        return await self._readers.read(lambda connection: connection.execute(query(name), values).fetchall())

    async def stores(self, after: str = "", limit: int = 200) -> list[Store]:
        return [Store(*row) for row in await self._rows("stores", after, limit)]

    async def store(self, store: StoreId) -> Store | None:
        return next((Store(*row) for row in await self._rows("store", store)), None)

    async def connections(self, store: StoreId) -> list[Connection]:
        return [connection_of(row) for row in await self._rows("connections", store)]

    async def connection(self, connection: ConnectionId) -> Connection | None:
        return next((connection_of(row) for row in await self._rows("connection", connection)), None)

    async def revisions(self, store: StoreId, connection: ConnectionId) -> list[Revision]:
        return [revision_of(row) for row in await self._rows("revisions", store, connection)]

    async def revision(self, store: StoreId, connection: ConnectionId, number: int) -> Revision | None:
        return next((revision_of(row) for row in await self._rows("revision", store, connection, number)), None)

    async def credentials(self, store: StoreId, connection: ConnectionId) -> list[Credential]:
        return [credential_of(row) for row in await self._rows("credentials", store, connection)]

    async def core_endpoint(self, store: StoreId) -> CoreEndpoint | None:
        rows = await self._rows("core_endpoint", store)
        return next((CoreEndpoint(row[0], CoreMode(row[1]), *row[2:]) for row in rows), None)

    async def token(self, token: TokenId) -> Token | None:
        return next((token_of(row) for row in await self._rows("token", token)), None)

    async def tokens(self, store: StoreId | None = None) -> list[Token]:
        return [token_of(row) for row in await self._rows("tokens", store)]

    async def audit(self, store: StoreId | None, after: int, limit: int) -> list[AuditEntry]:
        if store is None:
            return [audit_of(row) for row in await self._rows("audit", after, limit)]
        return [audit_of(row) for row in await self._rows("audit_of_store", store, after, limit)]

    def on_change(self, listener: Callable[[Change], None]) -> None:
        self._listeners.append(listener)

    async def changes(self, after: int | None) -> Changes:
        def work(connection: apsw.Connection) -> Changes:
            ((seq,),) = rows_of(connection, "audit_end", ())
            found = {row[0] for row in rows_of(connection, "changed_since", (seq if after is None else after,))}
            return Changes(seq, frozenset(found - {None}), platform=None in found)

        return await self._readers.read(work)


def stores_named(connection: apsw.Connection, change: Change) -> set[StoreId]:
    revoked = [write.token for write in change.writes if isinstance(write, RevokeToken)]
    homes = [token_of(row).store for one in revoked for row in rows_of(connection, "token", (one,))]
    return stores_of_change(change) | {store for store in homes if store is not None}


def connection_of(row: tuple[Any, ...]) -> Connection:
    id, store, contract, state, *rest = row
    return Connection(id, store, contract, ConnectionState(state), *rest)


def revision_of(row: tuple[Any, ...]) -> Revision:
    connection, store, number, version, config, author, at = row
    return Revision(connection, store, number, version, json.loads(config), author, at)


def credential_of(row: tuple[Any, ...]) -> Credential:
    store, connection, name, sealed, hosts, *rest = row
    return Credential(store, connection, name, sealed, tuple(json.loads(hosts)), *rest)


def token_of(row: tuple[Any, ...]) -> Token:
    return Token(row[0], row[1], Role(row[2]), *row[3:])


def audit_of(row: Row) -> AuditEntry:
    seq, store, at, actor, action, what, outcome, correlation, detail = row
    values: Any = (at, actor, action, store, what, outcome, correlation, json.loads(str(detail)), seq)
    return AuditEntry(*values)
