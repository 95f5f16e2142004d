"""Lives of one engine on one disk: a start, a look at what is there, work, and an end at any call. All of it by a seed.

    outages = Outages(seed)
    for _ in range(20):
        await outages.life()      # Broken says which promise did not hold, and the seed
    await outages.finish()        # the last look
    outages.close()

The look holds what is there against what was answered, in this life and in all before: what was acknowledged is there
at its position, and whatever a reader once saw; what was refused is not; positions have no gap; lanes and their books
are as they were answered; each change of the control plane is there with its audit entry, or neither is; every ledger
closes; SQLite finds its file whole. What had no answer, or one that leaves it open (CD5009: the disk failed while it
was written), may be there or not, whole in either case."""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from crossdock.engines.sqlite.engine import SqliteEngine
from crossdock.journal.port import LaneWish
from crossdock.model.entry import Appended, Conflicting, Draft, Duplicate, Kept, OtherKey
from crossdock.model.errors import CrossdockError, Unavailable
from crossdock.model.ids import START, EventId, Instant, LaneId, Position, StoreId
from crossdock.model.lane import Counts, HeldState, LaneChange
from crossdock.stores.port import AddStore, Change, OpenLane
from crossdock.testing.samples import NOW, a_store, attempt, audit, draft, held, lane_id
from crossdock.testing.world.device import Kind
from crossdock.testing.world.disk import Disk

STORES = (StoreId("north"), StoreId("south"))
LANES = (lane_id("a", store=STORES[0]), lane_id("b", store=STORES[1]))
FAULTS: tuple[Kind, ...] = ("sync", "sync", "write", "truncate")
WORKERS = 3
STEPS_MAX = 4  # of one worker in one life
CALLS_MAX = 60  # of the disk, until a life's end comes: its work makes about so many
START_CALLS_MAX = 80  # the first start makes 67, a later one those that write the WAL anew
CUT_CHANCE = 0.85  # otherwise the process alone ends

Books = tuple[Position, Counts, tuple[tuple[Position, HeldState], ...], int]
"""What is looked at of a lane: cursor, counts, held rows, attempts."""


class Broken(AssertionError):
    """A promise that did not hold."""


@dataclass(slots=True)
class Known:
    """What was answered, over all lives. `places`: what must be there. `gone`: ids that must never be. `sent`: all ids.
    `books`: a lane as it was answered, and as it may be if an unanswered settle was made after all."""

    places: dict[tuple[StoreId, Position], EventId] = field(default_factory=dict)
    sent: set[EventId] = field(default_factory=set)
    gone: set[EventId] = field(default_factory=set)
    books: dict[LaneId, tuple[Books | None, Books | None]] = field(default_factory=dict)
    opened: set[LaneId] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)
    acknowledged: int = 0


