"""Use cases on events: where one stands, lane by lane, and what it says, on the record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from crossdock.contracts.project import join
from crossdock.credentials.seal import SealBroken
from crossdock.credentials.vault import StoreKeys
from crossdock.journal.port import Journal, Lanes
from crossdock.model.attempt import Attempt
from crossdock.model.entry import Entry
from crossdock.model.errors import Unavailable
from crossdock.model.ids import EventId, Json, JsonObject, LaneId, Position, StoreId
from crossdock.model.lane import Held, Lane
from crossdock.stores.authority import nothing_here
from crossdock.stores.office import Act, Office
from crossdock.stores.port import ReplayHeld, ReplayResolved

ENTRIES_MAX = 20  # one event id, one entry per origin that sent it
LANES_MAX = 200


@dataclass(frozen=True, slots=True)
class LaneStatus:
    """`state`: `ahead` (the lane has not come to it), `retrying`, `waiting`, `parked`, or `resolved`."""

    lane: LaneId
    state: str
    held: Held | None
    last: Attempt | None


@dataclass(frozen=True, slots=True)
class EventStatus:
    entry: Entry
    lanes: tuple[LaneStatus, ...]


@dataclass(frozen=True, slots=True)
class EventView:
    """`personal` is False where the event has no personal part, or its subject has been erased."""

    entry: Entry
    data: JsonObject
    personal: bool


class EventDesk:
    def __init__(self, office: Office, journal: Journal, lanes: Lanes) -> None:
        self._office = office
        self._journal = journal
        self._lanes = lanes

    async def status(self, store: StoreId, event_id: EventId) -> list[EventStatus]:
        """One per origin; NotFound (CD3004) for an unknown event."""
        entries = await self._entries(store, event_id)
        ledgers = await self._lanes.ledgers(store)
        rows = [await self._lanes.lane(ledger.lane) for ledger in ledgers[:LANES_MAX]]
        concerned = [
            (entry, row) for entry in entries for row in rows if row is not None and row.start < entry.position
        ]
        found: dict[Position, list[LaneStatus]] = {entry.position: [] for entry in entries}
        for entry, row in concerned:
            found[entry.position].append(await self._in_lane(entry, row))
        return [EventStatus(entry, tuple(found[entry.position])) for entry in entries]

    async def view(self, act: Act, store: StoreId, event_id: EventId) -> list[EventView]:
        """What the event says. The view is on the audit record before it is given."""
        entries = await self._entries(store, event_id)
        keys = self._office.vault.open(await self._office.store(store))
        await self._office.commit(act, "event.viewed", (store, f"event/{event_id}"), (), entries=len(entries))
        return [await self._view(keys, entry) for entry in entries]

    async def replayed(
        self, act: Act, lane: LaneId, writes: tuple[ReplayHeld | ReplayResolved, ...], counts: Mapping[str, int]
    ) -> None:
        """Commits a planned replay, on the record."""
        detail: dict[str, Json] = dict(counts)
        place = (lane.store, f"{lane.connection}/{lane.route}")
        await self._office.commit(act, "lane.replayed", place, writes, counts=detail)

    async def _entries(self, store: StoreId, event_id: EventId) -> list[Entry]:
        await self._office.store(store)
        entries = await self._journal.find(store, event_id)
        if not entries:
            raise nothing_here()
        return entries[:ENTRIES_MAX]

    async def _in_lane(self, entry: Entry, row: Lane) -> LaneStatus:
        last = next(iter(await self._lanes.attempts(row.id, 1, entry.position)), None)
        held = next(iter(await self._lanes.held(row.id, None, Position(entry.position - 1), 1)), None)
        if held is not None and held[0].position == entry.position:
            return LaneStatus(row.id, str(held[0].state), held[0], last)
        return LaneStatus(row.id, "ahead" if entry.position > row.cursor else "resolved", None, last)

    async def _view(self, keys: StoreKeys, entry: Entry) -> EventView:
        try:
            body = _object(keys.unseal_body(entry.event_id, entry.body))
            personal = await self._personal(keys, entry)
        except SealBroken as error:
            raise Unavailable("CD3012", "The event cannot be unsealed.", remedy="Run `crossdock doctor`.") from error
        return EventView(entry, join(body, personal), personal is not None)

    async def _personal(self, keys: StoreKeys, entry: Entry) -> JsonObject | None:
        if entry.personal is None or entry.subject_ref is None:
            return None
        wrapped = await self._journal.subject_key(entry.store, entry.subject_ref)
        if wrapped is None:
            return None
        key = keys.open_subject_key(entry.subject_ref, wrapped)
        return _object(keys.unseal_personal(key, entry.event_id, entry.personal))


def _object(raw: bytes) -> JsonObject:
    value: JsonObject = msgspec.json.decode(raw, type=dict)
    return value
