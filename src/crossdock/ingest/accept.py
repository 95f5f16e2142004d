"""The order of checks, then one commit. Whatever direction an event takes, it is kept here or refused.

Cheapest first: rate of the listener and the sender's address, size while reading (http.ingest), signature or token over
the raw bytes, state of the connection, its rate, strict JSON, schema, field list, backlog, the store's rate, append.
A failed check costs the sender: its address, its path, its connection; the store's quota is charged only for what is
about to be kept.

Somebody who cannot sign learns nothing. An unknown connection, a bad signature and a connection that is not enabled
get one fixed answer after the same work; so the route's own size limit, too, holds only after the signature. A paused
connection accepts and keeps: only its delivery waits.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from crossdock.credentials.vault import StoreKeys
from crossdock.ingest.backlog import Backlog
from crossdock.ingest.checks import value_of
from crossdock.ingest.cloudevents import BULK, CoreEvent, events_of
from crossdock.ingest.quotas import Quotas, Rates
from crossdock.ingest.sealing import Packed, Packer, Stamp, keep
from crossdock.ingest.shaping import Came, Knobs, Shaped, data_of, dedupe_parts, shape
from crossdock.journal.port import Journal, Lanes
from crossdock.model.connection import ConnectionState, Principal
from crossdock.model.contract import EventSchema
from crossdock.model.entry import Appended, Conflicting, Draft, Duplicate, Kept
from crossdock.model.errors import (
    Bug,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    TooLarge,
    Unauthenticated,
)
from crossdock.model.ids import (
    CORE_ORIGIN,
    CorrelationId,
    Instant,
    LaneId,
    Position,
    StoreId,
    origin_of,
)
from crossdock.model.limits import REPLAY_TOLERANCE_MS_MAX
from crossdock.signing import SCHEMES, SignedRequest, Unverified, Verified
from crossdock.stores.ways import Door, Doors

OPEN = frozenset({ConnectionState.ENABLED, ConnectionState.PAUSED})
HASHED = "signature"
"""The one reason of a scheme that it finds after it has hashed the body."""
_NOBODY = b"nobody signs with this: 32 bytes"
_encode = msgspec.json.Encoder().encode


class CorePass(Protocol):
    async def authorise(self, authorization_header: bytes | None, store: str) -> Principal:
        """Who publishes. Unauthenticated without a standing token; NotFound for a store that the token cannot see, the
        same as for an unknown one; Forbidden for a role that may not publish."""
        ...


class Schemas(Protocol):
    def schema(self, event_type: str, major: int | None, /) -> EventSchema | None:
        """The event's schema; `major` None means the newest."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What the acceptor stands on. `keys` is None for a store that is not there."""

    journal: Journal
    lanes: Lanes
    doors: Doors
    keys: Callable[[StoreId], Awaitable[StoreKeys | None]]
    schemas: Schemas
    core: CorePass
    clock: Callable[[], Instant]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A whole request. `url` is the one the sender was given, `path` its path, `address` where it came from. Header
    names are lower-case; `media` is the content type in lower case without parameters."""

    method: str
    url: str
    path: str
    address: str
    media: str
    headers: Mapping[str, str]
    body: bytes
    correlation_id: CorrelationId
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Accepted:
    """Durable, and what to answer. A repeat of the same message gets the same `status` and `body` as the first."""

    status: int
    body: bytes
    correlation_id: CorrelationId
    store: StoreId
    origin: str
    connection: str
    route: str
    type: str
    events: int
    duplicates: int
    position: Position


class Acceptor:
    def __init__(self, parts: Parts, rates: Rates | None = None) -> None:
        self._parts = parts
        self._quotas = Quotas(rates or Rates())
        self._knobs = Knobs()
        self._backlog = Backlog(parts.journal, parts.lanes)

    def admit(self, address: str, path: str) -> None:
        """TooFast (CD1007) for a listener, an address, or an address at a path that has had too much of it. Says
        nothing of what lies at the path."""
        self._quotas.admit(address, path, self._parts.clock())

    def blame(self, address: str, path: str) -> None:
        """Charges a failure to whoever caused it."""
        self._quotas.blame(address, path, self._parts.clock())

    async def door(self, connection: str, route: str | None) -> Door | None:
        return await self._parts.doors.door(connection, route)

    async def authorise(self, authorization: bytes | None, store: str) -> StoreId:
        """The store that the core may publish to: the token's, which the path must name."""
        await self._parts.core.authorise(authorization, store)
        return StoreId(store)

    async def from_sender(self, door: Door | None, arrival: Arrival) -> Accepted:
        """Keeps what a third party sent. Raises what DESIGN section 6 lists; Unauthenticated and Forbidden (CD1001)
        are answered with one fixed body."""
        now = self._parts.clock()
        verified = _verified(door, self._knobs, arrival, now)
        if door is None or verified is None:
            self.blame(arrival.address, arrival.path)
            raise Unauthenticated("CD1001", "Not accepted.")
        if door.state not in OPEN:
            raise Forbidden("CD1001", "Not accepted.")
        limits = door.route.limits
        if limits is not None and len(arrival.body) > limits.body_bytes_max:
            raise too_large(limits.body_bytes_max)
        lane = LaneId(door.store, door.connection, door.route.name)
        self._quotas.charge_route(str(lane), limits.rate if limits else None, now)
        keys = await self._keys(door.store)
        shaped, stamp = _inbound(door, arrival, verified, keys, now)
        if limits is not None:
            await self._backlog.check(lane, limits.backlog_max, now)
        self._quotas.charge_store(door.store, 1, now)
        packer = Packer(keys, self._parts.journal)
        kept = await self._kept(packer, [packer.pack(shaped, stamp)])
        source = door.route.source
        return Accepted(
            status=source.accepted_status if source else 202,
            body=_encode(kept.told[0]),
            correlation_id=CorrelationId(kept.told[0]["correlation_id"]),
            store=door.store,
            origin=stamp.origin,
            connection=door.connection,
            route=door.route.name,
            type=shaped.event.name,
            events=1,
            duplicates=kept.duplicates,
            position=kept.position,
        )

    async def from_core(self, store: StoreId, arrival: Arrival) -> Accepted:
        """Keeps what the core published, all of it or none: an event that is not as it should be refuses its whole
        batch, with pointers that start with its index. Only a conflict (409) may leave the others kept; sent again
        without it they are repeats."""
        now = self._parts.clock()
        self._quotas.charge_route(CORE_ORIGIN + "/" + store, None, now)
        events = events_of(arrival.media, arrival.headers, arrival.body)
        batch = arrival.media in BULK
        shaped = [self._shaped(event, f"/{at}/data" if batch else "/data") for at, event in enumerate(events)]
        keys = await self._keys(store)
        self._quotas.charge_store(store, len(events), now)
        packer = Packer(keys, self._parts.journal)
        stamps = [_core_stamp(store, event, arrival, now) for event in events]
        packed = [packer.pack(one, stamp) for one, stamp in zip(shaped, stamps, strict=True)]
        kept = await self._kept(packer, packed)
        return Accepted(
            status=202,
            body=_encode({"events": kept.told} if batch else kept.told[0]),
            correlation_id=CorrelationId(kept.told[0]["correlation_id"]),
            store=store,
            origin=CORE_ORIGIN,
            connection="",
            route="",
            type=shaped[0].event.name if len({one.event.name for one in shaped}) == 1 else "",
            events=len(events),
            duplicates=kept.duplicates,
            position=kept.position,
        )

    def _shaped(self, event: CoreEvent, at: str) -> Shaped:
        schema = self._parts.schemas.schema(event.type, event.major)
        if schema is None:
            raise Invalid(
                "CD1015",
                "No accepted contract knows this event type at this version.",
                where=at.removesuffix("/data") + "/type",
                remedy="`crossdock contracts list` shows the known types.",
            )
        return shape(schema, event.data, at)

    async def _keys(self, store: StoreId) -> StoreKeys:
        keys = await self._parts.keys(store)
        if keys is None:
            raise NotFound("CD1026", "There is no such store.")
        return keys

    async def _kept(self, packer: Packer, packed: list[Packed]) -> _Kept:
        """After the commit; Conflict (CD1016) if one of them came before with other content."""
        answers = await keep(self._parts.journal, packer, packed)
        conflicts = [f"/{at}" for at, answer in enumerate(answers) if isinstance(answer, Conflicting)]
        if conflicts:
            raise Conflict(
                "CD1016",
                "This id came before with other content. The first one stands; the conflict is recorded.",
                remedy="Give a changed event an id of its own.",
                facts={"pointers": conflicts if len(packed) > 1 else []},
            )
        told = [_told(one.draft, answer) for one, answer in zip(packed, answers, strict=True)]
        repeats = sum(isinstance(answer, Duplicate) for answer in answers)
        reached = max(answer.position for answer in answers if isinstance(answer, Kept | Duplicate))
        return _Kept(told, repeats, reached)


