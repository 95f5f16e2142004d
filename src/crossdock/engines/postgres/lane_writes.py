"""What the control plane does to lanes, each under the lock of the lane's row; `lanes.unresolved` stays exact."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from crossdock.engines.postgres.append import columns
from crossdock.engines.postgres.lanes import places
from crossdock.engines.postgres.pool import Unit
from crossdock.engines.postgres.rows import LaneRow, held_of, held_row, lane_of, lane_row, place, skips_text
from crossdock.engines.refusals import moved, unequal_keys
from crossdock.journal.books import replayed_held, replayed_resolved, skips_when_opened
from crossdock.model.contract import Queued
from crossdock.model.ids import START, Instant, LaneId, Position
from crossdock.model.lane import Counts, Held, HeldState, Lane
from crossdock.stores.port import CloseLane, OpenLane, ReplayHeld, ReplayResolved, Write

LaneWrite = OpenLane | CloseLane | ReplayHeld | ReplayResolved


async def lock_lanes(unit: Unit, writes: Iterable[Write]) -> None:
    """Locks every lane that the writes name, in the order in which settles lock them: so the two never wait for each
    other in a ring."""
    lanes = sorted({write.lane for write in writes if isinstance(write, LaneWrite)})
    if len(lanes) > 1:
        await unit.rows("lock_lanes", *places(lanes))


async def write_lane(unit: Unit, write: LaneWrite, now: Instant) -> None:
    match write:
        case OpenLane(lane):
            await open_lane(unit, lane)
        case CloseLane(lane, queued):
            await close_lane(unit, lane, queued)
        case ReplayHeld():
            await replay_held(unit, write)
        case ReplayResolved():
            await replay_resolved(unit, write, now)


async def open_lane(unit: Unit, lane: LaneId) -> None:
    """Of two that open a new lane at once the second finds it open."""
    row = await _locked(unit, lane)
    head = await _head(unit, lane)
    if row is None:
        new = LaneRow(Lane(lane, start=head, cursor=head, open=True), START)
        if await unit.run("add_lane", *lane_row(new)):
            return
        row = await _standing(unit, lane)
        head = await _head(unit, lane)
    if not row.lane.open:
        skips = skips_when_opened(row.lane, row.closed_head, head)
        await _change(unit, replace(row, lane=replace(row.lane, open=True, skips=skips)))


async def close_lane(unit: Unit, lane_id: LaneId, queued: Queued) -> None:
    """Discarding moves the epoch, so that a turn under way settles nothing any more."""
    row = await _locked(unit, lane_id)
    if row is None or not row.lane.open:
        return
    # After the lane is locked: the head is not behind its cursor.
    head = await _head(unit, lane_id)
    lane, unresolved = replace(row.lane, open=False), row.unresolved
    if queued is Queued.DISCARD:
        released = await unit.run("discard_held", *place(lane_id))
        gone = Counts(expired=head - lane.cursor + released)
        lane = replace(lane, cursor=head, counts=lane.counts.plus(gone), skips=(), epoch=lane.epoch + 1)
        unresolved = 0
    await _change(unit, replace(row, lane=lane, closed_head=head, unresolved=unresolved))


async def replay_held(unit: Unit, write: ReplayHeld) -> None:
    row = await _standing(unit, write.lane)
    held = await _held(unit, write.lane, write.positions)
    parked = [one for one in held.values() if one.state is HeldState.PARKED]
    await _hold(unit, write.lane, [replayed_held(one, write.not_before) for one in parked])
    await _change(unit, replace(row, unresolved=row.unresolved + len(parked)))


async def replay_resolved(unit: Unit, write: ReplayResolved, now: Instant) -> None:
    if len(write.positions) != len(write.keys):
        raise unequal_keys(write.lane)
    row = await _standing(unit, write.lane)
    keys = dict(zip(write.positions, write.keys, strict=True))
    held = await _held(unit, write.lane, keys)
    new = [
        replayed_resolved(position, key, write.not_before, now)
        for position, key in keys.items()
        if START < position <= row.lane.cursor and position not in held
    ]
    await _hold(unit, write.lane, new)
    lane = replace(row.lane, replayed=row.lane.replayed + len(new))
    await _change(unit, replace(row, lane=lane, unresolved=row.unresolved + len(new)))


async def _locked(unit: Unit, lane: LaneId) -> LaneRow | None:
    rows = await unit.rows("lock_lanes", *places([lane]))
    return next((found for found in map(lane_of, rows) if found.lane.id == lane), None)


async def _standing(unit: Unit, lane: LaneId) -> LaneRow:
    row = await _locked(unit, lane)
    if row is None:
        raise moved(f"The lane {lane}")
    return row


async def _head(unit: Unit, lane: LaneId) -> Position:
    return next((Position(row[0]) for row in await unit.rows("head", lane.store)), START)


async def _held(unit: Unit, lane: LaneId, positions: Collection[Position]) -> dict[Position, Held]:
    """Those of the positions that are held."""
    rows = [held_of(row) for row in await unit.rows("held_among", *place(lane), list(positions))]
    return {row.position: row for row in rows}


async def _hold(unit: Unit, lane: LaneId, rows: Collection[Held]) -> None:
    if rows:
        await unit.run("put_held", *columns((held_row(lane, one) for one in rows), 0))


async def _change(unit: Unit, row: LaneRow) -> None:
    lane = row.lane
    sums = (row.closed_head, lane.counts.expired, lane.replayed, skips_text(lane.skips), lane.epoch, row.unresolved)
    await unit.run("change_lane", *place(lane.id), lane.cursor, lane.open, *sums)
