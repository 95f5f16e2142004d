"""Each registry write on SQLite, in the writer's transaction. What cannot be written raises and undoes the change."""

from __future__ import annotations

import json
from dataclasses import replace

import apsw

from crossdock.engines.refusals import check_version, moved, needed, taken, unequal_keys
from crossdock.engines.sqlite.journal import head_of
from crossdock.engines.sqlite.lanes import LaneRow, find_held, find_lane, place, put_held, put_lane
from crossdock.engines.sqlite.statements import Row, query
from crossdock.journal.books import replayed_held, replayed_resolved, skips_when_opened
from crossdock.model.connection import AuditEntry, Connection, Store
from crossdock.model.contract import Queued
from crossdock.model.ids import START, ConnectionId, Instant, LaneId, StoreId
from crossdock.model.lane import Counts, HeldState, Lane
from crossdock.stores.port import (
    AddConnection,
    AddRevision,
    AddStore,
    AddToken,
    CloseLane,
    DropCredential,
    MoveConnection,
    OpenLane,
    PutCoreEndpoint,
    PutCredential,
    ReplayHeld,
    ReplayResolved,
    RevokeToken,
    SetWeight,
    Write,
)


def write_one(connection: apsw.Connection, write: Write, now: Instant) -> None:
    match write:
        case OpenLane(lane):
            open_lane(connection, lane)
        case CloseLane(lane, queued):
            close_lane(connection, lane, queued)
        case ReplayHeld():
            replay_held(connection, write)
        case ReplayResolved():
            replay_resolved(connection, write, now)
        case AddToken() | RevokeToken():
            write_token(connection, write)
        case AddStore() | SetWeight() | PutCoreEndpoint():
            write_store(connection, write)
        case _:
            write_object(connection, write)


def write_audit(connection: apsw.Connection, entry: AuditEntry) -> None:
    connection.execute(
        query("add_audit"),
        (
            *(entry.store, entry.at, entry.actor, entry.action, entry.object, entry.outcome, entry.correlation_id),
            json.dumps(entry.detail),
        ),
    )


def ran(connection: apsw.Connection, name: str, values: Row) -> bool:
    """Whether the statement changed a row."""
    connection.execute(query(name), values)
    return bool(connection.changes())


def need_store(connection: apsw.Connection, store: StoreId) -> None:
    needed(bool(connection.execute(query("store"), (store,)).fetchall()), f"store {store}")


def need_connection(connection: apsw.Connection, store: StoreId, id: ConnectionId) -> None:
    rows = connection.execute(query("connection"), (id,)).fetchall()
    needed(bool(rows) and rows[0][1] == store, f"connection {id}")


def write_token(connection: apsw.Connection, write: AddToken | RevokeToken) -> None:
    if isinstance(write, RevokeToken):
        if not ran(connection, "revoke_token", (write.token, write.at)):
            raise moved(f"The token {write.token}")
        return
    token = write.token
    if token.store is not None:
        need_store(connection, token.store)
    row = (token.id, token.digest, token.role, token.store, token.label, token.created_at, token.expires_at)
    if not ran(connection, "add_token", (*row, token.revoked_at)):
        raise moved(f"The token {token.id}")


Connected = AddConnection | MoveConnection | AddRevision | PutCredential | DropCredential


def write_object(connection: apsw.Connection, write: Connected) -> None:
    match write:
        case AddConnection(one):
            need_store(connection, one.store)
            if not ran(connection, "add_connection", connection_row(one)):
                raise moved(f"The connection {one.id}")
        case MoveConnection(one, expected):
            move_connection(connection, one, expected)
        case AddRevision():
            add_revision(connection, write)
        case PutCredential():
            put_credential(connection, write)
        case DropCredential(store, connection_id, name):
            if not ran(connection, "drop_credential", (store, connection_id, name)):
                raise moved(f"The credential {name} of {connection_id}")


def move_connection(connection: apsw.Connection, one: Connection, expected: int) -> None:
    check_version("connection", one.version, expected)
    if not ran(connection, "move_connection", (*connection_row(one), expected)):
        raise moved(f"The connection {one.id}")


def write_store(connection: apsw.Connection, write: AddStore | SetWeight | PutCoreEndpoint) -> None:
    match write:
        case AddStore(store):
            add_store(connection, store)
        case SetWeight(name, weight):
            needed(ran(connection, "set_weight", (weight, name)), f"store {name}")
        case _:
            put_core_endpoint(connection, write)