@dataclass(frozen=True, slots=True)
class _Kept:
    told: list[dict[str, str]]
    duplicates: int
    position: Position


def too_large(limit: int) -> TooLarge:
    return TooLarge("CD1002", f"The body is larger than {limit} bytes.", remedy="Send less, or send it in parts.")


def _told(draft: Draft, answer: Appended) -> dict[str, str]:
    """What a sender is told of one event: no position, which would tell how busy the store is."""
    first = answer if isinstance(answer, Duplicate) else draft
    return {"event_id": first.event_id, "correlation_id": first.correlation_id}


def _verified(door: Door | None, knobs: Knobs, arrival: Arrival, now: Instant) -> Verified | None:
    """Who it is from, or None. Whatever is wrong, the body has been hashed once when this returns, also without a door:
    the time it takes tells nothing."""
    source = door.route.source if door is not None else None
    secrets = door.secrets.get(source.secret, ()) if door is not None and source is not None else ()
    outcome: Verified | Unverified = Unverified("unknown")
    if door is not None and source is not None and secrets:
        outcome = SCHEMES[source.verify].verify(
            SignedRequest(arrival.method, arrival.url, arrival.headers, arrival.body),
            secrets,
            knobs.of(door, source),
            min(source.tolerance_ms, REPLAY_TOLERANCE_MS_MAX),
            now,
        )
    if isinstance(outcome, Verified):
        return outcome
    if outcome.reason != HASHED:
        hmac.digest(_NOBODY, arrival.body, "sha256")
    return None


