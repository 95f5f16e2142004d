"""What the control plane asks of an engine: reads, and one way to write.

A use case reads, decides, and commits one `Change`: every write and every audit entry of it in one transaction, or
none. A `Change` without an audit entry cannot be made (invariant 9). Each write that replaces a row carries the version
that it was decided on: if the row moved since, nothing is written and `commit` raises Conflict (CD3002).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from crossdock.journal.port import Journal, Lanes
from crossdock.journal.slots import Slots
from crossdock.model.connection import (
    AuditEntry,
    Connection,
    CoreEndpoint,
    Credential,
    Revision,
    Store,
    Token,
)
from crossdock.model.contract import Queued
from crossdock.model.errors import Bug
from crossdock.model.ids import ConnectionId, Instant, LaneId, Position, StoreId, TokenId


@dataclass(frozen=True, slots=True)
class AddStore:
    """Conflict (CD3003) if the id is taken. A new store has a plain weight."""

    store: Store


@dataclass(frozen=True, slots=True)
class SetWeight:
    """The store's share of senders from now on; the last one wins."""

    store: StoreId
    weight: int


@dataclass(frozen=True, slots=True)
class AddConnection:
    connection: Connection


@dataclass(frozen=True, slots=True)
class MoveConnection:
    """Replaces the connection's row; `expected` is the version that was read. Here as in the other writes with
    `expected`, the new row's version must be above it (else Bug CD5006)."""

    connection: Connection
    expected: int


@dataclass(frozen=True, slots=True)
class AddRevision:
    """Conflict (CD3002) if (connection, number) is written already."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class PutCredential:
    """`expected` 0: there must be none yet."""

    credential: Credential
    expected: int


@dataclass(frozen=True, slots=True)
class DropCredential:
    store: StoreId
    connection: ConnectionId
    name: str


@dataclass(frozen=True, slots=True)
class PutCoreEndpoint:
    """`expected` 0: there must be none yet."""

    endpoint: CoreEndpoint
    expected: int


@dataclass(frozen=True, slots=True)
class AddToken:
    token: Token


@dataclass(frozen=True, slots=True)
class RevokeToken:
    token: TokenId
    at: Instant


@dataclass(frozen=True, slots=True)
class OpenLane:
    """A new lane starts at its journal's head. A closed one goes on where it stood, and what came while it was closed
    becomes a skip. An open one stays as it is."""

    lane: LaneId


@dataclass(frozen=True, slots=True)
class CloseLane:
    """`DISCARD` moves the cursor to the head and releases held rows that are not parked; all that counts as expired."""

    lane: LaneId
    queued: Queued


@dataclass(frozen=True, slots=True)
class ReplayHeld:
    """Parked entries become retrying at `not_before`, with attempts back at 0 and marked as replay. Positions that are
    not parked are passed over."""

    lane: LaneId
    positions: tuple[Position, ...]
    not_before: Instant


@dataclass(frozen=True, slots=True)
class ReplayResolved:
    """Resolved entries (at or below the cursor, not held) become retrying again; each counts in `replayed`. `keys` are
    their ordering keys, in the order of `positions`."""

    lane: LaneId
    positions: tuple[Position, ...]
    keys: tuple[str, ...]
    not_before: Instant


Write = (
    AddStore
    | SetWeight
    | AddConnection
    | MoveConnection
    | AddRevision
    | PutCredential
    | DropCredential
    | PutCoreEndpoint
    | AddToken
    | RevokeToken
    | OpenLane
    | CloseLane
    | ReplayHeld
    | ReplayResolved
)


@dataclass(frozen=True, slots=True)
class Change:
    writes: tuple[Write, ...]
    audit: tuple[AuditEntry, ...]

    def __post_init__(self) -> None:
        if not self.audit:
            raise Bug("CD5003", "A change was made without an audit entry.")


@dataclass(frozen=True, slots=True)
class Changes:
    """The stores that were changed after the change numbered `after`, and the number of the last one, `seq`.
    `platform`: something that belongs to no store changed too."""

    seq: int
    stores: frozenset[StoreId]
    platform: bool


class Registry(Protocol):
    """Reads see what has been committed. Lists are ordered by id or number."""

    async def commit(self, change: Change) -> None:
        """Unavailable (CD5024) for a change that names a store whose gate is shut."""
        ...

    async def stores(self, after: str = "", limit: int = 200) -> list[Store]: ...

    async def store(self, store: StoreId) -> Store | None: ...

    async def connections(self, store: StoreId) -> list[Connection]: ...

    async def connection(self, connection: ConnectionId) -> Connection | None:
        """By id alone: the connection gives the store, never the other way round."""
        ...

    async def revisions(self, store: StoreId, connection: ConnectionId) -> list[Revision]: ...

    async def revision(self, store: StoreId, connection: ConnectionId, number: int) -> Revision | None: ...

    async def credentials(self, store: StoreId, connection: ConnectionId) -> list[Credential]: ...

    async def core_endpoint(self, store: StoreId) -> CoreEndpoint | None: ...

    async def token(self, token: TokenId) -> Token | None: ...

    async def tokens(self, store: StoreId | None = None) -> list[Token]:
        """All tokens, or those of one store."""
        ...

    async def audit(self, store: StoreId | None, after: int, limit: int) -> list[AuditEntry]:
        """By seq, at most `limit` after `after`. Each entry has two numbers: its place in its store's log, the seq with
        `store`, and its place in the whole installation's log, the seq with None. An entry without a store stands in
        the installation's log alone."""
        ...

    def on_change(self, listener: Callable[[Change], None]) -> None:
        """`listener` is called on the event loop after each commit of this process: caches drop what moved."""
        ...

    async def changes(self, after: int | None) -> Changes:
        """What any process changed after number `after`, itself included; with None, only where the numbers stand.
        Every change has its place in the audit log, so that none can be missed (ADR 11)."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the doctor saw. `fatal` refuses to serve."""

    code: str
    ok: bool
    fatal: bool
    what: str
    remedy: str = ""


class Engine(Protocol):
    """What keeps the journal. `start` opens it and refuses unsafe settings (Unavailable CD5004)."""

    name: str

    @property
    def journal(self) -> Journal: ...

    @property
    def lanes(self) -> Lanes: ...

    @property
    def registry(self) -> Registry: ...

    @property
    def slots(self) -> Slots: ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def writable(self) -> None:
        """Returns when a write would be taken now; Unavailable otherwise. Cheap: anybody may ask."""
        ...

    async def findings(self) -> Sequence[Finding]: ...
