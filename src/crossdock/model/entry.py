"""What ingest asks a journal to keep, what the journal keeps, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from crossdock.model.ids import ConnectionId, CorrelationId, EventId, Instant, Position, StoreId


@dataclass(frozen=True, slots=True)
class Draft:
    """An event that passed every check, sealed, ready to be appended.

    `dedupe_key` is unique within (store, origin). `fingerprint` is a 32-byte keyed hash of what the sender sent: the
    same key with another fingerprint is a conflict. `body` holds what is not personal, `personal` the rest; both are
    sealed and bound to store and event id. `subject_key` is the wrapped key under which `personal` is sealed: the
    journal keeps the first one of a (store, subject_ref) and refuses another with `OtherKey`.
    """

    store: StoreId
    origin: str
    dedupe_key: str
    fingerprint: bytes
    event_id: EventId
    type: str
    schema_major: int
    source: str
    occurred_at: Instant
    received_at: Instant
    correlation_id: CorrelationId
    body: bytes
    personal: bytes | None = None
    subject_ref: bytes | None = None
    subject_key: bytes | None = None
    traceparent: str | None = None
    caused_by: ConnectionId | None = None
    hops: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """A draft at its place. Without `subject_key` and `fingerprint`, which the journal keeps to itself."""

    store: StoreId
    position: Position
    origin: str
    event_id: EventId
    type: str
    schema_major: int
    source: str
    occurred_at: Instant
    received_at: Instant
    correlation_id: CorrelationId
    body: bytes
    personal: bytes | None
    subject_ref: bytes | None
    traceparent: str | None
    caused_by: ConnectionId | None
    hops: int


@dataclass(frozen=True, slots=True)
class Kept:
    """Durable at this position."""

    position: Position


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Kept before, same fingerprint: the first one's place, event id and correlation id."""

    position: Position
    event_id: EventId
    correlation_id: CorrelationId


@dataclass(frozen=True, slots=True)
class Conflicting:
    """Kept before with another fingerprint. The conflict is recorded; the first entry stands."""

    position: Position
    event_id: EventId


@dataclass(frozen=True, slots=True)
class OtherKey:
    """The subject has a key already: seal again under this wrapped one. Nothing was appended."""

    standing: bytes


Appended = Kept | Duplicate | Conflicting | OtherKey
