"""Doors and ways from memory: one dictionary look-up where nothing changed, a fresh snapshot after a change."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

from crossdock.contracts.catalogue import Catalogue
from crossdock.contracts.config import check_config
from crossdock.credentials.seal import SealBroken
from crossdock.credentials.secret import Secret
from crossdock.credentials.vault import StoreKeys, Vault
from crossdock.model.connection import Connection, CoreEndpoint, CoreMode, Credential, Store
from crossdock.model.contract import Contract, Direction
from crossdock.model.errors import Invalid
from crossdock.model.ids import CONNECTION_ID, ConnectionId, Instant, JsonObject, LaneId, StoreId
from crossdock.stores.port import (
    AddConnection,
    AddStore,
    Change,
    Changes,
    DropCredential,
    MoveConnection,
    PutCoreEndpoint,
    PutCredential,
    Registry,
    SetWeight,
)
from crossdock.stores.targets import Hosts, hosts_of, targets_of, url_target
from crossdock.stores.ways import Door, Target, Way

SNAPSHOTS_MAX = 20_000  # connections kept, a few KiB each
UNKNOWN_MAX = 4_096  # ids that are not there, so that guessing costs the engine little
UNKNOWN_MS = 5_000  # how late a connection that another process made may be seen, where no watch tells of it
STORES_MAX = 20_000
CORE = "core"
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A connection as ingest and delivery see it. `until` is when a credential's overlap ends."""

    store: StoreId
    doors: Mapping[str, Door]
    only_door: Door | None
    ways: Mapping[str, Way]
    until: Instant | None


