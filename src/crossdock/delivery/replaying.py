"""Finds what a replay names: reads the lane's parked rows and, where asked, what its journal has of resolved ones."""

from __future__ import annotations

from crossdock.delivery.opening import KeysOf, open_all
from crossdock.delivery.replay import Candidate, ReplayPlan, Selection, chosen, plan_replay
from crossdock.journal.port import Journal, Lanes
from crossdock.model.errors import NotFound
from crossdock.model.ids import Instant, LaneId, Position
from crossdock.model.lane import HeldState, Lane
from crossdock.model.limits import READ_ENTRIES_MAX, REPLAY_EVENTS_MAX
from crossdock.stores.ways import Way, Ways


class Replays:
    """Plans replays. Whoever asked commits the writes, with the audit entry."""

    def __init__(self, journal: Journal, lanes: Lanes, ways: Ways, keys: KeysOf) -> None:
        self._journal = journal
        self._lanes = lanes
        self._ways = ways
        self._keys = keys

    async def plan(self, lane: LaneId, selection: Selection, now: Instant, *, force: bool = False) -> ReplayPlan:
        """NotFound (CD4012) for a lane that is not there; Conflict (CD4011) where the route refuses."""
        row, way = await self._lanes.lane(lane), await self._ways.way(lane)
        if row is None or way is None:
            raise NotFound("CD4012", "There is no such lane.", remedy="Enable the connection first.")
        found = await self._parked(lane, selection)
        if not selection.parked_only and selection.reason is None:
            found += await self._resolved(row, way, selection)
        return plan_replay(lane, way.route, chosen(selection, found), now, force=force)

    async def _parked(self, lane: LaneId, selection: Selection) -> list[Candidate]:
        found: list[Candidate] = []
        after = selection.after
        while rows := await self._lanes.held(lane, HeldState.PARKED, after, READ_ENTRIES_MAX):
            found += [Candidate(entry, row.key, row) for row, entry in rows if selection.fits(entry, row.key)]
            after = rows[-1][0].position
            if len(found) > REPLAY_EVENTS_MAX or not selection.covers(Position(after + 1)):
                break
        return found

    async def _resolved(self, row: Lane, way: Way, selection: Selection) -> list[Candidate]:
        """What the route wanted and is neither held nor ahead. Stops when one replay's bound is reached."""
        keys = await self._keys(row.id.store)
        held = await self._held(row.id)
        found: list[Candidate] = []
        after = Position(max(row.start, selection.after))
        to = row.cursor if selection.to is None else min(row.cursor, selection.to)
        while keys is not None and after < to and len(found) <= REPLAY_EVENTS_MAX:
            entries = await self._journal.read(row.id.store, after, min(READ_ENTRIES_MAX, to - after))
            if not entries:
                break
            after = entries[-1].position
            loose = [entry for entry in entries if entry.position not in held]
            for one in (await open_all(self._journal, way, keys, loose, {})).values():
                if one.facts.wanted and one.facts.trouble is None and selection.fits(one.entry, one.facts.key):
                    found.append(Candidate(one.entry, one.facts.key))
        return found

    async def _held(self, lane: LaneId) -> set[Position]:
        held: set[Position] = set()
        after = Position(0)
        while rows := await self._lanes.held(lane, None, after, READ_ENTRIES_MAX):
            held.update(row.position for row, _ in rows)
            after = rows[-1][0].position
        return held
