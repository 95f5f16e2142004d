"""Lanes: the ledger, what is held, and what the far end said."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from crossdock.http.api.asked import After, Asked, ConnectionPath, Limit, RoutePath, Shown, StorePath, doing
from crossdock.model.attempt import Attempt
from crossdock.model.ids import LaneId, Position
from crossdock.model.lane import Held, HeldState, Ledger
from crossdock.stores.authority import Action, nothing_here

router = APIRouter(prefix="/stores/{store}", tags=["lanes"])
ROUTE = "/connections/{connection}/routes/{route}"


class LedgerShown(Shown):
    """accepted + replayed = delivered + waiting + parked + superseded + filtered + expired + erased."""

    store: str
    connection: str
    route: str
    accepted: int
    replayed: int
    delivered: int
    waiting: int
    parked: int
    superseded: int
    filtered: int
    expired: int
    erased: int
    closes: bool


class LanePage(Shown):
    items: list[LedgerShown]
    next: None = None


class HeldShown(Shown):
    position: int
    state: HeldState
    not_before: int
    attempts: int
    reason: str
    held_at: int
    replay: bool


class HeldItem(HeldShown):
    event_id: str
    type: str
    correlation_id: str


class HeldPage(Shown):
    items: list[HeldItem]
    next: int | None


class AttemptShown(Shown):
    position: int
    event_id: str
    number: int
    at: int
    answer: str
    code: str
    status: int | None
    took_ms: int
    next: str
    not_before: int | None
    correlation_id: str


class AttemptPage(Shown):
    items: list[AttemptShown] = Field(description="The newest first.")
    next: None = None


def ledger_shown(ledger: Ledger) -> LedgerShown:
    counts = ledger.counts
    return LedgerShown(
        store=ledger.lane.store,
        connection=ledger.lane.connection,
        route=ledger.lane.route,
        accepted=ledger.accepted,
        replayed=ledger.replayed,
        delivered=counts.delivered,
        waiting=ledger.waiting,
        parked=ledger.parked,
        superseded=counts.superseded,
        filtered=counts.filtered,
        expired=counts.expired,
        erased=counts.erased,
        closes=ledger.closes,
    )


def held_shown(held: Held) -> HeldShown:
    return HeldShown(
        position=held.position,
        state=held.state,
        not_before=held.not_before,
        attempts=held.attempts,
        reason=held.reason,
        held_at=held.held_at,
        replay=held.replay,
    )


def attempt_shown(attempt: Attempt) -> AttemptShown:
    return AttemptShown(
        position=attempt.position,
        event_id=attempt.event_id,
        number=attempt.number,
        at=attempt.at,
        answer=str(attempt.answer.kind),
        code=attempt.answer.code,
        status=attempt.answer.status,
        took_ms=attempt.answer.took_ms,
        next=attempt.next,
        not_before=attempt.not_before,
        correlation_id=attempt.correlation_id,
    )


async def lane_of(asked: Asked, store: StorePath, connection: ConnectionPath, route: RoutePath) -> LaneId:
    """NotFound (CD3004) for a connection that is not the store's, or a route that its contract has not."""
    standing = await asked.parts.desk.connections.read(store, connection)
    if standing.contract.route(route) is None:
        raise nothing_here()
    return LaneId(store, connection, route)


LaneAsked = Annotated[LaneId, Depends(lane_of)]


@router.get("/lanes", **doing(Action.LANE_READ))
async def list_lanes(asked: Asked, store: StorePath) -> LanePage:
    """The ledger of every lane of the store."""
    await asked.parts.desk.stores.read(store)
    return LanePage(items=[ledger_shown(one) for one in await asked.parts.engine.lanes.ledgers(store)])


@router.get(ROUTE + "/held", **doing(Action.LANE_READ))
async def list_held(
    asked: Asked,
    lane: LaneAsked,
    state: Annotated[HeldState | None, Query()] = None,
    after: After = 0,
    limit: Limit = 100,
) -> HeldPage:
    """What is retrying, waiting or parked, by position."""
    found = await asked.parts.engine.lanes.held(lane, state, Position(after), limit)
    items = [
        HeldItem(
            **held_shown(held).model_dump(),
            event_id=entry.event_id,
            type=entry.type,
            correlation_id=entry.correlation_id,
        )
        for held, entry in found
    ]
    return HeldPage(items=items, next=items[-1].position if len(items) == limit else None)


@router.get(ROUTE + "/attempts", **doing(Action.LANE_READ))
async def list_attempts(
    asked: Asked,
    lane: LaneAsked,
    position: Annotated[int | None, Query(ge=1, le=2**53)] = None,
    limit: Limit = 100,
) -> AttemptPage:
    """What the far end said, the newest first; of one position, or of the lane."""
    wanted = None if position is None else Position(position)
    return AttemptPage(
        items=[attempt_shown(one) for one in await asked.parts.engine.lanes.attempts(lane, limit, wanted)]
    )
