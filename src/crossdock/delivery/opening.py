"""Entries opened for one route: unsealed, joined, judged, and cut to a parcel. What cannot be opened says so by itself,
so that one poisoned entry never holds up another."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

import msgspec

from crossdock.contracts.expressions import predicate
from crossdock.contracts.project import MISSING, join, minimise, value_at
from crossdock.credentials.vault import StoreKeys
from crossdock.delivery.driver import Parcel
from crossdock.delivery.schedule import UNWANTED, Facts
from crossdock.journal.port import Journal
from crossdock.model.attempt import ParkReason
from crossdock.model.contract import Direction, Route
from crossdock.model.entry import Entry
from crossdock.model.errors import CrossdockError
from crossdock.model.ids import CORE_ORIGIN, Instant, Json, JsonObject, Position, StoreId, origin_of
from crossdock.model.lane import Held
from crossdock.model.limits import ID_CHARS_MAX
from crossdock.stores.ways import Way

KeysOf: TypeAlias = "Callable[[StoreId], Awaitable[StoreKeys | None]]"

UNREADABLE = Facts(wanted=True, trouble=ParkReason.UNREADABLE)


@dataclass(frozen=True, slots=True)
class Opened:
    """An entry as a route sees it. `data` is whole, before it is cut to the field list. `partial`: its person was
    erased, so that personal fields are absent."""

    entry: Entry
    facts: Facts
    data: JsonObject
    partial: bool = False


async def open_all(
    journal: Journal,
    way: Way,
    keys: StoreKeys,
    entries: Sequence[Entry],
    held: Mapping[Position, Held],
) -> dict[Position, Opened]:
    """Each entry opened; those that the route does not want stay sealed. `held` are the rows of those held before."""
    wanted = [entry for entry in entries if concerns(way, entry)]
    subjects = await _subject_keys(journal, way.lane.store, wanted)
    opened = {entry.position: Opened(entry, UNWANTED, {}) for entry in entries}
    for entry in wanted:
        opened[entry.position] = _open(way, keys, entry, subjects, held.get(entry.position))
    return opened


def concerns(way: Way, entry: Entry) -> bool:
    """Whether the entry is one of the route's at all: its origin, its type, and no echo of our own."""
    route = way.route
    if route.direction is Direction.INBOUND:
        return entry.origin == origin_of(way.lane.connection, way.lane.route)
    event = route.event
    if entry.origin != CORE_ORIGIN or entry.type != event.type or entry.schema_major != event.major:
        return False
    coupling = way.contract.coupling
    if coupling is None:
        return True
    echo = coupling.drop_own_origin and entry.caused_by == way.lane.connection
    return not echo and entry.hops < coupling.hops_max


async def _subject_keys(journal: Journal, store: StoreId, entries: Sequence[Entry]) -> dict[bytes, bytes | None]:
    # Asked anew in each turn: once a person is erased, nothing that was read before may open their part.
    refs = list({entry.subject_ref for entry in entries if entry.personal is not None and entry.subject_ref})
    standing = await asyncio.gather(*(journal.subject_key(store, ref) for ref in refs))
    return dict(zip(refs, standing, strict=True))


def _open(way: Way, keys: StoreKeys, entry: Entry, subjects: Mapping[bytes, bytes | None], row: Held | None) -> Opened:
    try:
        data, partial = _unsealed(keys, entry, subjects)
    except (CrossdockError, msgspec.MsgspecError, ValueError, RecursionError):
        return Opened(entry, UNREADABLE, {})
    try:
        if way.route.when is not None and not predicate(way.route.when, judged(way, entry, data)):
            return Opened(entry, UNWANTED, {})
        key = row.key if row is not None and row.key else ordering_key(way.route, data, keys)
    except CrossdockError:
        return Opened(entry, Facts(wanted=True, trouble=ParkReason.UNRENDERABLE), data, partial)
    # A person who sends an event again means it, however old it is.
    replay = row is not None and row.replay
    return Opened(entry, Facts(True, key, None if replay else expiry(way.route, entry)), data, partial)


