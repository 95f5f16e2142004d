"""Each registry write on PostgreSQL, in the change's transaction. What cannot be written raises and undoes the change.

A statement that fails would end the transaction: what may be there already is inserted ON CONFLICT DO NOTHING, and
the number of rows tells."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from crossdock.engines.postgres.lane_writes import LaneWrite, write_lane
from crossdock.engines.postgres.pool import Unit
from crossdock.engines.postgres.scope import PLATFORM_STORE
from crossdock.engines.refusals import check_version, moved, needed, taken
from crossdock.model.connection import AuditEntry, Connection, Store
from crossdock.model.ids import ConnectionId, Instant, StoreId, TokenId
from crossdock.stores.port import (
    AddConnection,
    AddRevision,
    AddStore,
    AddToken,
    DropCredential,
    MoveConnection,
    PutCoreEndpoint,
    PutCredential,
    RevokeToken,
    SetWeight,
    Write,
)

Row = tuple[Any, ...]
Homes = Mapping[TokenId, str]
"""The store of each token that is to be revoked, '' for the platform's own."""


def touched(write: Write, homes: Homes) -> set[str]:
    """The store that a write touches; '' for the platform's own rows."""
    match write:
        case AddStore(store):
            return {store.id}
        case SetWeight(store_id):
            return {store_id}
        case AddToken(token):
            return {token.store or PLATFORM_STORE}
        case RevokeToken(id):
            return {homes[id]} if id in homes else set()
        case AddConnection(one) | MoveConnection(one, _) | AddRevision(one) | PutCredential(one, _):
            return {one.store}
        case PutCoreEndpoint(endpoint, _):
            return {endpoint.store}
        case DropCredential(store_id):
            return {store_id}
        case _:
            return {write.lane.store}


async def write_one(unit: Unit, write: Write, now: Instant, homes: Homes) -> None:
    if isinstance(write, LaneWrite):
        await write_lane(unit, write, now)
        return
    match write:
        case AddToken() | RevokeToken():
            await write_token(unit, write, homes)
        case AddStore(store):
            await add_store(unit, store)
        case SetWeight(store_id, weight):
            needed(bool(await unit.run("set_weight", store_id, weight)), f"store {store_id}")
        case PutCoreEndpoint():
            await put_core_endpoint(unit, write)
        case _:
            await write_object(unit, write)


async def write_audit(unit: Unit, entries: Sequence[AuditEntry]) -> None:
    """Takes the lock that all changes of the installation share: the last thing before the commit."""
    ((last,),) = await unit.rows("take_audit_seqs", len(entries))
    rows = [audit_row(entry) for entry in entries]
    await unit.run("add_audit", last, *(list(column) for column in zip(*rows, strict=True)))


def audit_row(one: AuditEntry) -> Row:
    told = (one.at, one.actor, one.action, one.object, one.outcome, one.correlation_id)
    return (one.store or PLATFORM_STORE, *told, json.dumps(one.detail))


async def need_store(unit: Unit, store: StoreId) -> None:
    needed(bool(await unit.rows("store", store)), f"store {store}")


async def need_connection(unit: Unit, store: StoreId, id: ConnectionId) -> None:
    needed(bool(await unit.rows("connection_of_store", store, id)), f"connection {id}")


async def write_token(unit: Unit, write: AddToken | RevokeToken, homes: Homes) -> None:
    if isinstance(write, RevokeToken):
        home = homes.get(write.token)
        if home is None or not await unit.run("revoke_token", home, write.token, write.at):
            raise moved(f"The token {write.token}")
        return
    token = write.token
    if token.store is not None:
        await need_store(unit, token.store)
    row = (token.id, token.digest, token.role, token.store or PLATFORM_STORE, token.label)
    if not await unit.run("add_token", *row, token.created_at, token.expires_at, token.revoked_at):
        raise moved(f"The token {token.id}")


Connected = AddConnection | MoveConnection | AddRevision | PutCredential | DropCredential


async def write_object(unit: Unit, write: Connected) -> None:
    match write:
        case AddConnection() | MoveConnection():
            await write_connection(unit, write)
        case AddRevision():
            await add_revision(unit, write)
        case PutCredential():
            await put_credential(unit, write)
        case DropCredential(store, connection, name):
            if not await unit.run("drop_credential", store, connection, name):
                raise moved(f"The credential {name} of {connection}")


async def write_connection(unit: Unit, write: AddConnection | MoveConnection) -> None:
    one = write.connection
    if isinstance(write, AddConnection):
        await need_store(unit, one.store)
        done = await unit.run("add_connection", *connection_row(one))
    else:
        check_version("connection", one.version, write.expected)
        done = await unit.run("move_connection", *connection_row(one), write.expected)
    if not done:
        raise moved(f"The connection {one.id}")


async def add_store(unit: Unit, store: Store) -> None:
    """With the row of its journal, so that the first append finds it."""
    if not await unit.run("add_store", store.id, store.name, store.created_at, store.sealed_key):
        raise taken(store.id)
    await unit.run("add_journals", [store.id])


def connection_row(one: Connection) -> Row:
    row = (one.id, one.store, one.contract, one.state, one.revision, one.label)
    return (*row, one.created_at, one.reason, one.version)


async def add_revision(unit: Unit, write: AddRevision) -> None:
    one = write.revision
    await need_connection(unit, one.store, one.connection)
    row = (one.connection, one.store, one.number, one.contract_version, json.dumps(one.config), one.author, one.at)
    if not await unit.run("add_revision", *row):
        raise moved(f"Revision {one.number} of {one.connection}")


async def put_credential(unit: Unit, write: PutCredential) -> None:
    one = write.credential
    await need_connection(unit, one.store, one.connection)
    check_version("credential", one.version, write.expected)
    row: Row = (one.store, one.connection, one.name, one.sealed, json.dumps(one.hosts), one.version, one.at)
    if not await _put(unit, "credential", (*row, one.previous, one.previous_until), write.expected):
        raise moved(f"The credential {one.name} of {one.connection}")


async def put_core_endpoint(unit: Unit, write: PutCoreEndpoint) -> None:
    one = write.endpoint
    await need_store(unit, one.store)
    check_version("core endpoint", one.version, write.expected)
    row: Row = (one.store, one.mode, one.url, one.sealed_secret, one.version)
    if not await _put(unit, "core_endpoint", row, write.expected):
        raise moved(f"The core endpoint of {one.store}")


async def _put(unit: Unit, what: str, row: Row, expected: int) -> bool:
    """A first row where none is expected, else one in the place of the expected version; whether it was written."""
    if expected:
        return bool(await unit.run(f"move_{what}", *row, expected))
    return bool(await unit.run(f"add_{what}", *row))


def stores_of(writes: Iterable[Write], audit: Iterable[AuditEntry], homes: Homes) -> set[str]:
    """Every store that a change touches; '' among them if it touches the platform's own rows."""
    named = {entry.store or PLATFORM_STORE for entry in audit}
    return named.union(*(touched(write, homes) for write in writes))
