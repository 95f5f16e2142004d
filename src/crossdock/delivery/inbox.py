"""What came in for a store, pulled by the core and acknowledged: durable before it is answered, on both sides.

The inbox keeps nothing in memory that matters. A page is the front of each inbound lane; an item that is neither
acknowledged nor rejected comes again with the next page, also after a crash of either side. Acknowledging twice is
fine, in any order too: what lies between becomes held and comes again at once.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from crossdock.credentials.vault import StoreKeys
from crossdock.delivery.driver import Parcel
from crossdock.delivery.opening import Opened, open_all, parcel_of
from crossdock.delivery.schedule import Bounds, Plan, Scene, Send, plan, skipped
from crossdock.delivery.sending import Gear, next_of
from crossdock.delivery.tally import Told, Tried, tally
from crossdock.delivery.turn import settle
from crossdock.journal.books import moving
from crossdock.journal.port import LaneRead, LaneWish
from crossdock.model.attempt import Answer, AnswerKind, Attempt, Park, ParkReason, Settle
from crossdock.model.connection import ConnectionState, CoreMode
from crossdock.model.contract import Direction
from crossdock.model.entry import Entry
from crossdock.model.errors import Unavailable
from crossdock.model.ids import START, ConnectionId, LaneId, Position, RouteName, StoreId
from crossdock.model.lane import Held
from crossdock.model.limits import INBOX_ITEMS_MAX, LANE_HELD_MAX, READ_ENTRIES_MAX, SETTLE_TRIES_MAX
from crossdock.stores.port import Change, OpenLane, ReplayHeld, ReplayResolved
from crossdock.stores.ways import Way

LOOK_SECONDS = 1.0
"""How often a waiting pull looks by itself: hints are lost."""
REASON = re.compile(r"[a-z0-9](?:[a-z0-9_.-]{0,62}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class InboxItem:
    """One event for the core, cut to the contract's field list, and the handle that marks it."""

    handle: str
    lane: LaneId
    parcel: Parcel


@dataclass(frozen=True, slots=True)
class Marked:
    """`done`: marked now. `again`: resolved before. `unknown`: no item of this store's inbox, now or ever."""

    done: int = 0
    again: int = 0
    unknown: int = 0

    def plus(self, other: Marked) -> Marked:
        return Marked(self.done + other.done, self.again + other.again, self.unknown + other.unknown)


@dataclass(frozen=True, slots=True)
class _View:
    """An inbound lane, its front opened and planned: what is `Send` in the plan is for the core."""

    way: Way
    keys: StoreKeys
    read: LaneRead
    held: Mapping[Position, Held]
    opened: Mapping[Position, Opened]
    plan: Plan

    def entries(self) -> dict[Position, Entry]:
        return {position: one.entry for position, one in self.opened.items()}

    def sends(self) -> list[Position]:
        return [action.position for action in (*self.plan.held, *self.plan.window) if isinstance(action, Send)]