class Directory:
    """`Doors`, `Ways`, and the keys of a store. A change in this process is seen by the next call, one by another when
    `refresh` tells of it."""

    def __init__(
        self,
        registry: Registry,
        catalogue: Catalogue,
        vault: Vault,
        hosts: Hosts,
        clock: Callable[[], Instant],
    ) -> None:
        self._registry = registry
        self._catalogue = catalogue
        self._vault = vault
        self._hosts = hosts
        self._clock = clock
        self._snapshots: OrderedDict[str, Snapshot] = OrderedDict()
        self._unknown: OrderedDict[str, Instant] = OrderedDict()
        self._stores: OrderedDict[StoreId, Store] = OrderedDict()
        self._generation = 0
        registry.on_change(self._changed)

    async def door(self, connection: str, route: str | None) -> Door | None:
        found = await self._snapshot(connection)
        if found is None:
            return None
        return found.only_door if route is None else found.doors.get(route)

    async def way(self, lane: LaneId) -> Way | None:
        found = await self._snapshot(lane.connection)
        if found is None or found.store != lane.store:
            return None
        return found.ways.get(lane.route)

    async def lanes_of(self, store: StoreId) -> list[LaneId]:
        lanes: list[LaneId] = []
        for connection in await self._registry.connections(store):
            found = await self._snapshot(connection.id)
            lanes += [] if found is None else [way.lane for way in found.ways.values()]
        return lanes

    async def keys(self, store: StoreId) -> StoreKeys | None:
        """None for an unknown store. SealBroken (CD6001) if its key is not under this root key."""
        row = await self.store(store)
        return None if row is None else self._vault.open(row)

    async def store(self, store: StoreId) -> Store | None:
        known = self._stores.get(store)
        if known is not None:
            return known
        row = await self._registry.store(store)
        if row is not None:
            _keep(self._stores, store, row, STORES_MAX)
        return row

    async def _snapshot(self, connection: str) -> Snapshot | None:
        found = self._snapshots.get(connection)
        if found is not None and (found.until is None or self._clock() < found.until):
            return found
        if CONNECTION_ID.fullmatch(connection) is None or self._is_unknown(connection):
            return None
        generation = self._generation
        made = await self._read(ConnectionId(connection))
        # What was read before a change must not outlive it.
        if generation == self._generation:
            if made is None:
                _keep(self._unknown, connection, Instant(self._clock() + UNKNOWN_MS), UNKNOWN_MAX)
            else:
                _keep(self._snapshots, connection, made, SNAPSHOTS_MAX)
        return made

    def _is_unknown(self, connection: str) -> bool:
        until = self._unknown.get(connection)
        return until is not None and self._clock() < until

    async def _read(self, name: ConnectionId) -> Snapshot | None:
        row = await self._registry.connection(name)
        if row is None:
            return None
        store = await self.store(row.store)
        revision = await self._registry.revision(row.store, name, row.revision) if row.revision else None
        contract = None if revision is None else self._catalogue.get(row.contract, revision.contract_version)
        if store is None or revision is None or contract is None:
            return Snapshot(row.store, {}, None, {}, None)
        credentials = await self._registry.credentials(row.store, name)
        core = await self._registry.core_endpoint(row.store) or CoreEndpoint(row.store)
        try:
            config = check_config(contract, revision.config)
        except Invalid:
            config = revision.config
        parts = _Parts(row, contract, config, tuple(credentials), core, store.weight)
        return self._made(parts, self._vault.open(store))

    def _made(self, parts: _Parts, keys: StoreKeys) -> Snapshot:
        secrets, until = self._secrets(parts, keys)
        targets = targets_of(parts.contract, parts.config, self._hosts)
        doors: dict[str, Door] = {}
        ways: dict[str, Way] = {}
        for route in parts.contract.routes:
            inbound = route.direction is Direction.INBOUND
            lane = LaneId(parts.row.store, parts.row.id, route.name)
            core = self._core(parts.core, keys) if inbound else None
            ways[route.name] = Way(
                lane,
                parts.contract,
                route,
                parts.config,
                parts.row.state,
                parts.row.revision,
                secrets if core is None else core.secrets,
                targets if core is None else core.targets,
                None if core is None else core.mode,
                parts.weight,
            )
            if inbound:
                doors[route.name] = Door(
                    parts.row.store,
                    parts.row.id,
                    parts.contract,
                    route,
                    parts.config,
                    parts.row.state,
                    parts.row.revision,
                    secrets,
                )
        only = next(iter(doors.values())) if len(doors) == 1 else None
        return Snapshot(parts.row.store, doors, only, ways, until)

    def _secrets(self, parts: _Parts, keys: StoreKeys) -> tuple[dict[str, tuple[Secret, ...]], Instant | None]:
        """Each slot's accepted secrets. One that was sealed for other hosts than the config names now is left out: it
        must not follow a changed URL."""
        now = self._clock()
        found: dict[str, tuple[Secret, ...]] = {}
        until: Instant | None = None
        for credential in parts.credentials:
            if credential.hosts != hosts_of(parts.contract, credential.name, parts.config, self._hosts):
                continue
            overlaps = credential.previous_until is not None and now < credential.previous_until
            try:
                held = [keys.unseal_secret(credential)]
                held += [keys.unseal_secret(credential, previous=True)] if overlaps else []
            except SealBroken:
                continue
            found[credential.name] = tuple(held)
            if overlaps and credential.previous_until is not None:
                until = credential.previous_until if until is None else min(until, credential.previous_until)
        return found, until

    def _core(self, endpoint: CoreEndpoint, keys: StoreKeys) -> _CoreParty:
        if endpoint.mode is CoreMode.PULL:
            return _CoreParty(CoreMode.PULL, {}, {})
        try:
            target = url_target(endpoint.url, "/url", self._hosts)
        except Invalid:
            return _CoreParty(CoreMode.PUSH, {}, {})
        secret = keys.unseal_core_secret(endpoint.sealed_secret)
        return _CoreParty(CoreMode.PUSH, {CORE: target}, {CORE: (secret,)})

    def _changed(self, change: Change) -> None:
        self._generation += 1
        for write in change.writes:
            match write:
                case AddStore(store):
                    self._stores.pop(store.id, None)
                case AddConnection(connection) | MoveConnection(connection, _):
                    self._drop(connection.id)
                case PutCredential(credential, _):
                    self._drop(credential.connection)
                case DropCredential(_, connection, _):
                    self._drop(connection)
                case PutCoreEndpoint(endpoint, _):
                    self._drop_all((endpoint.store,))
                case SetWeight(store_id):
                    self._stores.pop(store_id, None)
                    self._drop_all((store_id,))
                case _:
                    pass

    def refresh(self, changes: Changes) -> None:
        """Somebody has changed these stores: nothing that was read of them stands. A connection that was unknown may
        be one of theirs."""
        self._generation += 1
        self._drop_all(changes.stores)
        for store in changes.stores:
            self._stores.pop(store, None)
        self._unknown.clear()

    def _drop_all(self, stores: Collection[StoreId]) -> None:
        for name in [name for name, kept in self._snapshots.items() if kept.store in stores]:
            self._drop(name)

    def _drop(self, connection: str) -> None:
        self._snapshots.pop(connection, None)
        self._unknown.pop(connection, None)


@dataclass(frozen=True, slots=True)
class _Parts:
    row: Connection
    contract: Contract
    config: JsonObject
    credentials: tuple[Credential, ...]
    core: CoreEndpoint
    weight: int


@dataclass(frozen=True, slots=True)
class _CoreParty:
    mode: CoreMode
    targets: Mapping[str, Target]
    secrets: Mapping[str, tuple[Secret, ...]]


def _keep(kept: OrderedDict[K, V], key: K, value: V, at_most: int) -> None:
    kept[key] = value
    if len(kept) > at_most:
        kept.popitem(last=False)
