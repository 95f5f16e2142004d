"""Rows of lanes, held entries and attempts as values, and back.

The columns are in the order of the queries in `queries/lanes.sql`. A row names its own lane: what a row says is looked
up by that, never by the place at which it came."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from crossdock.journal.slots import slot_of
from crossdock.model.ids import LaneId, Position
from crossdock.model.lane import Counts, Held, HeldState, Lane, Skip

Row = tuple[Any, ...]

LANE_COLUMNS = 17
HELD_COLUMNS = 8


@dataclass(frozen=True, slots=True)
class LaneRow:
    """A lane with what only the engine needs of it. `attempts` is the number of its last attempt; `unresolved` counts
    its held rows that are retrying or waiting."""

    lane: Lane
    closed_head: Position
    attempts: int = 0
    unresolved: int = 0


def place(lane: LaneId) -> tuple[str, str, str]:
    return (lane.store, lane.connection, lane.route)


def lane_of(row: Sequence[Any]) -> LaneRow:
    """From `store_id, connection_id, route, start, cursor, open, delivered, superseded, filtered, expired, erased,
    replayed, skips, epoch, closed_head, attempts, unresolved`; what comes after is not looked at."""
    lane = Lane(
        id=LaneId(*row[0:3]),
        start=row[3],
        cursor=row[4],
        open=row[5],
        counts=Counts(*row[6:11]),
        replayed=row[11],
        skips=skips_of(row[12]),
        epoch=row[13],
    )
    return LaneRow(lane, closed_head=row[14], attempts=row[15], unresolved=row[16])


def lane_row(row: LaneRow) -> Row:
    """Every column of the lane, in the order of the table: `..., route, slot, start, cursor, open, closed_head,
    delivered, superseded, filtered, expired, erased, replayed, skips, epoch, attempts, unresolved`."""
    lane = row.lane
    return (
        *place(lane.id),
        slot_of(lane.id.store, lane.id.connection),
        lane.start,
        lane.cursor,
        lane.open,
        row.closed_head,
        *sums(lane.counts),
        lane.replayed,
        skips_text(lane.skips),
        lane.epoch,
        row.attempts,
        row.unresolved,
    )


def moved_row(row: LaneRow) -> Row:
    """What a settle moves of a lane: place, cursor, sums, skips, attempts, unresolved."""
    lane = row.lane
    after = (skips_text(lane.skips), row.attempts, row.unresolved)
    return (*place(lane.id), lane.cursor, *sums(lane.counts), *after)


def sums(counts: Counts) -> tuple[int, int, int, int, int]:
    return (counts.delivered, counts.superseded, counts.filtered, counts.expired, counts.erased)


def skips_of(text: str) -> tuple[Skip, ...]:
    if text == "[]":
        return ()
    return tuple(Skip(Position(after), Position(to)) for after, to in json.loads(text))


def skips_text(skips: Sequence[Skip]) -> str:
    return json.dumps([[skip.after, skip.to] for skip in skips])


def held_of(row: Sequence[Any]) -> Held:
    """From `position, state, not_before, attempts, key, reason, held_at, replay`."""
    position, state, not_before, attempts, key, reason, held_at, replay = row
    return Held(position, HeldState(state), not_before, attempts, key, reason, held_at, replay)


def held_row(lane: LaneId, one: Held) -> Row:
    """Every column of the held row, in the order of the table."""
    told = (one.state, one.not_before, one.attempts, one.key, one.reason, one.held_at, one.replay)
    return (*place(lane), one.position, *told)