class Inbox:
    """The inboxes of all stores. `wake` and `changed` shorten the wait of a pull that waits."""

    def __init__(self, gear: Gear) -> None:
        self._gear = gear
        self._waiting: defaultdict[StoreId, set[asyncio.Event]] = defaultdict(set)
        self._locks: dict[LaneId, asyncio.Lock] = {}
        self._ending = False

    def wake(self, stores: Iterable[StoreId]) -> None:
        for store in stores:
            for event in self._waiting.get(store, ()):
                event.set()

    def changed(self, change: Change) -> None:
        self.wake(
            write.lane.store for write in change.writes if isinstance(write, OpenLane | ReplayHeld | ReplayResolved)
        )

    def end_waits(self) -> None:
        """The process is about to end: a pull that waits is answered now, with what there is."""
        self._ending = True
        self.wake(list(self._waiting))

    async def read(self, store: StoreId, limit: int, wait_seconds: float = 0.0) -> list[InboxItem]:
        """At most `limit` items of the store's inbound lanes, each lane's in order. With `wait_seconds`, as soon as
        there is one, or none when the time has passed."""
        limit = max(1, min(limit, INBOX_ITEMS_MAX))
        ends_at = self._gear.elapsed() + wait_seconds
        news = asyncio.Event()
        self._waiting[store].add(news)
        try:
            while True:
                news.clear()
                items = await self._page(store, limit)
                left = ends_at - self._gear.elapsed()
                if items or left <= 0 or self._ending:
                    return items
                await _until(news, min(left, LOOK_SECONDS))
        finally:
            self._waiting[store].discard(news)
            if not self._waiting[store]:
                del self._waiting[store]

    async def ack(self, store: StoreId, handles: Sequence[str]) -> Marked:
        """These are kept on the core's side. Durable when it returns. Unavailable (CD5024) while the store moves."""
        return await self._mark(store, handles, None)

    async def reject(self, store: StoreId, handles: Sequence[str], reason: str) -> Marked:
        """These can never be taken: they are parked. `reason` is a code; what is none counts as `rejected`."""
        return await self._mark(store, handles, reason if REASON.fullmatch(reason) else "rejected")

    async def _page(self, store: StoreId, limit: int) -> list[InboxItem]:
        items: list[InboxItem] = []
        for lane in await self._gear.ways.lanes_of(store):
            if len(items) < limit:
                items += await self._front(lane, limit - len(items))
        return items

    async def _front(self, lane: LaneId, limit: int) -> list[InboxItem]:
        """The lane's next items. What is not for the core is passed over on the way, and settled."""
        async with self._lock(lane):
            while (view := await self._view(lane, limit)) is not None:
                sends = view.sends()
                change = tally(
                    view.read.lane, view.plan, view.held, {}, Told(entries=view.entries()), self._gear.clock()
                )
                moved = change.cursor_to > change.cursor_from
                await settle(self._gear, change)
                if sends or not moved:
                    return [self._item(view, position) for position in sends]
        return []

    def _item(self, view: _View, position: Position) -> InboxItem:
        row = view.held.get(position)
        attempt = row.attempts + 1 if row is not None else 1
        replay = row is not None and row.replay
        parcel = parcel_of(view.way, view.keys, view.opened[position], attempt, replay)
        return InboxItem(handle_of(view.way.lane, position), view.way.lane, parcel)

    async def _view(self, lane: LaneId, sends_max: int, *, marking: bool = False) -> _View | None:
        """None for a lane that the core does not pull. A paused one gives nothing, and is marked all the same."""
        way = await self._gear.ways.way(lane)
        if way is None or way.route.direction is not Direction.INBOUND or way.core is not CoreMode.PULL:
            return None
        keys = await self._gear.keys(lane.store)
        now = self._gear.clock()
        if keys is None or not (marking or way.state is ConnectionState.ENABLED):
            return None
        reads = await self._gear.lanes.read([LaneWish(lane, READ_ENTRIES_MAX)], now)
        if not reads:
            if marking and await self._gear.lanes.lane(lane) is not None:
                raise moving(lane.store)
            return None
        read = reads[0]
        rows = await self._rows(read)
        held = {row.position: row for row, _ in rows}
        fresh = [entry for entry in read.window if not skipped(read.lane.skips, entry.position)]
        opened = await open_all(self._gear.journal, way, keys, [entry for _, entry in rows] + fresh, held)
        scene = Scene(
            held=tuple(row for row, _ in rows),
            ready=frozenset(held),
            window=tuple(entry.position for entry in read.window),
            skips=read.lane.skips,
        )
        facts = {position: one.facts for position, one in opened.items()}
        # The core takes a lane in order, one page after the other: nothing waits behind its key here.
        return _View(way, keys, read, held, opened, plan(scene, facts, Bounds(sends_max, LANE_HELD_MAX), now))

    async def _rows(self, read: LaneRead) -> list[tuple[Held, Entry]]:
        if not read.held:
            return []
        unresolved = {row.position for row in read.held}
        last = read.held[-1].position
        found: list[tuple[Held, Entry]] = []
        after = START
        while after < last:
            rows = await self._gear.lanes.held(read.lane.id, None, after, READ_ENTRIES_MAX)
            if not rows:
                break
            found += [(row, entry) for row, entry in rows if row.position in unresolved]
            after = rows[-1][0].position
        return found

    async def _mark(self, store: StoreId, handles: Sequence[str], reason: str | None) -> Marked:
        marked = Marked()
        by_lane: defaultdict[LaneId, set[Position]] = defaultdict(set)
        known = set(await self._gear.ways.lanes_of(store))
        for handle in handles:
            place = place_of(store, handle)
            if place is None or place[0] not in known:
                marked = marked.plus(Marked(unknown=1))
            else:
                by_lane[place[0]].add(place[1])
        for lane, positions in by_lane.items():
            marked = marked.plus(await self._mark_lane(lane, positions, reason))
        return marked

    async def _mark_lane(self, lane: LaneId, positions: set[Position], reason: str | None) -> Marked:
        async with self._lock(lane):
            for _ in range(SETTLE_TRIES_MAX):
                view = await self._view(lane, LANE_HELD_MAX, marking=True)
                if view is None:
                    return Marked(unknown=len(positions))
                here = positions.intersection(view.sends())
                again = {one for one in positions - here if view.read.lane.start < one <= view.read.lane.cursor}
                if not here or await self._settle_marks(view, here, reason):
                    return Marked(len(here), len(again), len(positions) - len(here) - len(again))
        raise Unavailable("CD4010", "The lane moves too fast to mark its items.", remedy="Send the marks again.")

    async def _settle_marks(self, view: _View, positions: set[Position], reason: str | None) -> bool:
        now = self._gear.clock()
        outcome = Settle() if reason is None else Park(ParkReason.REJECTED)
        kind = AnswerKind.TAKEN if reason is None else AnswerKind.REJECTED
        tried: dict[Position, Tried] = {}
        attempts: list[Attempt] = []
        for position in sorted(positions):
            row, entry = view.held.get(position), view.opened[position].entry
            number = row.attempts + 1 if row is not None else 1
            tried[position] = Tried(outcome, number, row.held_at if row is not None and row.attempts else now)
            answer = Answer(kind, reason or "acknowledged", 0)
            attempts.append(
                Attempt(position, entry.event_id, number, now, answer, next_of(outcome), entry.correlation_id)
            )
        change = tally(view.read.lane, view.plan, view.held, tried, Told(tuple(attempts), view.entries()), now)
        return await settle(self._gear, change)

    def _lock(self, lane: LaneId) -> asyncio.Lock:
        return self._locks.setdefault(lane, asyncio.Lock())


async def _until(news: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(news.wait(), seconds)
    except TimeoutError:
        return


def handle_of(lane: LaneId, position: Position) -> str:
    """Names an item within its store. The store itself comes from who asks, so that no handle leads across."""
    text = f"{lane.connection}/{lane.route}/{position}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def place_of(store: StoreId, handle: str) -> tuple[LaneId, Position] | None:
    """Where a handle points within this store; None for what is no handle."""
    try:
        text = base64.urlsafe_b64decode(handle + "=" * (-len(handle) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    parts = text.split("/")
    if len(parts) != 3 or not re.fullmatch(r"[1-9][0-9]{0,15}", parts[2]):
        return None
    return LaneId(store, ConnectionId(parts[0]), RouteName(parts[1])), Position(int(parts[2]))
