"""What ingest and delivery need to know of a connection, gathered once: doors lead in, ways lead out.

Both are immutable snapshots. `Directory` (stores/directory.py) builds them from the registry, the catalogue and the
vault, keeps them in memory, and drops them when a change commits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from crossdock.credentials.secret import Secret
from crossdock.model.connection import ConnectionState, CoreMode
from crossdock.model.contract import Contract, Route
from crossdock.model.ids import ConnectionId, JsonObject, LaneId, StoreId


@dataclass(frozen=True, slots=True)
class Target:
    """Where a destination leads in this environment. `connect_to` is the operator's loopback mapping (address, port),
    in the `local` environment only; without it the host is resolved and must be public."""

    scheme: str  # https, http (loopback only), smtp
    host: str
    port: int
    methods: tuple[str, ...]
    paths: tuple[str, ...]
    connect_to: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Door:
    """An inbound route of a connection. `secrets` holds each slot's accepted secrets, the current one first."""

    store: StoreId
    connection: ConnectionId
    contract: Contract
    route: Route
    config: JsonObject
    state: ConnectionState
    revision: int
    secrets: Mapping[str, tuple[Secret, ...]]


@dataclass(frozen=True, slots=True)
class Way:
    """A route of a connection as delivery travels it, in either direction.

    Outbound, `targets` are the contract's destinations by name. Inbound, the party is the core: `core` is its mode and,
    for push, `targets["core"]` its endpoint and `secrets["core"]` its signing secret. `weight` is the store's.
    """

    lane: LaneId
    contract: Contract
    route: Route
    config: JsonObject
    state: ConnectionState
    revision: int
    secrets: Mapping[str, tuple[Secret, ...]]
    targets: Mapping[str, Target]
    core: CoreMode | None = None
    weight: int = 1


class Doors(Protocol):
    async def door(self, connection: str, route: str | None) -> Door | None:
        """The door, whatever its state; None for an unknown connection, or a route that it has not. Without `route`
        the connection's only inbound route."""
        ...


class Ways(Protocol):
    async def way(self, lane: LaneId) -> Way | None:
        """None when the connection or the route is gone, or it has no revision in force."""
        ...

    async def lanes_of(self, store: StoreId) -> list[LaneId]:
        """Every lane of the store's connections that may be open."""
        ...
