"""What the deliverer remembers of lanes between their turns: only of those that wait, run or have a timer."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from crossdock.delivery.fairness import Flow, Latency, Turns
from crossdock.journal.slots import slot_of
from crossdock.model.ids import Instant, LaneId, StoreId


@dataclass(slots=True)
class LaneWork:
    """A lane with something to do. `queued`: it waits for its turn; `running`: it has it; `again`: news came meanwhile;
    `dropped`: what the turn under way ends with is nobody's business any more. `latency`: the class that its turn is
    charged to."""

    lane: LaneId
    slot: int
    queued: bool = False
    running: bool = False
    again: bool = False
    dropped: bool = False
    timer: Instant | None = None
    fill_until: Instant | None = None
    latency: Latency = Latency.FAST


@dataclass(slots=True)
class Agenda:
    """The lanes that have something to do. `has` says which slots are this process's own: lanes of others never get in.
    `latency` says which class a connection is in, `weight` what share of the senders a store has.

    No lane has two turns at once."""

    has: Callable[[int], bool]
    latency: Callable[[Flow], Latency] = lambda _: Latency.FAST
    weight: Callable[[StoreId], int] = lambda _: 1
    lanes: dict[LaneId, LaneWork] = field(default_factory=dict)
    _ready: dict[Flow, deque[LaneId]] = field(default_factory=dict)
    _turns: dict[Latency, Turns] = field(default_factory=lambda: {latency: Turns() for latency in Latency})
    _within: dict[Flow, Latency] = field(default_factory=dict)
    _timers: list[tuple[Instant, LaneId]] = field(default_factory=list)

    def queue(self, lane: LaneId) -> None:
        """The lane gets a turn, or one more if it has one."""
        work = self._work(lane)
        if work is None or work.queued:
            return
        if work.running:
            work.again = True
            return
        work.queued = True
        flow = lane.store, lane.connection
        self._ready.setdefault(flow, deque()).append(lane)
        self._enter(flow)

    def at(self, lane: LaneId, at: Instant) -> None:
        """The lane gets a turn at this time, if it has none before."""
        work = self._work(lane)
        if work is not None and (work.timer is None or at < work.timer):
            work.timer = at
            heapq.heappush(self._timers, (at, lane))

    def next_at(self) -> Instant | None:
        """When the next timer rings, if one is set."""
        return self._timers[0][0] if self._timers else None

    def ripen(self, now: Instant) -> None:
        """Lanes whose timer has rung are queued. A timer that was replaced by an earlier one rings for nothing."""
        while self._timers and self._timers[0][0] <= now:
            at, lane = heapq.heappop(self._timers)
            work = self.lanes.get(lane)
            if work is not None and work.timer == at:
                work.timer = None
                self.queue(lane)

    def take(
        self, latency: Latency, store_able: Callable[[StoreId], bool], able: Callable[[Flow], bool]
    ) -> tuple[LaneWork, int] | None:
        """The next lane of the class, which now runs, with what it may spend. `done` must follow."""
        while (found := self._turns[latency].next(store_able, able)) is not None:
            flow, allowed = found
            work = self.lanes.get(self._ready[flow].popleft())
            if work is not None and work.queued and not work.running:
                self.run(work)
                work.latency = latency
                return work, allowed
            self._rest(flow)
        return None

    def run(self, work: LaneWork) -> None:
        work.queued, work.running = False, True

    def begin(self, lane: LaneId) -> LaneWork | None:
        """As `take`, for this lane; None if it may not run now."""
        work = self._work(lane)
        if work is None or work.running:
            return None
        self.run(work)
        return work

    def done(self, work: LaneWork, cost: int, next_at: Instant | None, more: bool) -> None:
        """The turn has ended."""
        flow = work.lane.store, work.lane.connection
        again = work.again or (more and not work.dropped)
        next_at = None if work.dropped else next_at
        work.running = work.again = work.dropped = False
        self._turns[work.latency].charge(flow, cost)
        if next_at is not None:
            self.at(work.lane, next_at)
        if again:
            self.queue(work.lane)
        self._forget_idle(work)
        self._rest(flow)

    def drop(self, lanes: Collection[LaneId]) -> None:
        """These lanes are not to be run any more. A turn under way ends, and has no next."""
        for lane in lanes:
            work = self.lanes.get(lane)
            if work is not None:
                work.queued, work.again, work.dropped = False, False, work.running
                work.timer = work.fill_until = None
                self._forget_idle(work)
        self._timers = [(at, lane) for at, lane in self._timers if lane in self.lanes]
        heapq.heapify(self._timers)

    def of_slots(self, slots: Collection[int]) -> list[LaneId]:
        return [lane for lane, work in self.lanes.items() if work.slot in slots]

    def _work(self, lane: LaneId) -> LaneWork | None:
        work = self.lanes.get(lane)
        if work is None:
            work = LaneWork(lane, slot_of(lane.store, lane.connection))
            if not self.has(work.slot):
                return None
            self.lanes[lane] = work
        return work if self.has(work.slot) else None

    def _forget_idle(self, work: LaneWork) -> None:
        if not (work.queued or work.running) and work.timer is None:
            self.lanes.pop(work.lane, None)

    def _rest(self, flow: Flow) -> None:
        """A flow with nothing queued loses its place."""
        if not self._ready.get(flow):
            self._ready.pop(flow, None)
            self._turns[self._within.pop(flow, Latency.FAST)].leave(flow)
        else:
            self._enter(flow)

    def _enter(self, flow: Flow) -> None:
        """Among those of its class, which may be another one now."""
        latency, was = self.latency(flow), self._within.get(flow)
        if was is not None and was is not latency:
            self._turns[was].leave(flow)
        self._within[flow] = latency
        self._turns[latency].enter(flow, self.weight(flow[0]))

    def stores(self) -> set[StoreId]:
        """Those with something to do."""
        return {lane.store for lane in self.lanes}

    def waits(self, flow: Flow) -> bool:
        """Whether a lane of the flow waits for its turn."""
        return bool(self._ready.get(flow))
