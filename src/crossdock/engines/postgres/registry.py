"""The registry on PostgreSQL: `stores.port.Registry`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import asyncpg

from crossdock.engines.postgres.lane_writes import lock_lanes
from crossdock.engines.postgres.pool import Pool, Record
from crossdock.engines.postgres.scope import PLATFORM_STORE
from crossdock.engines.postgres.writes import Homes, stores_of, write_audit, write_one
from crossdock.engines.refusals import refuse_shut
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
from crossdock.model.errors import Invalid
from crossdock.model.ids import ConnectionId, Instant, StoreId, TokenId
from crossdock.model.lane import Gate
from crossdock.stores.port import AddToken, Change, Changes, RevokeToken

CHANGES_MAX = 1_000  # audit entries that one look takes: a process that lagged catches up in bounded steps


class PostgresRegistry:
    """`cry` tells other processes which stores were changed: a hint, they poll `changes`.

    A change sees and writes the rows of the stores that it names and no others. The log's counter is the last lock that
    it takes, so that changes of different stores wait for each other as shortly as can be."""

    def __init__(self, pool: Pool, clock: Callable[[], Instant], cry: Callable[[frozenset[StoreId]], None]) -> None:
        self._pool = pool
        self._clock = clock
        self._cry = cry
        self._listeners: list[Callable[[Change], None]] = []

    async def commit(self, change: Change) -> None:
        """Invalid (CD3030) for a text that PostgreSQL has no form for: one with a NUL.

        Unavailable (CD5002, CD5023) may come although the change stands, when the database went away during the
        commit: then the listeners are not told, and `changes` is what names it."""
        now, homes = self._clock(), await self._homes(change)
        named = stores_of(change.writes, change.audit, homes)
        stores = frozenset(StoreId(store) for store in named if store != PLATFORM_STORE)
        scope = self._pool.writes_with_platform if PLATFORM_STORE in named else self._pool.writes
        try:
            async with scope(stores) as unit:
                await lock_lanes(unit, change.writes)
                rows = await unit.rows("see_gates", list(stores))
                refuse_shut({StoreId(row[0]): Gate(row[1]) for row in rows})
                for write in change.writes:
                    await write_one(unit, write, now, homes)
                await write_audit(unit, change.audit)
        except asyncpg.DataError:
            raise Invalid(
                "CD3030",
                "A value has a form that the database does not keep, such as a text with a NUL. Nothing was written.",
                remedy="Leave control characters out.",
            ) from None  # the driver's own message may quote the value
        for listener in self._listeners:
            listener(change)
        self._cry(stores)

    async def _homes(self, change: Change) -> Homes:
        """Where the tokens are that the change revokes. A token never moves."""
        asked = [write.token for write in change.writes if isinstance(write, RevokeToken)]
        if not asked:
            return {}
        async with self._pool.reads_across("tokens") as unit:
            homes = {TokenId(id): str(store) for id, store in await unit.rows("token_homes", asked)}
        new = (write.token for write in change.writes if isinstance(write, AddToken))
        return {token.id: token.store or PLATFORM_STORE for token in new} | homes

    async def _of(self, store: StoreId, name: str, *values: Any) -> list[Record]:
        async with self._pool.reads([store]) as unit:
            return await unit.rows(name, store, *values)

    async def _across(self, table: str, name: str, *values: Any) -> list[Record]:
        async with self._pool.reads_across(table) as unit:
            return await unit.rows(name, *values)

    async def stores(self, after: str = "", limit: int = 200) -> list[Store]:
        return [Store(*row) for row in await self._across("stores", "stores", after, limit)]

    async def store(self, store: StoreId) -> Store | None:
        return next((Store(*row) for row in await self._of(store, "store")), None)

    async def connections(self, store: StoreId) -> list[Connection]:
        return [connection_of(row) for row in await self._of(store, "connections")]

    async def connection(self, connection: ConnectionId) -> Connection | None:
        return next((connection_of(row) for row in await self._across("connections", "connection", connection)), None)

    async def revisions(self, store: StoreId, connection: ConnectionId) -> list[Revision]:
        return [revision_of(row) for row in await self._of(store, "revisions", connection)]

    async def revision(self, store: StoreId, connection: ConnectionId, number: int) -> Revision | None:
        return next((revision_of(row) for row in await self._of(store, "revision", connection, number)), None)

    async def credentials(self, store: StoreId, connection: ConnectionId) -> list[Credential]:
        return [credential_of(row) for row in await self._of(store, "credentials", connection)]

    async def core_endpoint(self, store: StoreId) -> CoreEndpoint | None:
        rows = await self._of(store, "core_endpoint")
        return next((CoreEndpoint(row[0], CoreMode(row[1]), *row[2:]) for row in rows), None)

    async def token(self, token: TokenId) -> Token | None:
        return next((token_of(row) for row in await self._across("tokens", "token", token)), None)

    async def tokens(self, store: StoreId | None = None) -> list[Token]:
        rows = await (self._across("tokens", "tokens") if store is None else self._of(store, "tokens_of_store"))
        return [token_of(row) for row in rows]

    async def audit(self, store: StoreId | None, after: int, limit: int) -> list[AuditEntry]:
        if store is None:
            return [audit_of(row) for row in await self._across("audit", "audit", after, limit)]
        return [audit_of(row) for row in await self._of(store, "audit_of_store", after, limit)]

    def on_change(self, listener: Callable[[Change], None]) -> None:
        self._listeners.append(listener)

    async def changes(self, after: int | None) -> Changes:
        """At most CHANGES_MAX entries of the log at once: `seq` says how far it looked, and the next call goes on."""
        async with self._pool.reads_across("audit") as unit:
            if after is None:
                ((end,),) = await unit.rows("audit_end")
                return Changes(end, frozenset(), platform=False)
            rows = await unit.rows("changed_since", after, CHANGES_MAX)
            # A database that was set back ends before `after`: what comes next must not be passed over.
            ((end,),) = await unit.rows("audit_end") if not rows else ((rows[-1][0],),)
        found = {str(row[1]) for row in rows}
        stores = frozenset(StoreId(store) for store in found if store != PLATFORM_STORE)
        return Changes(end, stores, platform=PLATFORM_STORE in found)


def connection_of(row: Record) -> Connection:
    id, store, contract, state, *rest = row
    return Connection(id, store, contract, ConnectionState(state), *rest)


def revision_of(row: Record) -> Revision:
    connection, store, number, version, config, author, at = row
    return Revision(connection, store, number, version, json.loads(config), author, at)


def credential_of(row: Record) -> Credential:
    store, connection, name, sealed, hosts, *rest = row
    return Credential(store, connection, name, sealed, tuple(json.loads(hosts)), *rest)


def token_of(row: Record) -> Token:
    id, digest, role, store, *rest = row
    return Token(id, digest, Role(role), None if store == PLATFORM_STORE else store, *rest)


def audit_of(row: Record) -> AuditEntry:
    seq, store, at, actor, action, what, outcome, correlation, detail = row
    home = None if store == PLATFORM_STORE else store
    return AuditEntry(at, actor, action, home, what, outcome, correlation, json.loads(detail), seq)
