"""The inbox: what came in for a store, pulled by the core and acknowledged."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from pydantic import Field

from crossdock.delivery.inbox import InboxItem, Marked
from crossdock.drivers.webhook import body_of
from crossdock.http.api.asked import Asked, Body, Shown, StorePath, doing
from crossdock.model.limits import INBOX_ITEMS_MAX, LONG_POLL_SECONDS_MAX
from crossdock.stores.authority import Action

router = APIRouter(prefix="/stores/{store}/inbox", tags=["inbox"])
Handle = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9_-]+$")]


class InboxItemShown(Shown):
    handle: str = Field(description="Acknowledges or rejects it.")
    connection: str
    route: str
    attempt: int
    replay: bool
    correlation_id: str
    event: dict[str, Any] = Field(description="CloudEvents 1.0, structured, cut to what the contract lists.")


class InboxPage(Shown):
    items: list[InboxItemShown]
    next: None = None


class RejectBody(Body):
    handle: Handle
    reason: str = Field("rejected", max_length=200, description="A code: a-z, 0-9, _ . -")


class AckBody(Body):
    acked: list[Handle] = Field(default_factory=list, max_length=INBOX_ITEMS_MAX)
    rejected: list[RejectBody] = Field(default_factory=list, max_length=INBOX_ITEMS_MAX)


class AckShown(Shown):
    acked: int = Field(description="Marked as taken by this call.")
    rejected: int = Field(description="Parked by this call.")
    again: int = Field(description="Marked before.")
    unknown: int = Field(description="Not of this inbox.")


def shown(item: InboxItem) -> InboxItemShown:
    return InboxItemShown(
        handle=item.handle,
        connection=item.lane.connection,
        route=item.lane.route,
        attempt=item.parcel.attempt,
        replay=item.parcel.replay,
        correlation_id=item.parcel.correlation_id,
        event=msgspec.json.decode(body_of(item.parcel)),
    )


@router.get("", **doing(Action.INBOX_CONSUME))
async def pull(
    asked: Asked,
    store: StorePath,
    wait_seconds: Annotated[int, Query(ge=0, le=LONG_POLL_SECONDS_MAX, description="Waits for the first event.")] = 0,
    limit: Annotated[int, Query(ge=1, le=INBOX_ITEMS_MAX)] = 100,
) -> InboxPage:
    """The next events. What is neither acknowledged nor rejected comes again."""
    await asked.parts.desk.stores.read(store)
    return InboxPage(items=[shown(one) for one in await asked.parts.inbox.read(store, limit, float(wait_seconds))])


@router.post("/ack", **doing(Action.INBOX_CONSUME))
async def acknowledge(asked: Asked, store: StorePath, body: AckBody) -> AckShown:
    """Mark events as kept by the core, or as never to be taken. Durable when it is answered; twice is fine."""
    await asked.parts.desk.stores.read(store)
    inbox = asked.parts.inbox
    acked = await inbox.ack(store, body.acked) if body.acked else Marked()
    rejected = Marked()
    for reason in sorted({one.reason for one in body.rejected}):
        handles = [one.handle for one in body.rejected if one.reason == reason]
        rejected = rejected.plus(await inbox.reject(store, handles, reason))
    both = acked.plus(rejected)
    return AckShown(acked=acked.done, rejected=rejected.done, again=both.again, unknown=both.unknown)
