"""The in-memory reference of the registry: tables are copied, every write is tried on the copies, then they count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from crossdock.engines.refusals import (
    check_version,
    moved,
    needed,
    refuse_shut,
    stores_of_change,
    taken,
    unequal_keys,
)
from crossdock.journal.memory import LaneRow, LaneRows, MemoryLanes, MemoryState
from crossdock.model.connection import AuditEntry, Connection, CoreEndpoint, Credential, Revision, Store, Token
from crossdock.model.ids import ConnectionId, Instant, LaneId, StoreId, TokenId
from crossdock.stores.port import (
    AddConnection,
    AddRevision,
    AddStore,
    AddToken,
    Change,
    Changes,
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


@dataclass(slots=True)
class Tables:
    stores: dict[StoreId, Store] = field(default_factory=dict)
    connections: dict[ConnectionId, Connection] = field(default_factory=dict)
    revisions: dict[tuple[ConnectionId, int], Revision] = field(default_factory=dict)
    credentials: dict[tuple[ConnectionId, str], Credential] = field(default_factory=dict)
    endpoints: dict[StoreId, CoreEndpoint] = field(default_factory=dict)
    tokens: dict[TokenId, Token] = field(default_factory=dict)
    audit: list[AuditEntry] = field(default_factory=list)
    lanes: LaneRows = field(default_factory=dict)

    def copy(self) -> Tables:
        return Tables(
            dict(self.stores),
            dict(self.connections),
            dict(self.revisions),
            dict(self.credentials),
            dict(self.endpoints),
            dict(self.tokens),
            list(self.audit),
            dict(self.lanes),
        )


class MemoryRegistry:
    """`stores.port.Registry` without durability."""

    def __init__(self, state: MemoryState, lanes: MemoryLanes, clock: Callable[[], Instant]) -> None:
        self._state = state
        self._lanes = lanes
        self._clock = clock
        self._tables = Tables()
        self._listeners: list[Callable[[Change], None]] = []

    async def commit(self, change: Change) -> None:
        revoked = {self._tables.tokens.get(write.token) for write in change.writes if isinstance(write, RevokeToken)}
        named = stores_of_change(change) | {token.store for token in revoked if token is not None}
        refuse_shut({store: gate for store, gate in self._state.gates.items() if store in named})
        tables = replace(self._tables, lanes=self._state.lanes).copy()
        for write in change.writes:
            self._write(tables, write)
        for entry in change.audit:
            tables.audit.append(replace(entry, seq=len(tables.audit) + 1))
        self._tables, self._state.lanes = tables, tables.lanes
        for listener in self._listeners:
            listener(change)

    def _write(self, tables: Tables, write: Write) -> None:
        match write:
            case OpenLane() | CloseLane() | ReplayHeld() | ReplayResolved():
                self._write_lane(tables.lanes, write)
            case AddStore(store):
                if store.id in tables.stores:
                    raise taken(store.id)
                tables.stores[store.id] = store
            case SetWeight(name, weight):
                needed(name in tables.stores, f"store {name}")
                tables.stores[name] = replace(tables.stores[name], weight=weight)
            case AddToken() | RevokeToken():
                write_token(tables, write)
            case PutCoreEndpoint(endpoint, expected):
                needed(endpoint.store in tables.stores, f"store {endpoint.store}")
                check_version("core endpoint", endpoint.version, expected)
                standing = tables.endpoints.get(endpoint.store)
                if (standing.version if standing else 0) != expected:
                    raise moved(f"The core endpoint of {endpoint.store}")
                tables.endpoints[endpoint.store] = endpoint
            case _:
                write_connection(tables, write)

    def _write_lane(self, rows: LaneRows, write: OpenLane | CloseLane | ReplayHeld | ReplayResolved) -> None:
        match write:
            case OpenLane(lane):
                self._lanes.opened(rows, lane)
            case CloseLane(lane, queued):
                self._lanes.closed(rows, lane, queued)
            case ReplayHeld(lane, positions, not_before):
                rows[lane] = self._lanes.replayed_held(standing_lane(rows, lane), positions, not_before)
            case ReplayResolved(lane, positions, keys, not_before):
                if len(positions) != len(keys):
                    raise unequal_keys(lane)
                by_position = dict(zip(positions, keys, strict=True))
                row = standing_lane(rows, lane)
                rows[lane] = self._lanes.replayed_resolved(row, by_position, not_before, self._clock())

    async def stores(self, after: str = "", limit: int = 200) -> list[Store]:
        return [store for key, store in sorted(self._tables.stores.items()) if key > after][:limit]

    async def store(self, store: StoreId) -> Store | None:
        return self._tables.stores.get(store)

    async def connections(self, store: StoreId) -> list[Connection]:
        return [one for _, one in sorted(self._tables.connections.items()) if one.store == store]

    async def connection(self, connection: ConnectionId) -> Connection | None:
        return self._tables.connections.get(connection)

    async def revisions(self, store: StoreId, connection: ConnectionId) -> list[Revision]:
        found = sorted(self._tables.revisions.items())
        return [one for _, one in found if one.connection == connection and one.store == store]

    async def revision(self, store: StoreId, connection: ConnectionId, number: int) -> Revision | None:
        found = self._tables.revisions.get((connection, number))
        return found if found and found.store == store else None

    async def credentials(self, store: StoreId, connection: ConnectionId) -> list[Credential]:
        found = sorted(self._tables.credentials.items())
        return [one for _, one in found if one.connection == connection and one.store == store]

    async def core_endpoint(self, store: StoreId) -> CoreEndpoint | None:
        return self._tables.endpoints.get(store)

    async def token(self, token: TokenId) -> Token | None:
        return self._tables.tokens.get(token)

    async def tokens(self, store: StoreId | None = None) -> list[Token]:
        return [one for _, one in sorted(self._tables.tokens.items()) if store is None or one.store == store]

    async def audit(self, store: StoreId | None, after: int, limit: int) -> list[AuditEntry]:
        entries = self._tables.audit
        if store is not None:
            own = [entry for entry in entries if entry.store == store]
            entries = [replace(entry, seq=number) for number, entry in enumerate(own, 1)]
        return entries[max(after, 0) : max(after, 0) + limit]

    def on_change(self, listener: Callable[[Change], None]) -> None:
        self._listeners.append(listener)

    async def changes(self, after: int | None) -> Changes:
        seq = len(self._tables.audit)
        since = self._tables.audit[seq if after is None else max(after, 0) :]
        stores = frozenset(entry.store for entry in since if entry.store is not None)
        return Changes(seq, stores, platform=any(entry.store is None for entry in since))


def standing_lane(rows: Mapping[LaneId, LaneRow], lane: LaneId) -> LaneRow:
    if lane not in rows:
        raise moved(f"The lane {lane}")
    return rows[lane]


def write_token(tables: Tables, write: AddToken | RevokeToken) -> None:
    if isinstance(write, AddToken):
        token = write.token
        needed(token.store is None or token.store in tables.stores, f"store {token.store}")
        if token.id in tables.tokens:
            raise moved(f"The token {token.id}")
        tables.tokens[token.id] = token
        return
    if write.token not in tables.tokens:
        raise moved(f"The token {write.token}")
    standing = tables.tokens[write.token]
    if standing.revoked_at is None:
        tables.tokens[write.token] = replace(standing, revoked_at=write.at)


def write_connection(
    tables: Tables, write: AddConnection | MoveConnection | AddRevision | PutCredential | DropCredential
) -> None:
    match write:
        case AddConnection(connection):
            needed(connection.store in tables.stores, f"store {connection.store}")
            if connection.id in tables.connections:
                raise moved(f"The connection {connection.id}")
            tables.connections[connection.id] = connection
        case MoveConnection(connection, expected):
            move_connection(tables, connection, expected)
        case AddRevision(revision):
            needed(owns(tables, revision.store, revision.connection), f"connection {revision.connection}")
            if (revision.connection, revision.number) in tables.revisions:
                raise moved(f"Revision {revision.number} of {revision.connection}")
            tables.revisions[revision.connection, revision.number] = revision
        case PutCredential(credential, expected):
            put_credential(tables, credential, expected)
        case DropCredential():
            drop_credential(tables, write)


def move_connection(tables: Tables, connection: Connection, expected: int) -> None:
    check_version("connection", connection.version, expected)
    standing = tables.connections.get(connection.id)
    if standing is None or standing.store != connection.store or standing.version != expected:
        raise moved(f"The connection {connection.id}")
    tables.connections[connection.id] = connection


def drop_credential(tables: Tables, write: DropCredential) -> None:
    standing = tables.credentials.pop((write.connection, write.name), None)
    if standing is None or standing.store != write.store:
        raise moved(f"The credential {write.name} of {write.connection}")


def put_credential(tables: Tables, credential: Credential, expected: int) -> None:
    needed(owns(tables, credential.store, credential.connection), f"connection {credential.connection}")
    check_version("credential", credential.version, expected)
    place = (credential.connection, credential.name)
    standing = tables.credentials.get(place)
    if (standing.version if standing else 0) != expected:
        raise moved(f"The credential {credential.name} of {credential.connection}")
    tables.credentials[place] = credential


def owns(tables: Tables, store: StoreId, connection: ConnectionId) -> bool:
    found = tables.connections.get(connection)
    return found is not None and found.store == store
