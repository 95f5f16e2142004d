"""The rules of a lane that every engine applies: what balances, what is due, what a close and an open leave behind.

Pure. An engine reads the rows, asks here, and writes what follows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from crossdock.model.errors import Bug, Conflict, Unavailable
from crossdock.model.ids import Instant, Position, StoreId
from crossdock.model.lane import Held, HeldState, Lane, LaneChange, Skip
from crossdock.model.limits import LANE_SKIPS_MAX

MOVING_RETRY_MS = 1_000  # a store's gate is closed for seconds


def stale(lane: Lane | None, change: LaneChange) -> bool:
    """Whether the change was decided on a lane that has moved since, or is gone."""
    return lane is None or lane.epoch != change.epoch or lane.cursor != change.cursor_from


def check_books(change: LaneChange, held: Collection[Position], head: Position) -> None:
    """Bug (CD5001) unless the change accounts for every position that it moves over or touches.

    `held` are the lane's held positions before the change, or at least those of them that it names."""
    holds = [row.position for row in change.hold]
    new = [position for position in holds if position not in held]
    advance = change.cursor_to - change.cursor_from
    counts = change.counts
    wrong = (
        "it moves the cursor back" if advance < 0 else "",
        "it moves the cursor past the journal's head" if change.cursor_to > head else "",
        "it counts below zero"
        if min(counts.delivered, counts.superseded, counts.filtered, counts.expired, counts.erased) < 0
        else "",
        "it names a position twice" if len({*holds, *change.release}) < len(holds) + len(change.release) else "",
        "it releases what is not held" if any(position not in held for position in change.release) else "",
        "it holds what it does not pass over"
        if any(not change.cursor_from < position <= change.cursor_to for position in new)
        else "",
        "its sums differ" if counts.total + len(new) != advance + len(change.release) else "",
    )
    found = [one for one in wrong if one]
    if found:
        raise Bug(
            "CD5001",
            f"The books of a lane change do not balance: {', '.join(found)}. Nothing was changed.",
            where=f"lane {change.lane}",
        )


def still_ahead(skips: Sequence[Skip], cursor: Position) -> tuple[Skip, ...]:
    """The skips that the cursor has not passed."""
    return tuple(skip for skip in skips if skip.to > cursor)


def reach(lane: Lane, closed_head: Position, head: Position) -> Position:
    """How far the journal is this lane's business: to its head, or for a closed lane to where it ended at the close.
    What comes after that will never be sent along it."""
    return head if lane.open else Position(max(closed_head, lane.cursor))


def skips_when_opened(lane: Lane, closed_head: Position, head: Position) -> tuple[Skip, ...]:
    """The skips of a lane that was closed when the journal ended at `closed_head`, and opens when it ends at `head`.

    Conflict (CD5007) above LANE_SKIPS_MAX."""
    after = Position(max(closed_head, lane.cursor))
    if head <= after:
        return lane.skips
    earlier = lane.skips
    if earlier and earlier[-1].to == after:
        after, earlier = earlier[-1].after, earlier[:-1]
    if len(earlier) >= LANE_SKIPS_MAX:
        raise Conflict(
            "CD5007",
            "The lane was opened and closed too often with a backlog before it.",
            where=f"lane {lane.id}",
            remedy="Let it work off its backlog, or close it and discard what is queued.",
        )
    return (*earlier, Skip(after, head))


def due_at(held: Sequence[Held], now: Instant) -> tuple[Held, ...]:
    """Of retrying and waiting rows by position, those that may be tried at `now`. An empty key blocks nothing."""
    blocked: set[str] = set()
    due: list[Held] = []
    for row in held:
        if row.state is HeldState.RETRYING:
            ready = row.not_before <= now
        else:
            ready = row.key not in blocked
        if ready:
            due.append(row)
        if row.key:
            blocked.add(row.key)
    return tuple(due)


def replayed_held(row: Held, not_before: Instant) -> Held:
    """A parked row, sent again."""
    return Held(
        position=row.position,
        state=HeldState.RETRYING,
        not_before=not_before,
        attempts=0,
        key=row.key,
        reason=row.reason,
        held_at=row.held_at,
        replay=True,
    )


def replayed_resolved(position: Position, key: str, not_before: Instant, now: Instant) -> Held:
    """A resolved entry, taken up again."""
    return Held(position, HeldState.RETRYING, not_before, 0, key, "replayed", now, replay=True)


def moving(store: StoreId) -> Unavailable:
    """What an append hears while the gate of its store is not open."""
    return Unavailable(
        "CD5024",
        f"The store {store} is moving; nothing of this was kept.",
        retry_after_ms=MOVING_RETRY_MS,
    )
