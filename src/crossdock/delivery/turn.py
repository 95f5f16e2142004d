"""One turn of one lane: read, plan, send within the bounds, settle.

Everything that it has learned is settled, also when it is cut short; what it has not learned is repeated later, with
the same event id and the same body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from crossdock.delivery.opening import Opened, open_all
from crossdock.delivery.schedule import Bounds, Facts, Plan, Scene, Send, plan, skipped
from crossdock.delivery.sending import Gear, Sending, Trip
from crossdock.delivery.tally import Told, empty, ends_unsent, tally
from crossdock.journal.books import due_at
from crossdock.journal.port import LaneRead, LaneWish
from crossdock.model.contract import Batch, Collapse
from crossdock.model.entry import Entry
from crossdock.model.ids import START, Instant, Position
from crossdock.model.lane import Held, HeldState, LaneChange
from crossdock.model.limits import LANE_HELD_MAX, POLL_MS, READ_ENTRIES_MAX, WINDOW_ENTRIES_MAX


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a turn may do: `sends` in all, `at_once` of them in flight, `retries` of them retries (None: any).
    `fill_until`: an unfilled batch waits for it."""

    sends: int
    at_once: int
    fill_until: Instant | None = None
    retries: int | None = None


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """How a turn ended, and what it cost. `more`: there is work at once. `next_at`: else when there will be. `pause`:
    the connection has to be paused, and why. `stale`: the lane had moved or is another's, nothing was settled.
    `absent`: it could not be read, because its store moves."""

    cost: int = 0
    more: bool = False
    next_at: Instant | None = None
    pause: str | None = None
    stale: bool = False
    absent: bool = False
    fill_until: Instant | None = None


@dataclass(slots=True)
class Turn:
    """One turn of a lane."""

    trip: Trip

    async def run(self, allowance: Allowance) -> TurnEnd:
        now = self.trip.gear.clock()
        reads = await self.trip.gear.lanes.read([LaneWish(self.trip.way.lane, self._window())], now)
        if not reads or not reads[0].lane.open:
            return TurnEnd(absent=not reads)
        read, batch = reads[0], self.trip.way.route.batch
        if batch and not read.due and _filling(allowance, read.window, batch, now):
            return TurnEnd(next_at=allowance.fill_until, fill_until=allowance.fill_until)
        ready = await self._ready(read)
        opened = await self._opened(read, ready)
        made = self._planned(read, ready, opened, allowance, now)
        ended = await self._ended(made, opened)
        waited = allowance.fill_until is not None and allowance.fill_until <= now
        fill_until = None if waited else _fill_until(made, read, opened, batch, now)
        sending = Sending(self.trip, {row.position: row for row in read.held}, opened)
        try:
            if fill_until is None:
                await sending.send(made.chains(), allowance.at_once)
        finally:
            # Also when the turn is cancelled: what the far ends have answered is known, and counts.
            until = self.trip.gear.clock()
            change = tally(read.lane, made, sending.held, sending.tried, Told(tuple(sending.attempts), ended), until)
            settled = await settle(self.trip.gear, replace(change, fence=self.trip.fence))
        if not settled:
            return TurnEnd(cost=sending.cost, pause=sending.pause, stale=True)
        end = self._end(read, change, made.unfunded)
        if fill_until is not None:
            return replace(end, more=False, next_at=_sooner(end.next_at, fill_until), fill_until=fill_until)
        return replace(end, cost=sending.cost, pause=sending.pause)

    def _window(self) -> int:
        batch = self.trip.way.route.batch
        return min(READ_ENTRIES_MAX, max(WINDOW_ENTRIES_MAX, batch.items_max if batch else 0))

    async def _ready(self, read: LaneRead) -> dict[Position, tuple[Held, Entry]]:
        """The due rows, with those that wait behind them: they follow in the same turn once it succeeds."""
        ready = {row.position: (row, entry) for row, entry in read.due}
        leading = {row.key for row, _ in read.due if row.key}
        follows = any(row.state is HeldState.WAITING and row.key in leading for row in read.held)
        if not follows or self.trip.way.route.collapse is Collapse.LATEST_PER_KEY:
            return ready
        known = {row.position for row in read.held}
        waiting = await self.trip.gear.lanes.held(self.trip.way.lane, HeldState.WAITING, START, WINDOW_ENTRIES_MAX)
        for row, entry in waiting:
            if row.key in leading and row.position in known:
                ready.setdefault(row.position, (row, entry))
        return ready

    async def _opened(self, read: LaneRead, ready: Mapping[Position, tuple[Held, Entry]]) -> dict[Position, Opened]:
        fresh = [entry for entry in read.window if not skipped(read.lane.skips, entry.position)]
        entries = [entry for _, entry in ready.values()] + fresh
        rows = {position: row for position, (row, _) in ready.items()}
        return await open_all(self.trip.gear.journal, self.trip.way, self.trip.keys, entries, rows)

    async def _ended(self, made: Plan, opened: Mapping[Position, Opened]) -> dict[Position, Entry]:
        """The entries that the plan ends without a call. Of held ones that a newer state supersedes, most were not
        read with the lane."""
        found: dict[Position, Entry] = {}
        for action in ends_unsent(made):
            known = opened.get(action.position)
            lane = self.trip.way.lane
            entry = known.entry if known else await self.trip.gear.journal.entry(lane.store, action.position)
            if entry is not None:
                found[action.position] = entry
        return found

    def _planned(
        self,
        read: LaneRead,
        ready: Mapping[Position, tuple[Held, Entry]],
        opened: Mapping[Position, Opened],
        allowance: Allowance,
        now: Instant,
    ) -> Plan:
        scene = Scene(
            held=read.held,
            ready=frozenset(ready),
            window=tuple(entry.position for entry in read.window),
            skips=read.lane.skips,
        )
        facts: dict[Position, Facts] = {position: one.facts for position, one in opened.items()}
        collapse = self.trip.way.route.collapse is Collapse.LATEST_PER_KEY
        return plan(scene, facts, Bounds(allowance.sends, LANE_HELD_MAX, collapse, allowance.retries), now)

    def _end(self, read: LaneRead, change: LaneChange, unfunded: frozenset[Position]) -> TurnEnd:
        """What comes next for the lane as it stands after the change."""
        now = self.trip.gear.clock()
        rows = {row.position: row for row in read.held}
        for position in change.release:
            rows.pop(position, None)
        for row in change.hold:
            rows.pop(row.position, None)
            if row.state is not HeldState.PARKED:
                rows[row.position] = row
        left = tuple(rows[position] for position in sorted(rows))
        later = [row.not_before for row in left if row.state is HeldState.RETRYING and row.not_before > now]
        next_at = min(later, default=None)
        if unfunded:
            next_at = _sooner(next_at, max(self.trip.retries.ready_at(now), Instant(now + 1)))
        full = len(left) >= LANE_HELD_MAX
        more = any(row.position not in unfunded for row in due_at(left, now)) or (
            read.head > change.cursor_to and not full
        )
        if more and empty(change):
            # Nothing moved, so nothing will at once: the bounds of this turn were in the way.
            return TurnEnd(more=False, next_at=_sooner(next_at, Instant(now + POLL_MS)))
        return TurnEnd(more=more, next_at=next_at)


