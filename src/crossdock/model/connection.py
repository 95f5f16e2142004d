"""Stores, connections, revisions and principals, and the one table of what a connection may do next."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from crossdock.model.errors import IllegalMove
from crossdock.model.ids import (
    ConnectionId,
    ContractId,
    CorrelationId,
    Instant,
    Json,
    JsonObject,
    StoreId,
    TokenId,
)


class ConnectionState(StrEnum):
    """`draft` may lack config or credentials, `validated` lacks nothing, only `enabled` moves data."""

    DRAFT = "draft"
    VALIDATED = "validated"
    ENABLED = "enabled"
    PAUSED = "paused"
    DISABLED = "disabled"


class ConnectionSignal(StrEnum):
    CONFIGURE = "configure"
    VALIDATE = "validate"
    ENABLE = "enable"
    PAUSE = "pause"
    RESUME = "resume"
    DISABLE = "disable"
    ROLLBACK = "rollback"


_S, _G = ConnectionState, ConnectionSignal
CONNECTION_MOVES: dict[tuple[ConnectionState, ConnectionSignal], ConnectionState] = {
    (_S.DRAFT, _G.CONFIGURE): _S.DRAFT,
    (_S.DRAFT, _G.VALIDATE): _S.VALIDATED,
    (_S.DRAFT, _G.ROLLBACK): _S.DRAFT,
    (_S.VALIDATED, _G.CONFIGURE): _S.DRAFT,
    (_S.VALIDATED, _G.VALIDATE): _S.VALIDATED,
    (_S.VALIDATED, _G.ENABLE): _S.ENABLED,
    (_S.VALIDATED, _G.ROLLBACK): _S.DRAFT,
    (_S.ENABLED, _G.CONFIGURE): _S.ENABLED,  # a new revision takes over whole, validated first
    (_S.ENABLED, _G.PAUSE): _S.PAUSED,
    (_S.ENABLED, _G.DISABLE): _S.DISABLED,
    (_S.ENABLED, _G.ROLLBACK): _S.ENABLED,
    (_S.PAUSED, _G.CONFIGURE): _S.PAUSED,
    (_S.PAUSED, _G.RESUME): _S.ENABLED,
    (_S.PAUSED, _G.DISABLE): _S.DISABLED,
    (_S.PAUSED, _G.ROLLBACK): _S.PAUSED,
    (_S.DISABLED, _G.CONFIGURE): _S.DRAFT,
    (_S.DISABLED, _G.VALIDATE): _S.VALIDATED,
    (_S.DISABLED, _G.ROLLBACK): _S.DRAFT,
}


def after(state: ConnectionState, signal: ConnectionSignal) -> ConnectionState:
    """The state after `signal`; IllegalMove (CD3001) with the legal signals where the table has no such move."""
    target = CONNECTION_MOVES.get((state, signal))
    if target is None:
        legal = [str(sign) for (start, sign) in CONNECTION_MOVES if start is state]
        raise IllegalMove(
            "CD3001",
            f"A connection that is {state} cannot {signal}.",
            remedy=f"From {state} it can: {', '.join(legal)}.",
            facts={"state": str(state), "signal": str(signal), "legal": legal},
        )
    return target


@dataclass(frozen=True, slots=True)
class Store:
    id: StoreId
    name: str
    created_at: Instant
    sealed_key: bytes
    """The store's own key, wrapped under the root key."""
    weight: int = 1
    """Its share of senders when they are scarce, 1 to STORE_WEIGHT_MAX: what the platform's plans differ in."""


class CoreMode(StrEnum):
    PULL = "pull"
    PUSH = "push"


@dataclass(frozen=True, slots=True)
class CoreEndpoint:
    """How a store's inbound events reach the core. `sealed_secret` signs pushes (Standard Webhooks)."""

    store: StoreId
    mode: CoreMode = CoreMode.PULL
    url: str = ""
    sealed_secret: bytes = b""
    version: int = 0


@dataclass(frozen=True, slots=True)
class Connection:
    """`revision` is the one in force, 0 before the first. `version` counts changes of this row, for compare-and-set.
    `reason` says why it is paused ('' when a person did it without a word)."""

    id: ConnectionId
    store: StoreId
    contract: ContractId
    state: ConnectionState
    revision: int
    label: str
    created_at: Instant
    reason: str = ""
    version: int = 1


@dataclass(frozen=True, slots=True)
class Revision:
    """Immutable: (connection, number) is written once. A rollback is a new pointer, never a rewrite."""

    connection: ConnectionId
    store: StoreId
    number: int
    contract_version: str
    config: JsonObject
    author: str
    at: Instant


@dataclass(frozen=True, slots=True)
class Credential:
    """A sealed credential at its place. `hosts` are those it may be sent to, bound when sealed. `previous` signs and
    verifies too until `previous_until`."""

    store: StoreId
    connection: ConnectionId
    name: str
    sealed: bytes
    hosts: tuple[str, ...]
    version: int
    at: Instant
    previous: bytes | None = None
    previous_until: Instant | None = None


class Role(StrEnum):
    PLATFORM_ADMIN = "platform_admin"
    PLATFORM_AUDITOR = "platform_auditor"
    STORE_ADMIN = "store_admin"
    STORE_VIEWER = "store_viewer"
    CORE = "core"


@dataclass(frozen=True, slots=True)
class Token:
    """An API token: only the SHA-256 of its secret is kept. `store` None means the whole platform."""

    id: TokenId
    digest: bytes
    role: Role
    store: StoreId | None
    label: str
    created_at: Instant
    expires_at: Instant
    revoked_at: Instant | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who acts, as authority sees it."""

    name: str
    role: Role
    store: StoreId | None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What was done, by whom, to what, and how it ended. `before` and `after` are digests or small public facts, never
    a payload or a secret. The engine gives `seq` (per scope, 1, 2, 3, ...) when it is written."""

    at: Instant
    actor: str
    action: str
    store: StoreId | None
    object: str
    outcome: str
    correlation_id: CorrelationId
    detail: dict[str, Json]
    seq: int = 0
