"""The deliverer: which lane has its turn when. A lane with nothing to do is a row that nobody reads.

What wakes a lane: news of its store (a hint from the journal), its own timer (a retry that comes due, a rest that
ends), a change of its connection, its slot's coming here, and the slow poll of what moved, which is the truth when
hints are lost. Nothing is shared between stores but the caps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Protocol

from crossdock.delivery.agenda import Agenda, LaneWork
from crossdock.delivery.fairness import Caps, Flow, Latency
from crossdock.delivery.known_lanes import KnownLanes
from crossdock.delivery.learned import Learned
from crossdock.delivery.ownership import Ownership
from crossdock.delivery.pace import BreakerState
from crossdock.delivery.sending import Gear
from crossdock.delivery.trips import Trips, in_events, sends_of, told
from crossdock.delivery.turn import Allowance, Turn, TurnEnd
from crossdock.model.errors import CrossdockError
from crossdock.model.ids import ConnectionId, Instant, LaneId, Position, StoreId
from crossdock.model.lane import Fence
from crossdock.model.limits import (
    DRAIN_SECONDS,
    FADE_MS,
    POLL_MS,
    SECOND_MS,
    STORES_ASKED_MAX,
    TURN_RETRY_MS,
    WINDOW_ENTRIES_MAX,
)
from crossdock.stores.port import (
    AddRevision,
    Change,
    Changes,
    CloseLane,
    MoveConnection,
    OpenLane,
    PutCoreEndpoint,
    PutCredential,
    ReplayHeld,
    ReplayResolved,
    Write,
)
from crossdock.stores.waiting import Waiter, wait_until


class Pauser(Protocol):
    """Pauses a connection on delivery's behalf: the state, the reason and the audit entry in one change."""

    async def pause(self, store: StoreId, connection: ConnectionId, reason: str) -> None:
        """Does nothing where the connection is not enabled any more."""
        ...