def _inbound(door: Door, arrival: Arrival, verified: Verified, keys: StoreKeys, now: Instant) -> tuple[Shaped, Stamp]:
    route = door.route
    if route.source is None:  # the catalogue's rule S020 sees to it
        raise Bug("CD1027", "An inbound route has no source.", where=f"{door.contract.ref} {route.name}")
    came = Came(arrival.headers, value_of(arrival.body), verified.message_id, door.config)
    shaped = shape(route.event, data_of(route, route.source, came, keys.pepper))
    return shaped, Stamp(
        store=door.store,
        origin=origin_of(door.connection, route.name),
        dedupe=dedupe_parts(route.idempotency, route, came, arrival.body),
        sent=arrival.body,
        event_id=None,
        source=f"/connections/{door.connection}/{route.name}",
        occurred_at=verified.timestamp if verified.timestamp is not None else now,
        received_at=now,
        correlation_id=arrival.correlation_id,
        traceparent=arrival.traceparent,
    )


def _core_stamp(store: StoreId, event: CoreEvent, arrival: Arrival, now: Instant) -> Stamp:
    """CloudEvents: source and id together name an event."""
    return Stamp(
        store=store,
        origin=CORE_ORIGIN,
        dedupe=(event.source, event.id),
        sent=event.spelling,
        event_id=event.id,
        source=event.source,
        occurred_at=event.time if event.time is not None else now,
        received_at=now,
        correlation_id=arrival.correlation_id,
        traceparent=event.traceparent or arrival.traceparent,
        caused_by=event.caused_by,
        hops=event.hops,
    )
