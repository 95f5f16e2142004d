"""The deliverer: which lane has its turn when. Lanes without work cost nothing; no lane has two turns at once.

What wakes a lane: news of its store (a hint from the journal), its own timer (a retry that comes due, a rest that
ends), a change of its connection, and the slow poll of the journal heads, which is the truth when hints are lost.
Nothing is shared between stores but the caps.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol, TypeAlias

from crossdock.delivery.agenda import Agenda, Flow, LaneWork
from crossdock.delivery.fairness import Caps, Meter, Pace, RoundRobin
from crossdock.delivery.sending import Gear, Trip
from crossdock.delivery.turn import Allowance, Turn, TurnEnd
from crossdock.model.connection import ConnectionState, CoreMode
from crossdock.model.contract import Direction
from crossdock.model.errors import CrossdockError
from crossdock.model.ids import ConnectionId, Instant, LaneId, Position, StoreId
from crossdock.model.limits import (
    DRAIN_SECONDS,
    LANE_IN_FLIGHT_MAX,
    POLL_MS,
    QUANTUM_SENDS,
    SECOND_MS,
    TURN_RETRY_MS,
    WINDOW_ENTRIES_MAX,
)
from crossdock.stores.port import (
    AddRevision,
    Change,
    CloseLane,
    MoveConnection,
    OpenLane,
    PutCoreEndpoint,
    PutCredential,
    ReplayHeld,
    ReplayResolved,
    Write,
)
from crossdock.stores.ways import Way

Waiter: TypeAlias = "Callable[[asyncio.Event, int], Awaitable[None]]"
CORE_DRIVER = "core-push/1"


class Pauser(Protocol):
    """Pauses a connection on delivery's behalf: the state, the reason and the audit entry in one change."""

    async def pause(self, store: StoreId, connection: ConnectionId, reason: str) -> None:
        """Does nothing where the connection is not enabled any more."""
        ...


async def wait_for_stir(stir: asyncio.Event, wait_ms: int) -> None:
    """Until `stir` is set, or `wait_ms` have passed."""
    try:
        await asyncio.wait_for(stir.wait(), wait_ms / SECOND_MS)
    except TimeoutError:
        return