def _unsealed(keys: StoreKeys, entry: Entry, subjects: Mapping[bytes, bytes | None]) -> tuple[JsonObject, bool]:
    body = msgspec.json.decode(keys.unseal_body(entry.event_id, entry.body), type=dict[str, object])
    data: JsonObject = body  # type: ignore[assignment]  # decoded JSON is Json
    if entry.personal is None:
        return data, False
    wrapped = subjects.get(entry.subject_ref) if entry.subject_ref is not None else None
    if entry.subject_ref is None or wrapped is None:
        return data, True
    key = keys.open_subject_key(entry.subject_ref, wrapped)
    personal: JsonObject = msgspec.json.decode(keys.unseal_personal(key, entry.event_id, entry.personal))
    return join(data, personal), False


def judged(way: Way, entry: Entry, data: JsonObject) -> JsonObject:
    """What a contract's `when` sees."""
    event: JsonObject = {
        "id": entry.event_id,
        "type": entry.type,
        "source": entry.source,
        "time": datetime.fromtimestamp(entry.occurred_at / 1000, UTC).isoformat(timespec="milliseconds"),
        "subject": None,
    }
    return {"event": event, "data": data, "config": way.config}


def expiry(route: Route, entry: Entry) -> Instant | None:
    if route.expires_after_ms is None:
        return None
    return Instant(entry.occurred_at + route.expires_after_ms)


def ordering_key(route: Route, data: JsonObject, keys: StoreKeys) -> str:
    """The event's ordering key, '' where the route has none or the event lacks it. A personal value is peppered,
    because held rows keep the key in the clear."""
    if not route.ordering:
        return ""
    parts: list[Json] = []
    for pointer in route.ordering:
        value = value_at(data, pointer)
        parts.append(None if value is MISSING else value)
    if all(part is None for part in parts):
        return ""
    key = parts[0] if len(parts) == 1 and isinstance(parts[0], str) else json.dumps(parts, separators=(",", ":"))
    if any(personal(route, pointer) for pointer in route.ordering):
        return keys.pepper(key)
    return key if len(key) <= ID_CHARS_MAX else hashlib.sha256(key.encode()).hexdigest()


def personal(route: Route, pointer: str) -> bool:
    """Whether a pointer, or what is above or below it, is classed as personal."""
    return any(
        data_class.personal and (f"{pointer}/".startswith(f"{other}/") or other.startswith(f"{pointer}/"))
        for other, data_class in route.event.classes.items()
    )


def parcel_of(way: Way, keys: StoreKeys, opened: Opened, attempt: int, replay: bool) -> Parcel:
    """The event cut to the contract's field list."""
    entry, data = opened.entry, opened.data
    return Parcel(
        position=entry.position,
        event_id=entry.event_id,
        type=entry.type,
        source=entry.source,
        occurred_at=entry.occurred_at,
        data=minimise(data, way.route.fields, keys.pepper),
        idempotency_key=idempotency_key(way.route, entry, data, keys),
        key=opened.facts.key,
        correlation_id=entry.correlation_id,
        attempt=attempt,
        replay=replay,
        traceparent=entry.traceparent,
    )


def idempotency_key(route: Route, entry: Entry, data: JsonObject, keys: StoreKeys) -> str:
    """Stable over retries and replays. Inbound, the sources name what came in, which ingest has used up: the event id
    stands for it."""
    sources = route.idempotency.sources
    if sources == ("event.id",) or route.direction is Direction.INBOUND:
        return entry.event_id
    parts: list[Json] = []
    for source in sources:
        if source == "event.id":
            parts.append(entry.event_id)
        elif source == "route.name":
            parts.append(route.name)
        else:
            value = value_at(data, source) if source.startswith("/") else None
            parts.append(None if value is MISSING else value)
    # A keyed hash: of fixed length, and it tells the receiver nothing of fields that it is not given.
    return keys.pepper(json.dumps(parts, separators=(",", ":"), sort_keys=True))
