"""Events: where one stands, and, for a store's own people and on the record, what it says."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import Field

from crossdock.http.api.asked import Asked, EventPath, Shown, StorePath, doing
from crossdock.http.api.lanes import AttemptShown, HeldShown, attempt_shown, held_shown
from crossdock.model.ids import EventId
from crossdock.stores.authority import Action
from crossdock.stores.event_desk import EventStatus, LaneStatus

router = APIRouter(prefix="/stores/{store}/events", tags=["events"])


class EventInLane(Shown):
    connection: str
    route: str
    state: str = Field(description="ahead, retrying, waiting, parked or resolved.")
    held: HeldShown | None
    last_attempt: AttemptShown | None


class EventShown(Shown):
    id: str
    position: int
    origin: str
    type: str
    schema_major: int
    source: str
    occurred_at: int
    received_at: int
    correlation_id: str
    lanes: list[EventInLane]


class EventAnswer(Shown):
    items: list[EventShown] = Field(description="One per origin that sent this id.")
    next: None = None


class EventData(Shown):
    position: int
    origin: str
    type: str
    data: dict[str, Any]
    personal: bool = Field(description="Whether personal fields are in it: not after their erasure.")


class EventDataAnswer(Shown):
    items: list[EventData]
    next: None = None


def _lane(status: LaneStatus) -> EventInLane:
    return EventInLane(
        connection=status.lane.connection,
        route=status.lane.route,
        state=status.state,
        held=None if status.held is None else held_shown(status.held),
        last_attempt=None if status.last is None else attempt_shown(status.last),
    )


def shown(status: EventStatus) -> EventShown:
    entry = status.entry
    return EventShown(
        id=entry.event_id,
        position=entry.position,
        origin=entry.origin,
        type=entry.type,
        schema_major=entry.schema_major,
        source=entry.source,
        occurred_at=entry.occurred_at,
        received_at=entry.received_at,
        correlation_id=entry.correlation_id,
        lanes=[_lane(one) for one in status.lanes],
    )


@router.get("/{event_id}", **doing(Action.EVENT_READ))
async def read_event(asked: Asked, store: StorePath, event_id: EventPath) -> EventAnswer:
    """Where an event stands, lane by lane. No payload."""
    found = await asked.parts.desk.events.status(store, EventId(event_id))
    return EventAnswer(items=[shown(one) for one in found])


@router.get("/{event_id}/data", **doing(Action.EVENT_VIEW))
async def view_event(asked: Asked, store: StorePath, event_id: EventPath) -> EventDataAnswer:
    """What an event says. The view is an entry in the audit record."""
    views = await asked.parts.desk.events.view(asked.act, store, EventId(event_id))
    return EventDataAnswer(
        items=[
            EventData(
                position=view.entry.position,
                origin=view.entry.origin,
                type=view.entry.type,
                data=view.data,
                personal=view.personal,
            )
            for view in views
        ]
    )