class Deliverer:
    """Runs the lanes of the stores that this process serves."""

    def __init__(self, gear: Gear, pauser: Pauser, wait: Waiter = wait_for_stir, caps: Caps | None = None) -> None:
        self._gear = gear
        self._pauser = pauser
        self._wait = wait
        self._caps = caps or Caps()
        self._agenda = Agenda()
        self._turns: RoundRobin[Flow] = RoundRobin(QUANTUM_SENDS)
        self._paces: dict[tuple[ConnectionId, Direction], Pace] = {}
        self._heads: dict[StoreId, Position] = {}
        self._mark: int | None = None
        self._timers: list[tuple[Instant, LaneId]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._stir = asyncio.Event()
        self._stopping = False

    async def load(self) -> None:
        """Takes up every open lane, each with a first look."""
        for lane in await self._gear.lanes.open_lanes():
            self._agenda.add(lane.id)
            self._queue(lane.id)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; then the turns under way end, those that take longer than DRAIN_SECONDS are cut short, and what
        they have learned is settled."""
        self._stopping = False
        await self.load()
        async with asyncio.TaskGroup() as group:
            relay = group.create_task(self._relay(stop))
            try:
                await self._loop(stop, group)
            finally:
                self._stopping = True
                relay.cancel()
                await self._drain()

    async def turn_once(self, lane: LaneId) -> TurnEnd | None:
        """One turn of one lane now, if it may have one. None if it may not."""
        self._agenda.add(lane)
        work = self._agenda.lanes[lane]
        if work.running or self._caps.take(lane.store, lane.connection, 1) == 0:
            return None
        try:
            return await self._turn(work, WINDOW_ENTRIES_MAX)
        finally:
            self._caps.give_back(lane.store, lane.connection, 1)

    async def work_off(self) -> int:
        """Runs turns until nothing is left to do at this instant; how many. For tests and for one-shot runs."""
        turns = 0
        await self._poll()
        self._ripen()
        async with asyncio.TaskGroup() as group:
            while self._start(group) or self._tasks:
                turns += len(self._tasks)
                await asyncio.wait(self._tasks)
                self._ripen()
        return turns

    def wake(self, stores: Iterable[StoreId]) -> None:
        """These stores have news. Cheap: it may be called after every commit."""
        for store in stores:
            for lane in self._agenda.by_store.get(store, ()):
                self._queue(lane)

    def changed(self, change: Change) -> None:
        """What a change of the registry means for the lanes."""
        for write in change.writes:
            self._changed(write)

    def next_at(self) -> Instant | None:
        """When the next timer rings, if one is set."""
        return self._timers[0][0] if self._timers else None

    def pace_of(self, lane: LaneId) -> Pace | None:
        """What has been learned of a lane's far end, for the figures."""
        found = [pace for (connection, _), pace in self._paces.items() if connection == lane.connection]
        return found[0] if found else None

    def _changed(self, write: Write) -> None:
        match write:
            case OpenLane(lane):
                self._agenda.add(lane)
                self._queue(lane)
            case CloseLane(lane):
                self._agenda.drop(lane)
                self._forget(lane.connection)
            case ReplayHeld(lane) | ReplayResolved(lane):
                self._queue(lane)
                self._set_timer(lane, write.not_before)
            case MoveConnection(connection):
                self._fresh(connection.store, connection.id)
            case AddRevision(revision):
                self._fresh(revision.store, revision.connection)
            case PutCredential(credential):
                self._fresh(credential.store, credential.connection)
            case PutCoreEndpoint(endpoint):
                self._fresh(endpoint.store, None)
            case _:
                return

    def _fresh(self, store: StoreId, connection: ConnectionId | None) -> None:
        """Something about the far end is new: what was learned of it no longer holds."""
        for lane in self._agenda.of(store, connection):
            self._forget(lane.connection)
            self._queue(lane)

    def _forget(self, connection: ConnectionId) -> None:
        for direction in Direction:
            self._paces.pop((connection, direction), None)

    async def _loop(self, stop: asyncio.Event, group: asyncio.TaskGroup) -> None:
        poll_at = self._gear.elapsed()
        while not stop.is_set():
            self._stir.clear()
            if self._gear.elapsed() >= poll_at:
                await self._poll()
                poll_at = self._gear.elapsed() + POLL_MS / SECOND_MS
            self._ripen()
            self._start(group)
            wait_ms = max(1, int((poll_at - self._gear.elapsed()) * SECOND_MS))
            next_at = self.next_at()
            if next_at is not None:
                wait_ms = max(1, min(wait_ms, next_at - self._gear.clock()))
            await self._wait(self._stir, wait_ms)

    async def _relay(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._stir.set()

    async def _poll(self) -> None:
        try:
            moved = await self._gear.journal.moved(self._mark)
            if not moved.whole:
                await self.load()
        except CrossdockError as error:
            self._failed(None, error)
            return
        self._mark = moved.mark
        for store, head in moved.heads.items():
            if self._heads.get(store) != head:
                self._heads[store] = head
                self.wake((store,))

    async def _drain(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=DRAIN_SECONDS)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _queue(self, lane: LaneId) -> None:
        work = self._agenda.lanes.get(lane)
        if work is None or work.queued:
            return
        if work.running:
            work.again = True
            return
        work.queued = True
        flow = lane.store, lane.connection
        self._agenda.ready.setdefault(flow, deque()).append(lane)
        self._turns.enter(flow)
        self._stir.set()

    def _set_timer(self, lane: LaneId, at: Instant) -> None:
        work = self._agenda.lanes.get(lane)
        if work is None or (work.timer is not None and work.timer <= at):
            return
        work.timer = at
        heapq.heappush(self._timers, (at, lane))
        self._stir.set()

    def _ripen(self) -> None:
        """Lanes whose timer has rung are queued. A timer that was replaced by an earlier one rings for nothing."""
        now = self._gear.clock()
        while self._timers and self._timers[0][0] <= now:
            at, lane = heapq.heappop(self._timers)
            work = self._agenda.lanes.get(lane)
            if work is not None and work.timer == at:
                work.timer = None
                self._queue(lane)

    def _start(self, group: asyncio.TaskGroup) -> bool:
        """Starts every turn that there is room for."""
        started = False
        while not self._stopping and (found := self._turns.next(self._able)) is not None:
            flow, allowed = found
            lane = self._agenda.ready[flow].popleft()
            work = self._agenda.lanes.get(lane)
            if work is None:
                self._rest(flow)
                continue
            work.queued, work.running, started = False, True, True
            # One sender is its own from the start, so that no more turns begin than can send.
            self._caps.take(*flow, 1)
            task = group.create_task(self._serve(work, allowed))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return started

    def _able(self, flow: Flow) -> bool:
        return bool(self._agenda.ready.get(flow)) and self._caps.room(*flow) > 0

    def _rest(self, flow: Flow) -> None:
        """A flow with nothing queued loses its place."""
        if not self._agenda.ready.get(flow):
            self._agenda.ready.pop(flow, None)
            self._turns.leave(flow)

    async def _serve(self, work: LaneWork, allowed: int) -> None:
        end: TurnEnd | None = None
        flow = work.lane.store, work.lane.connection
        try:
            end = await self._turn(work, allowed)
        except Exception as error:  # noqa: BLE001  # the bulkhead between lanes: one that fails is told and tried again
            self._failed(work.lane, error)
            end = TurnEnd(next_at=Instant(self._gear.clock() + TURN_RETRY_MS))
        finally:
            work.running = False
            self._caps.give_back(*flow, 1)
            if end is not None:
                self._turns.charge(flow, end.sends)
                self._after(work, end)
            self._rest(flow)
            self._stir.set()

    def _after(self, work: LaneWork, end: TurnEnd) -> None:
        work.fill_until = end.fill_until
        again, work.again = work.again, False
        if end.next_at is not None:
            self._set_timer(work.lane, end.next_at)
        if end.more or again:
            self._queue(work.lane)

    async def _turn(self, work: LaneWork, allowed: int) -> TurnEnd | None:
        trip = await self._trip(work)
        if trip is None:
            return None
        now, lane = self._gear.clock(), work.lane
        if not trip.pace.open_at(now):
            return TurnEnd(next_at=trip.pace.ready_at())
        if trip.meter is not None and trip.meter.spare(now) == 0:
            return TurnEnd(next_at=trip.meter.ready_at(now))
        at_once, sends = trip.pace.begin(now, self._gear.dice)
        taken = self._caps.take(lane.store, lane.connection, at_once - 1)
        try:
            bound = self._sends(trip, allowed if sends is None else sends, now)
            end = await Turn(trip).run(Allowance(bound, 1 + taken, work.fill_until))
        finally:
            self._caps.give_back(lane.store, lane.connection, taken)
        if end.pause is not None:
            await self._pause(lane, end.pause)
        if not trip.pace.open_at(self._gear.clock()):
            # What waits, waits for the far end to have rested: its own times come after that.
            return TurnEnd(end.sends, next_at=trip.pace.ready_at(), pause=end.pause)
        return end

    def _sends(self, trip: Trip, calls: int, now: Instant) -> int:
        """How many events the turn may send: `calls`, or what the rate leaves, each a batch where there is one."""
        spare = calls if trip.meter is None else min(calls, trip.meter.spare(now))
        batch = trip.way.route.batch
        return spare * batch.items_max if batch is not None else spare

    async def _trip(self, work: LaneWork) -> Trip | None:
        """None where the lane is not to be run now: closed, paused, pulled by the core, or not configured."""
        way = await self._gear.ways.way(work.lane)
        if way is None or way.state is not ConnectionState.ENABLED or way.core is CoreMode.PULL:
            return None
        driver = self._gear.drivers.get(driver_of(way))
        keys = await self._gear.keys(work.lane.store)
        if driver is None or keys is None:
            self._failed(work.lane, None)
            return None
        rule = way.route.delivery
        concurrency = min(rule.concurrency, LANE_IN_FLIGHT_MAX)
        pace = self._paces.setdefault((work.lane.connection, way.route.direction), Pace(concurrency))
        pace.bound(concurrency)
        if work.meter is None or work.meter.rate != rule.rate:
            work.meter = None if rule.rate is None else Meter(rule.rate)
        return Trip(self._gear, way, keys, driver, pace, work.meter, lambda: self._stopping)

    async def _pause(self, lane: LaneId, reason: str) -> None:
        await self._pauser.pause(lane.store, lane.connection, reason)
        self._gear.lines.write("delivery.paused", store=lane.store, connection=lane.connection, reason=reason)

    def _failed(self, lane: LaneId | None, error: Exception | None) -> None:
        self._gear.lines.write(
            "delivery.failed",
            store=lane.store if lane else None,
            connection=lane.connection if lane else None,
            route=lane.route if lane else None,
            error=type(error).__name__ if error else "NotConfigured",
            code=error.code if isinstance(error, CrossdockError) else "CD4003",
        )


def driver_of(way: Way) -> str:
    """The driver's name: what comes in goes to the core by the one protocol that the core speaks."""
    return CORE_DRIVER if way.route.direction is Direction.INBOUND else way.route.driver