class Outages:
    """`faults`: some lives also meet errors of the disk. `ends` counts the lives, `cuts` those that ended with the
    power; `refused` counts the calls that were not acknowledged."""

    def __init__(self, seed: int, faults: bool = False) -> None:
        self.dice = random.Random(f"outages {seed}")
        self.disk = Disk(seed, checkpoint_pages=self.dice.choice((8, 20, 60, 2_000)))
        self.known = Known()
        self.ends = 0
        self.cuts = 0
        self.refused = 0
        self._seed = seed
        self._faults = faults
        self._number = 0
        self._failed = False

    @property
    def trace(self) -> str:
        return self.disk.trace

    async def life(self) -> None:
        """Starts the engine, looks at what it finds, and works until the end that is drawn for it; one end in six comes
        while it starts."""
        engine = self.disk.open_engine(lambda: NOW)
        if self.dice.random() < 1 / 6:
            self._order(START_CALLS_MAX)
        await self._start(engine)
        if self.disk.up:
            self.disk.mend()
            await self._look(engine)
            self._order(CALLS_MAX)
            await self._until_down(asyncio.gather(*(self._worker(engine, number) for number in range(WORKERS))))
        if self.disk.up and self.dice.random() < 0.2:
            await self._until_down(engine.close())
        if self.disk.up:
            self._end()
        self.ends += 1
        self.cuts += self.disk.cut

    async def finish(self) -> None:
        engine = self.disk.open_engine(lambda: NOW)
        await self._start(engine)
        await self._look(engine)

    def close(self) -> None:
        self.disk.close()

    async def _start(self, engine: SqliteEngine) -> None:
        self._failed = False
        undisturbed = not self.disk.disturbed
        try:
            await engine.start()
        except Unavailable as error:
            if undisturbed:
                raise self._broken(f"the engine does not start: {error}") from error
            self.disk.crash()

    def _order(self, calls_max: int) -> None:
        """When this life ends, counted from now, and what fails in it."""
        self._end(self.dice.randint(1, calls_max))
        if self._faults and self.dice.random() < 0.5:
            kind = self.dice.choice(FAULTS)
            error = self.dice.choice((errno.EIO, errno.ENOSPC))
            self.disk.fail(kind, self.dice.randint(1, 12), error, self.dice.choice((1, 1, 4)))

    def _end(self, calls: int | None = None) -> None:
        if self.dice.random() < CUT_CHANCE:
            self.disk.power_cut(calls)
        else:
            self.disk.crash(calls)

    async def _until_down(self, work: Awaitable[object]) -> None:
        """A dead process is not waited for."""
        task = asyncio.ensure_future(work)
        self.disk.on_down = task.cancel
        with suppress(asyncio.CancelledError):
            await task
        self.disk.on_down = None

    async def _worker(self, engine: SqliteEngine, number: int) -> None:
        dice = random.Random(self.dice.random())
        for _ in range(dice.randint(1, STEPS_MAX)):
            luck = dice.random()
            if luck < 0.6 or number >= len(LANES):
                await self._append(engine, dice)
            elif luck < 0.85:
                await self._settle(engine, LANES[number], dice)
            else:
                await self._change(engine)

    async def _append(self, engine: SqliteEngine, dice: random.Random) -> None:
        drafts = [self._draft(dice) for _ in range(dice.randint(1, 3))]
        ids = {one.event_id for one in drafts}
        self.known.sent |= ids
        refused_for_sure = self._failed
        try:
            answers = await engine.journal.append(drafts)
        except Unavailable as error:
            self.refused += 1
            self._failed = self._failed or error.code == "CD5009"
            if refused_for_sure or error.code != "CD5009":
                self.known.gone |= ids
            return
        if refused_for_sure:
            raise self._broken("an append was acknowledged after the disk had failed")
        for one, answer in zip(drafts, answers, strict=True):
            self._learn(one, answer)

    def _draft(self, dice: random.Random) -> Draft:
        """A new event, a repeat of an earlier one, or another body under an earlier key; each with an id of its own."""
        self._number += 1
        luck = dice.random()
        key = f"k{self._number}" if luck < 0.7 else f"k{dice.randint(1, self._number)}"
        one = draft(key, store=dice.choice(STORES), print_=b"2" if luck > 0.9 else b"1")
        personal = b"p" * dice.choice((0, 20, 9_000))
        return replace(one, event_id=EventId(f"e{self._number}"), body=personal or one.body)

    def _learn(self, one: Draft, answer: Appended) -> None:
        self.known.acknowledged += 1
        match answer:
            case Kept(position):
                self._place(one.store, position, one.event_id)
            case Duplicate(position, event_id, _) | Conflicting(position, event_id):
                self.known.gone.add(one.event_id)
                self._place(one.store, position, event_id)
            case OtherKey():
                raise self._broken("a draft without a subject was told of another key")

    def _place(self, store: StoreId, position: Position, event_id: EventId) -> None:
        there = self.known.places.setdefault((store, position), event_id)
        if there != event_id:
            raise self._broken(f"{store} {position} was {there}, and is {event_id}")

    async def _settle(self, engine: SqliteEngine, lane: LaneId, dice: random.Random) -> None:
        """The first time: opens the lane. Then: one turn of it, whose answers are drawn."""
        if await engine.lanes.lane(lane) is None:
            if await self._try(engine.registry.commit(Change((OpenLane(lane),), (audit("lane.opened"),)))):
                self.known.opened.add(lane)
            return
        (read,) = await engine.lanes.read([LaneWish(lane, dice.randint(1, 4))], Instant(NOW + 1))
        change = turn(read.lane.cursor, [one.position for one in read.window], lane, dice)
        before = await books_of(engine, lane)
        self.known.books[lane] = (before, after(before, change))
        if await self._try(engine.lanes.settle([change])):
            self.known.books[lane] = (after(before, change), None)

    async def _change(self, engine: SqliteEngine) -> None:
        self._number += 1
        name = f"s{self._number}"
        change = Change((AddStore(a_store(StoreId(name))),), (audit(f"added.{name}", StoreId(name)),))
        if await self._try(engine.registry.commit(change)):
            self.known.changes.add(name)

    async def _try(self, work: Awaitable[object]) -> bool:
        try:
            await work
        except Unavailable as error:
            self.refused += 1
            self._failed = self._failed or error.code == "CD5009"
            return False
        self.known.acknowledged += 1
        return True

    async def _look(self, engine: SqliteEngine) -> None:
        try:
            await self._journal(engine)
            await self._lanes(engine)
            await self._changes(engine)
        except CrossdockError as error:
            raise self._broken(f"what is there cannot be read: {error}") from error
        problems = self.disk.integrity()
        if problems != ["ok"]:
            raise self._broken(f"integrity_check: {problems[:3]}")

    async def _journal(self, engine: SqliteEngine) -> None:
        there: set[EventId] = set()
        for store in STORES:
            entries = await engine.journal.read(store, START, 1_000_000)
            if [one.position for one in entries] != list(range(1, len(entries) + 1)):
                raise self._broken(f"{store} has the positions {[one.position for one in entries]}")
            if await engine.journal.head(store) != len(entries):
                raise self._broken(f"{store} has {len(entries)} entries and another head")
            for one in entries:
                self._place(store, one.position, one.event_id)
                there.add(one.event_id)
        lost = set(self.known.places.values()) - there
        if lost:
            raise self._broken(f"{sorted(lost)} were acknowledged or read, and are gone")
        wrong = there & self.known.gone | there - self.known.sent
        if wrong:
            raise self._broken(f"{sorted(wrong)} were refused or never sent, and are there")

    async def _lanes(self, engine: SqliteEngine) -> None:
        for ledger in await engine.lanes.ledgers():
            if not ledger.closes:
                raise self._broken(f"the ledger of {ledger.lane} does not close: {ledger}")
        for lane in LANES:
            books = await books_of(engine, lane)
            if books is None and lane in self.known.opened:
                raise self._broken(f"the lane {lane} was opened, and is gone")
            if books is not None and books not in self.known.books.setdefault(lane, (books, None)):
                raise self._broken(f"{lane} is {books}, and was answered as {self.known.books[lane]}")
            if books is not None:
                self.known.opened.add(lane)
                self.known.books[lane] = (books, None)

    async def _changes(self, engine: SqliteEngine) -> None:
        stores = {str(one.id) for one in await engine.registry.stores(limit=1_000_000)}
        audited = await engine.registry.audit(None, 0, 1_000_000)
        named = {one.action.removeprefix("added.") for one in audited if one.action.startswith("added.")}
        if stores != named:
            raise self._broken(f"written without audit, or audited and not written: {sorted(stores ^ named)}")
        lost = self.known.changes - stores
        if lost:
            raise self._broken(f"the changes {sorted(lost)} were acknowledged or read, and are gone")
        self.known.changes |= stores

    def _broken(self, what: str) -> Broken:
        return Broken(f"seed {self._seed}, life {self.ends}: {what}")


async def books_of(engine: SqliteEngine, lane: LaneId) -> Books | None:
    row = await engine.lanes.lane(lane)
    if row is None:
        return None
    rows = [one for one, _ in await engine.lanes.held(lane, None, START, 1_000_000)]
    attempts = await engine.lanes.attempts(lane, 1_000_000)
    return row.cursor, row.counts, tuple((one.position, one.state) for one in rows), len(attempts)


def turn(cursor: Position, window: list[Position], lane: LaneId, dice: random.Random) -> LaneChange:
    """Each entry of the window is delivered, or held with an attempt."""
    holds = tuple(held(one, dice.choice(list(HeldState))) for one in window if dice.random() < 0.3)
    delivered = Counts(delivered=len(window) - len(holds))
    to = window[-1] if window else cursor
    return LaneChange(lane, 0, cursor, to, delivered, holds, attempts=tuple(attempt(one.position) for one in holds))


def after(books: Books | None, change: LaneChange) -> Books | None:
    if books is None:
        return None
    _, counts, rows, attempts = books
    new = tuple((one.position, one.state) for one in change.hold)
    return change.cursor_to, counts.plus(change.counts), (*rows, *new), attempts + len(change.attempts)