def add_store(connection: apsw.Connection, store: Store) -> None:
    if not ran(connection, "add_store", (store.id, store.name, store.created_at, store.sealed_key)):
        raise taken(store.id)


def connection_row(one: Connection) -> Row:
    return (
        one.id,
        one.store,
        one.contract,
        one.state,
        one.revision,
        one.label,
        one.created_at,
        one.reason,
        one.version,
    )


def add_revision(connection: apsw.Connection, write: AddRevision) -> None:
    one = write.revision
    need_connection(connection, one.store, one.connection)
    row = (one.connection, one.store, one.number, one.contract_version, json.dumps(one.config), one.author, one.at)
    if not ran(connection, "add_revision", row):
        raise moved(f"Revision {one.number} of {one.connection}")


def put_credential(connection: apsw.Connection, write: PutCredential) -> None:
    one = write.credential
    need_connection(connection, one.store, one.connection)
    check_version("credential", one.version, write.expected)
    row: Row = (one.store, one.connection, one.name, one.sealed, json.dumps(one.hosts), one.version, one.at)
    row += (one.previous, one.previous_until)
    done = (
        ran(connection, "move_credential", (*row, write.expected))
        if write.expected
        else ran(connection, "add_credential", row)
    )
    if not done:
        raise moved(f"The credential {one.name} of {one.connection}")


def put_core_endpoint(connection: apsw.Connection, write: PutCoreEndpoint) -> None:
    one = write.endpoint
    need_store(connection, one.store)
    check_version("core endpoint", one.version, write.expected)
    row: Row = (one.store, one.mode, one.url, one.sealed_secret, one.version)
    done = (
        ran(connection, "move_core_endpoint", (*row, write.expected))
        if write.expected
        else ran(connection, "add_core_endpoint", row)
    )
    if not done:
        raise moved(f"The core endpoint of {one.store}")


def open_lane(connection: apsw.Connection, lane: LaneId) -> None:
    row, head = find_lane(connection, lane), head_of(connection, lane.store)
    if row is None:
        put_lane(connection, LaneRow(Lane(lane, start=head, cursor=head, open=True), START, 0))
    elif not row.lane.open:
        skips = skips_when_opened(row.lane, row.closed_head, head)
        put_lane(connection, replace(row, lane=replace(row.lane, open=True, skips=skips)))


def close_lane(connection: apsw.Connection, lane_id: LaneId, queued: Queued) -> None:
    """Discarding moves the epoch, so that a turn under way settles nothing any more."""
    row, head = find_lane(connection, lane_id), head_of(connection, lane_id.store)
    if row is None or not row.lane.open:
        return
    lane = replace(row.lane, open=False)
    if queued is Queued.DISCARD:
        connection.execute(query("discard_held"), place(lane_id))
        gone = Counts(expired=head - lane.cursor + connection.changes())
        lane = replace(lane, cursor=head, counts=lane.counts.plus(gone), skips=(), epoch=lane.epoch + 1)
    put_lane(connection, replace(row, lane=lane, closed_head=head))


def standing_lane(connection: apsw.Connection, lane: LaneId) -> LaneRow:
    row = find_lane(connection, lane)
    if row is None:
        raise moved(f"The lane {lane}")
    return row


def replay_held(connection: apsw.Connection, write: ReplayHeld) -> None:
    standing_lane(connection, write.lane)
    found = find_held(connection, write.lane, write.positions).values()
    parked = [one for one in found if one.state is HeldState.PARKED]
    put_held(connection, write.lane, [replayed_held(one, write.not_before) for one in parked])


def replay_resolved(connection: apsw.Connection, write: ReplayResolved, now: Instant) -> None:
    if len(write.positions) != len(write.keys):
        raise unequal_keys(write.lane)
    row = standing_lane(connection, write.lane)
    keys = dict(zip(write.positions, write.keys, strict=True))
    held = find_held(connection, write.lane, keys)
    new = [
        replayed_resolved(position, key, write.not_before, now)
        for position, key in keys.items()
        if START < position <= row.lane.cursor and position not in held
    ]
    put_held(connection, write.lane, new)
    put_lane(connection, replace(row, lane=replace(row.lane, replayed=row.lane.replayed + len(new))))
