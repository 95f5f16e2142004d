"""Replay: sending again what a person names, tried dry first."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field, StrictBool

from crossdock.delivery.replay import Selection
from crossdock.http.api.asked import Asked, Body, Shown, doing
from crossdock.http.api.lanes import ROUTE, LaneAsked
from crossdock.model.ids import START, EventId, Position
from crossdock.model.limits import ID_CHARS_MAX
from crossdock.stores.authority import Action

router = APIRouter(prefix="/stores/{store}", tags=["lanes"])
POSITION_MAX = 2**53


class ReplayBody(Body):
    """What fits all that is given."""

    dry_run: StrictBool = Field(True, description="Only says what it would do.")
    position: int | None = Field(None, ge=1, le=POSITION_MAX, description="This one alone.")
    after: int = Field(0, ge=0, le=POSITION_MAX)
    to: int | None = Field(None, ge=1, le=POSITION_MAX)
    event_id: str | None = Field(None, max_length=ID_CHARS_MAX)
    type: str | None = Field(None, max_length=ID_CHARS_MAX)
    key: str | None = Field(None, max_length=ID_CHARS_MAX, description="The ordering key.")
    reason: str | None = Field(None, max_length=64, description="Why it was parked.")
    parked_only: StrictBool = Field(True, description="False takes what has been resolved as well.")
    force: StrictBool = Field(False, description="Though the contract refuses a replay of this route.")


class ReplayShown(Shown):
    dry_run: bool
    selected: int
    counts: dict[str, int] = Field(description="By class: parked.<reason>, resolved.")
    left: int = Field(description="What fits too, and is beyond one replay's bound.")
    spread_ms: int = Field(description="When the last of it comes due.")


def selection_of(body: ReplayBody) -> Selection:
    after = Position(body.after) if body.position is None else Position(body.position - 1)
    to = body.to if body.position is None else body.position
    return Selection(
        after=after or START,
        to=None if to is None else Position(to),
        event_id=None if body.event_id is None else EventId(body.event_id),
        type=body.type,
        key=body.key,
        reason=body.reason,
        parked_only=body.parked_only,
    )


@router.post(ROUTE + "/replay", **doing(Action.LANE_REPLAY))
async def replay(asked: Asked, lane: LaneAsked, body: ReplayBody) -> ReplayShown:
    """Send again what the selection names. Without `dry_run: false` it only says what it would."""
    parts = asked.parts
    plan = await parts.replays.plan(lane, selection_of(body), parts.clock(), force=body.force)
    if not body.dry_run and plan.writes:
        await parts.desk.events.replayed(asked.act, lane, plan.writes, plan.counts)
    return ReplayShown(
        dry_run=body.dry_run,
        selected=plan.total,
        counts=dict(plan.counts),
        left=plan.left,
        spread_ms=plan.spread_ms,
    )