async def settle(gear: Gear, change: LaneChange) -> bool:
    """Settles a change and says so in one line; False if it was stale, and nothing was settled."""
    if empty(change):
        return True
    lane = change.lane
    (settled,) = await gear.lanes.settle([change])
    if not settled:
        gear.lines.write("delivery.stale", store=lane.store, connection=lane.connection, route=lane.route)
        return False
    parked = sum(row.state is HeldState.PARKED for row in change.hold)
    gear.lines.write(
        "delivery.settled",
        store=lane.store,
        connection=lane.connection,
        route=lane.route,
        delivered=change.counts.delivered,
        superseded=change.counts.superseded,
        filtered=change.counts.filtered,
        expired=change.counts.expired,
        held=len(change.hold) - parked,
        parked=parked,
        cursor=change.cursor_to,
    )
    return True


def _filling(allowance: Allowance, waiting: Sequence[Entry], batch: Batch, now: Instant) -> bool:
    return allowance.fill_until is not None and now < allowance.fill_until and not _full(waiting, batch)


def _full(entries: Sequence[Entry], batch: Batch) -> bool:
    """Whether they make a batch by their number or by their bytes, as they lie in the journal."""
    return len(entries) >= batch.items_max or sum(len(entry.body) for entry in entries) >= batch.body_bytes_max


def _fill_until(
    made: Plan, read: LaneRead, opened: Mapping[Position, Opened], batch: Batch | None, now: Instant
) -> Instant | None:
    """When an unfilled batch goes anyway; None when it goes now. One with a retry in it does not wait again."""
    sends = [action.position for action in (*made.held, *made.window) if isinstance(action, Send)]
    if batch is None or made.stopped or not sends or sends[0] <= read.lane.cursor:
        return None
    if _full([opened[position].entry for position in sends], batch):
        return None
    # The clock of whoever took it in may be ahead of this one: it waits no longer for that.
    since = min(now, *(opened[position].entry.received_at for position in sends))
    until = Instant(since + batch.wait_ms_max)
    return until if until > now else None


def _sooner(one: Instant | None, other: Instant | None) -> Instant | None:
    found = [at for at in (one, other) if at is not None]
    return min(found, default=None)