class Deliverer:
    """Runs the lanes of the slots that this process owns."""

    def __init__(
        self,
        gear: Gear,
        pauser: Pauser,
        ownership: Ownership,
        wait: Waiter = wait_until,
        caps: Caps | None = None,
    ) -> None:
        self._gear = gear
        self._pauser = pauser
        self._ownership = ownership
        self._wait = wait
        self._caps = caps or Caps()
        self._known = KnownLanes(gear.lanes)
        self._learned = Learned()
        self._agenda = Agenda(ownership.has, self._learned.latency, self._learned.weight)
        self._trips = Trips(gear, self._learned)
        self._news: dict[StoreId, None] = {}
        self._unseen: set[int] = set()
        self._doubted: dict[LaneId, None] = {}
        self._heads: dict[StoreId, Position] = {}
        self._mark: int | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._stir = asyncio.Event()
        self._stopping = False

    async def load(self) -> None:
        """Joins, and takes up every lane of its slots that has something to do."""
        await self._beat()
        await self._look()

    async def run(self, stop: asyncio.Event, drain_seconds: int = DRAIN_SECONDS) -> None:
        """Until `stop`; then the turns under way end, those that take longer than `drain_seconds` are cut short, what
        they have learned is settled, and the slots are given up."""
        self._stopping = False
        await self._beat()
        async with asyncio.TaskGroup() as group:
            others = [group.create_task(self._relay(stop)), group.create_task(self._beats())]
            try:
                await self._loop(stop, group)
            finally:
                self._stopping = True
                await self._drain(drain_seconds)
                for task in others:
                    task.cancel()
        await self._leave()

    async def turn_once(self, lane: LaneId) -> TurnEnd | None:
        """One turn of one lane now, if it may have one. None if it may not."""
        await self._beat_if_due()
        work = self._agenda.begin(lane)
        if work is None:
            return None
        end: TurnEnd | None = None
        taken = self._caps.take(lane.store, lane.connection, 1)
        fence = self._ownership.enter(work.slot) if taken else None
        try:
            end = await self._turn(work, fence, WINDOW_ENTRIES_MAX) if fence is not None else None
        finally:
            self._caps.give_back(lane.store, lane.connection, taken)
            self._after(work, fence, end)
        return end

    async def work_off(self) -> int:
        """Runs turns until nothing is left to do at this instant; how many. For tests and for one-shot runs."""
        turns = 0
        await self._beat_if_due()
        await self._poll()
        async with asyncio.TaskGroup() as group:
            while await self._round(group) or self._tasks:
                turns += len(self._tasks)
                if self._tasks:
                    await asyncio.wait(self._tasks)
                await self._beat_if_due()
        return turns

    def wake(self, stores: Iterable[StoreId]) -> None:
        """These stores have news. Cheap: it may be called after every commit."""
        # In an order that does not hang on the hash of a name: the same news make the same run.
        self._news.update(dict.fromkeys(sorted(stores)))
        self._stir.set()

    def changed(self, change: Change) -> None:
        """What a change of the registry by this process means for the lanes."""
        for write in change.writes:
            self._changed(write)
        self._stir.set()

    def refresh(self, changes: Changes) -> None:
        """Other processes have changed something about these stores."""
        self._known.forget(changes.stores)
        self._learned.reconsider(changes.stores, self._gear.clock())
        self.wake(changes.stores)

    def next_at(self) -> Instant | None:
        """When the next timer rings, if one is set."""
        return self._agenda.next_at()

    def kept(self) -> Mapping[str, int]:
        """How much is kept in memory: lanes with something to do, stores whose lanes are known, far ends learned of."""
        return {"lanes": len(self._agenda.lanes), "stores": len(self._known), "far_ends": len(self._learned.paces)}

    def _changed(self, write: Write) -> None:
        match write:
            case OpenLane(lane):
                self._known.forget((lane.store,))
                self._agenda.queue(lane)
            case CloseLane(lane):
                self._known.forget((lane.store,))
                self._agenda.drop((lane,))
                self._learned.forget(lane.store, lane.connection)
            case ReplayHeld(lane) | ReplayResolved(lane):
                self._agenda.queue(lane)
                self._agenda.at(lane, write.not_before)
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
        self._learned.forget(store, connection)
        self._news[store] = None

    async def _loop(self, stop: asyncio.Event, group: asyncio.TaskGroup) -> None:
        poll_at = fade_at = self._gear.elapsed()
        while not stop.is_set():
            self._stir.clear()
            if self._gear.elapsed() >= poll_at:
                await self._poll()
                poll_at = self._gear.elapsed() + POLL_MS / SECOND_MS
            if self._gear.elapsed() >= fade_at:
                self._learned.fade(self._gear.clock(), self._caps.connections.__contains__, self._agenda.stores())
                fade_at = self._gear.elapsed() + FADE_MS / SECOND_MS
            await self._round(group)
            wait_ms = max(1, int((poll_at - self._gear.elapsed()) * SECOND_MS))
            next_at = self.next_at()
            if next_at is not None:
                wait_ms = max(1, min(wait_ms, next_at - self._gear.clock()))
            await self._wait(self._stir, wait_ms)

    async def _relay(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._stir.set()

    async def _beats(self) -> None:
        while True:
            await self._wait(self._ownership.asked, self._ownership.wait_ms())
            await self._beat()

    async def _beat_if_due(self) -> None:
        if self._ownership.due():
            await self._beat()

    async def _beat(self) -> None:
        """Whatever is wrong, the lease is asked for again at its time; past its end nothing is sent meanwhile."""
        owner, late_ms = self._ownership, self._ownership.late_ms()
        try:
            turnover = await owner.beat()
        except Exception as error:  # noqa: BLE001  # told, and tried again: without beats this process does nothing
            told(self._gear.lines, None, error)
            return
        if late_ms:
            self._gear.lines.write("delivery.lapsed", member=owner.member, late_ms=late_ms)
        self._agenda.drop(self._agenda.of_slots(turnover.lost))
        self._unseen.update(turnover.gained)
        if turnover.gained or turnover.lost:
            counts = {"gained": len(turnover.gained), "lost": len(turnover.lost), "owned": len(owner.slots)}
            self._gear.lines.write("delivery.slots", member=owner.member, members=owner.members, **counts)
        # A settle was refused, and now it is known that the lane is still this process's own.
        for lane in self._doubted:
            self._agenda.queue(lane)
        self._doubted.clear()
        self._stir.set()

    async def _leave(self) -> None:
        try:
            await self._ownership.leave()
        except Exception as error:  # noqa: BLE001  # the lease ends by itself
            told(self._gear.lines, None, error)

    async def _poll(self) -> None:
        try:
            moved = await self._gear.journal.moved(self._mark)
        except CrossdockError as error:
            told(self._gear.lines, None, error)
            return
        if not moved.whole:
            self._unseen.update(self._ownership.slots)
        # A store may be named again although nothing came since.
        self._news.update((store, None) for store, head in moved.heads.items() if self._heads.get(store) != head)
        self._mark, self._heads = moved.mark, dict(moved.heads)

    async def _round(self, group: asyncio.TaskGroup) -> bool:
        """Takes up what there is to do, and starts every turn that there is room for; whether there is more to do."""
        more = await self._look()
        self._agenda.ripen(self._gear.clock())
        return self._start(group) or more

    async def _look(self) -> bool:
        """Queues the lanes of slots that came here, and those of stores with news; whether more stores have news."""
        stores = list(islice(self._news, STORES_ASKED_MAX))
        for store in stores:
            del self._news[store]
        slots, self._unseen = self._unseen, set()
        try:
            if slots:
                for lane in await self._gear.lanes.stirring(slots):
                    self._agenda.queue(lane)
                slots = set()
            for lane in await self._known.of(stores):
                self._agenda.queue(lane)
        except CrossdockError as error:
            told(self._gear.lines, None, error)
            self._news.update(dict.fromkeys(stores))
            self._unseen |= slots
            return False
        if self._news:
            self._stir.set()
        return bool(self._news)

    async def _drain(self, seconds: int) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _start(self, group: asyncio.TaskGroup) -> bool:
        """Starts every turn that there is room for."""
        return any([self._start_of(latency, group) for latency in Latency])

    def _start_of(self, latency: Latency, group: asyncio.TaskGroup) -> bool:
        started = False
        while self._may_start(latency) and (found := self._agenda.take(latency, self._open_to, self._able)) is not None:
            work, allowed = found
            fence = self._ownership.enter(work.slot)
            if fence is None:
                # The slot has gone, or the lease has ended this very moment.
                self._doubted[work.lane] = None
                self._agenda.done(work, 0, None, more=False)
                continue
            started = True
            self._caps.sort(work.lane.connection, latency)
            # One sender is its own from the start, so that no more turns begin than can send.
            self._caps.take(work.lane.store, work.lane.connection, 1)
            task = group.create_task(self._serve(work, fence, allowed))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return started

    def _may_start(self, latency: Latency) -> bool:
        return not self._stopping and self._ownership.alive() and self._caps.free(latency) > 0

    def _open_to(self, store: StoreId) -> bool:
        return self._caps.store_room(store) > 0

    def _able(self, flow: Flow) -> bool:
        return self._agenda.waits(flow) and self._caps.room(*flow) > 0

    async def _serve(self, work: LaneWork, fence: Fence, allowed: int) -> None:
        end: TurnEnd | None = None
        try:
            end = await self._turn(work, fence, allowed)
        except Exception as error:  # noqa: BLE001  # the bulkhead between lanes: one that fails is told and tried again
            told(self._gear.lines, work.lane, error)
            end = TurnEnd(next_at=Instant(self._gear.clock() + TURN_RETRY_MS))
        finally:
            self._caps.give_back(work.lane.store, work.lane.connection, 1)
            self._after(work, fence, end)
            self._stir.set()

    def _after(self, work: LaneWork, fence: Fence | None, end: TurnEnd | None) -> None:
        if fence is not None:
            self._ownership.leave_turn(fence)
        end = end or TurnEnd()
        work.fill_until = end.fill_until
        if end.absent:
            # Its store moves. Whenever it can be read again, it is named as moved.
            self._heads.pop(work.lane.store, None)
        if end.stale:
            # Another has settled, or the slot is another's: that is for the next beat to tell.
            self._doubted[work.lane] = None
            self._ownership.asked.set()
        self._agenda.done(work, end.cost, end.next_at, more=end.more and not end.stale)

    async def _turn(self, work: LaneWork, fence: Fence, allowed: int) -> TurnEnd | None:
        trip = await self._trips.trip(
            work.lane, fence, lambda: self._halted(fence), lambda: self._slowed(work.lane.connection)
        )
        if trip is None:
            return None
        now, lane = self._gear.clock(), work.lane
        if not trip.pace.open_at(now):
            return TurnEnd(next_at=trip.pace.ready_at())
        if trip.rates.spare(now) == 0:
            return TurnEnd(next_at=trip.rates.ready_at(now))
        at_once, sends = trip.pace.begin(now, self._gear.dice)
        if not at_once:
            return TurnEnd(next_at=Instant(now + POLL_MS))  # another lane of the connection probes
        probe = trip.pace.breaker.state is BreakerState.PROBING
        taken = self._caps.take(lane.store, lane.connection, at_once - 1)
        try:
            bound = sends_of(trip, allowed if sends is None else min(allowed, sends), now)
            # A probe is the one call that a far end which fails gets: it is made, whatever retries have cost.
            retries = None if probe else in_events(trip, trip.retries.spare(now))
            end = await Turn(trip).run(Allowance(bound, 1 + taken, work.fill_until, retries))
        finally:
            trip.pace.end(at_once)
            self._caps.give_back(lane.store, lane.connection, taken)
        if end.pause is not None:
            await self._pause(lane, end.pause)
        if not trip.pace.open_at(self._gear.clock()):
            # What waits, waits for the far end to have rested: its own times come after that.
            return TurnEnd(end.cost, next_at=trip.pace.ready_at(), pause=end.pause)
        return end

    def _slowed(self, connection: ConnectionId) -> None:
        """A call of the connection takes long: what it has in flight is counted with the slow ones from now on."""
        self._caps.sort(connection, Latency.SLOW)
        self._stir.set()

    def _halted(self, fence: Fence) -> bool:
        return self._stopping or not self._ownership.stands(fence)

    async def _pause(self, lane: LaneId, reason: str) -> None:
        await self._pauser.pause(lane.store, lane.connection, reason)
        self._gear.lines.write("delivery.paused", store=lane.store, connection=lane.connection, reason=reason)
