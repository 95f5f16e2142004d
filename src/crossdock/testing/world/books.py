"""The world's judge: sees every commit, every call and everything that far ends take, and says what must not be."""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from crossdock.delivery.pace import FAILURES, SUCCESSES
from crossdock.journal.slots import Standing, slot_of
from crossdock.model.attempt import Answer, AnswerKind, ParkReason
from crossdock.model.connection import ConnectionState
from crossdock.model.contract import Direction
from crossdock.model.entry import Appended, Draft, Kept
from crossdock.model.ids import ConnectionId, EventId, Instant, LaneId, Position, RouteName, StoreId
from crossdock.model.lane import Held, HeldState, LaneChange
from crossdock.model.limits import BREAKER_FAILURES, BREAKER_OPEN_MS_MIN, TURN_MS_MAX
from crossdock.observe.lines import Value
from crossdock.stores.port import (
    Change,
    CloseLane,
    Engine,
    MoveConnection,
    OpenLane,
    ReplayHeld,
    ReplayResolved,
    Write,
)
from crossdock.testing.world.facts import Fact, LaneBook, Violation
from crossdock.testing.world.loop import VirtualLoop
from crossdock.testing.world.manners import Manner
from crossdock.testing.world.network import Heard
from crossdock.testing.world.process import Process, Reply
from crossdock.testing.world.receivers import Item, Receiver
from crossdock.testing.world.stage import SECOND_VERSION_ATTEMPTS_MAX, Site, Stage
from crossdock.testing.world.trace import Coverage, Trace

CANARY = re.compile(rb"canary-(\w+?)-(\w+)")
ALLOWED = frozenset({b"open"})
"""Canaries are planted in fields that contracts list (`open`) and in fields that none does."""
EARLY_SECONDS = 0.002  # clocks count whole milliseconds
STALE_MS = TURN_MS_MAX + 2_000  # a turn looks at its events once, when it begins, and its engine may be slow
PAUSED_SECONDS = 12.0  # a process hears of another's change at its next poll, and ends its turn first

Flow = tuple[str, StoreId, str, Direction]


@dataclass(slots=True)
class Books:
    loop: VirtualLoop
    engine: Engine
    trace: Trace
    coverage: Coverage
    facts: dict[StoreId, dict[Position, Fact]] = field(default_factory=dict)
    by_id: dict[tuple[StoreId, EventId], Fact] = field(default_factory=dict)
    by_correlation: dict[str, Fact] = field(default_factory=dict)
    lanes: dict[LaneId, LaneBook] = field(default_factory=dict)
    owners: dict[int, tuple[str, int]] = field(default_factory=dict)
    ends: dict[tuple[Process, LaneId, Position], tuple[float, Instant]] = field(default_factory=dict)
    done: dict[tuple[Process, LaneId], set[Position]] = field(default_factory=dict)
    begun: dict[tuple[Process, str], float] = field(default_factory=dict)
    taken: dict[tuple[LaneId, EventId], int] = field(default_factory=dict)
    last_taken: dict[tuple[LaneId, str], Position] = field(default_factory=dict)
    bodies: dict[tuple[LaneId, EventId], bytes] = field(default_factory=dict)
    manners: dict[tuple[Process, EventId], tuple[Manner, int]] = field(default_factory=dict)
    rests: dict[Flow, float] = field(default_factory=dict)
    failures: dict[Flow, int] = field(default_factory=dict)
    paused: dict[str, float] = field(default_factory=dict)
    repeats: int = 0
    told_to_wait: dict[EventId, bool] = field(default_factory=dict)
    erased: set[tuple[StoreId, bytes]] = field(default_factory=set)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def broken(self, what: str) -> None:
        self.trace.tell(self.loop.time(), "VIOLATION", what)
        self.loop.fail(Violation(what))

    def tell(self, *what: object) -> None:
        self.trace.tell(self.loop.time(), *what)

    def open_books(self, stage: Stage) -> None:
        """Before anything has happened."""
        for site in stage.sites():
            for route, lane in zip(site.contract.routes, site.lanes(), strict=True):
                self.lanes[lane] = LaneBook(lane, site, route, Position(0), Position(0))

    # What is committed

    def rotten(self, draft: Draft) -> None:
        self.coverage.saw("fault", "rot")
        self.by_id[draft.store, draft.event_id].rotten = True

    def erase(self, store: StoreId, dice: random.Random, erased: set[tuple[StoreId, bytes]]) -> None:
        refs = sorted({fact.person for fact in self.facts.get(store, {}).values() if fact.person})
        if refs:
            ref = dice.choice(refs)
            erased.add((store, ref))
            for fact in self.facts[store].values():
                fact.erased = fact.erased or fact.person == ref
            self.erased.add((store, ref))

    async def appended(self, process: Process, drafts: Sequence[Draft], answers: Sequence[Appended]) -> None:
        for draft, answer in zip(drafts, answers, strict=True):
            fact = self.by_correlation.get(draft.correlation_id) or self.by_id.get((draft.store, draft.event_id))
            self.tell(process, "append", draft.store, "?" if fact is None else fact.number, type(answer).__name__)
            self.coverage.saw("append", type(answer).__name__)
            if isinstance(answer, Kept) and fact is not None:
                if fact.position:
                    self.broken(f"Event {fact.number} is kept twice, at {fact.position} and {answer.position}")
                fact.position, fact.event_id = answer.position, draft.event_id
                fact.person = draft.subject_ref or b""
                fact.erased = (draft.store, fact.person) in self.erased
                self.by_id[draft.store, draft.event_id] = fact
                self.facts.setdefault(draft.store, {})[answer.position] = fact

    async def settled(self, process: Process, change: LaneChange, counted: bool) -> None:
        lane, book = change.lane, self.lanes[change.lane]
        due = self._due(process, change)
        self.done.pop((process, lane), None)
        self.tell(process, "settle", lane.store, lane.route, change.cursor_from, change.cursor_to, counted)
        if not counted:
            self.coverage.saw("turn", "stale")
            return
        self._check_fence(process, change)
        for attempt in change.attempts:
            self.coverage.saw("next", attempt.next)
            self.coverage.saw("answer", attempt.answer.kind)
            if attempt.next == "settle" and not self.taken.get((lane, attempt.event_id)):
                self.broken(f"{lane} settles event {attempt.event_id}, which its far end has never taken")
        for row in change.hold:
            if row.state is HeldState.PARKED:
                self.coverage.saw("park", row.reason)
                self._check_park(lane, row)
        for name in ("superseded", "filtered", "expired", "erased"):
            if getattr(change.counts, name):
                self.coverage.saw("end", name)
        try:
            book.settle(change, self.facts.get(lane.store, {}), due, process)
        except Violation as found:
            self.broken(str(found))
        await self._check_ledgers(lane.store)

    def _check_park(self, lane: LaneId, row: Held) -> None:
        """Nobody is asked to look at what could go on by itself."""
        fact = self.facts[lane.store][row.position]
        if (row.reason == ParkReason.UNREADABLE) != fact.rotten:
            self.broken(f"{lane} parks event {fact.number} as {row.reason}; rotten: {fact.rotten}")
        exhausted = row.reason == ParkReason.EXHAUSTED
        if exhausted and row.attempts < SECOND_VERSION_ATTEMPTS_MAX and not self.told_to_wait.get(fact.event_id):
            self.broken(f"{lane} gives event {fact.number} up after {row.attempts} tries")

    def _due(self, process: Process, change: LaneChange) -> dict[Position, float]:
        """When what is to be tried again may be, on the one clock that does not lie."""
        due: dict[Position, float] = {}
        for attempt in change.attempts:
            ended = self.ends.pop((process, change.lane, attempt.position), None)
            if ended is not None and attempt.not_before is not None:
                due[attempt.position] = ended[0] + (attempt.not_before - ended[1]) / 1_000
        return due

    def _check_fence(self, process: Process, change: LaneChange) -> None:
        fence = change.fence
        if fence is None or fence.slot != slot_of(change.lane.store, change.lane.connection):
            self.broken(f"{process} settles {change.lane} without a lease")
            return
        standing = self.owners.get(fence.slot)
        if standing is not None and standing[1] != fence.epoch:
            self.broken(f"{process} settles {change.lane} at epoch {fence.epoch}; {standing} has the slot")

    async def _check_ledgers(self, store: StoreId) -> None:
        for ledger in await self.engine.lanes.ledgers(store):
            if not ledger.closes:
                self.broken(f"The ledger of {ledger.lane} does not close: {ledger.gap} missing")
            elif ledger.replayed != self.lanes[ledger.lane].replayed:
                self.broken(f"{ledger.lane} counts {ledger.replayed} replayed")

    async def committed(self, process: Process, change: Change) -> None:
        self.tell(process, "change", *(type(write).__name__ for write in change.writes))
        for write in change.writes:
            self._write(process, write)
        for store in sorted({entry.store for entry in change.audit if entry.store is not None}):
            self._forget(process, store)
            await self._check_ledgers(store)

    def _write(self, process: Process, write: Write) -> None:
        match write:
            case CloseLane(lane, queued):
                self.lanes[lane].close(self.head(lane.store), queued)
            case OpenLane(lane):
                self.lanes[lane].reopen(self.head(lane.store))
            case ReplayHeld(lane, positions, not_before):
                self.lanes[lane].replay(positions, not_before, process)
                self.coverage.saw("move", "parked replayed")
            case ReplayResolved(lane, positions, _, not_before):
                self.lanes[lane].replay(positions, not_before, process)
                self.coverage.saw("act", "replay_resolved")
            case MoveConnection(connection, _):
                self.coverage.saw("state", connection.state)
                if connection.state is ConnectionState.ENABLED:
                    self.paused.pop(connection.id, None)
                else:
                    self.paused.setdefault(connection.id, self.loop.time())
            case _:
                return

    def _forget(self, process: Process, store: StoreId) -> None:
        """A change of the store lets its own process begin anew with the far ends of it, and others try again."""
        for flow in [one for one in self.failures if one[1] == store]:
            del self.failures[flow]
        for flow in [one for one in self.rests if one[:2] == (process.name, store)]:
            del self.rests[flow]

    def head(self, store: StoreId) -> Position:
        return Position(len(self.facts.get(store, {})))

    def beaten(self, process: Process, standing: Standing) -> None:
        self.coverage.saw("lease", "beat")

    def claimed(self, process: Process, slots: dict[int, int]) -> None:
        if slots:
            self.tell(process, "claims", len(slots))
        for slot, epoch in slots.items():
            self.owners[slot] = (process.name, epoch)

    # What is sent

    def sending(self, process: Process, lane: LaneId, positions: Sequence[Position]) -> None:
        """A driver has been given these."""
        now, book = self.loop.time(), self.lanes[lane]
        facts = self.facts.get(lane.store, {})
        flow = flow_of(process, book.site, lane)
        self.tell(process, "send", lane.store, lane.route, *(facts[one].number for one in positions))
        owner = self.owners.get(slot_of(lane.store, lane.connection))
        if owner is not None and owner[0] != process.name:
            self.broken(f"{process} sends for {lane}, whose slot is {owner[0]}'s")
        if now < self.rests.get(flow, 0.0) - EARLY_SECONDS:
            self.broken(f"{process} calls the far end of {lane} {self.rests[flow] - now:.3f} s before it may")
        if now - self.paused.get(lane.connection, now) > PAUSED_SECONDS:
            self.broken(f"{process} sends for {lane}, which has been paused for {now - self.paused[lane.connection]} s")
        for position in positions:
            self._check_one(process, book, facts[position], now)

    def _check_one(self, process: Process, book: LaneBook, fact: Fact, now: float) -> None:
        facts, row = self.facts[fact.store], book.rows.get(fact.position)
        self.begun[process, fact.event_id] = now
        if fact.position in book.fates:
            self.broken(f"{process} sends event {fact.number} on {book.lane}, which was {book.fates[fact.position]}")
        if not (row is not None and row.replay) and book.expired(fact, Instant(process.timers() - STALE_MS)):
            self.broken(f"{process} sends event {fact.number} on {book.lane}, which is not worth sending any more")
        if row is not None and row.state is HeldState.RETRYING:
            early = row.due - now if row.by is process else (row.not_before - process.timers()) / 1_000
            if early > EARLY_SECONDS:
                self.broken(f"{process} sends event {fact.number} on {book.lane} {early:.3f} s early")
        if fact.key and not book.collapses and book.route.ordering:
            done = self.done.get((process, book.lane), set())
            before = [
                one
                for one in book.earlier(fact, facts)
                if one.position not in done and not one.rotten and not book.expired(one, process.timers())
            ]
            if before:
                self.broken(
                    f"{process} sends event {fact.number} on {book.lane}, and {before[0].number} of its key waits"
                )

    def sent(self, process: Process, lane: LaneId, answers: Sequence[tuple[Position, Answer]]) -> None:
        """The driver has answered."""
        now, facts = self.loop.time(), self.facts[lane.store]
        flow = flow_of(process, self.lanes[lane].site, lane)
        for position, answer in answers:
            self.ends[process, lane, position] = now, process.timers()
            if answer.retry_after_ms:
                self.told_to_wait[facts[position].event_id] = True
            manner, wait_s = self.manners.get((process, facts[position].event_id), (Manner.OK, 0))
            if answer.status == 429 and manner is Manner.THROTTLED:
                self.rests[flow] = max(self.rests.get(flow, 0.0), now + wait_s)
        told = next((one for _, one in answers if one.kind is not AnswerKind.TAKEN), answers[0][1])
        if told.kind in SUCCESSES:
            self.failures.pop(flow, None)
        elif told.kind in FAILURES:
            self.failures[flow] = self.failures.get(flow, 0) + 1
            if self.failures[flow] == BREAKER_FAILURES:
                self.coverage.saw("fault", "breaker_trips")
                self.rests[flow] = max(self.rests.get(flow, 0.0), now + BREAKER_OPEN_MS_MIN / 2_000)

    def attempted(self, process: Process, lane: LaneId, position: Position, next_: str) -> None:
        """What the product made of it: until it is settled, nobody else knows."""
        if next_ not in ("retry", "pause"):
            self.done.setdefault((process, lane), set()).add(position)

    # What far ends see

    def written(self, receiver: Receiver, request: Heard, items: list[Item]) -> None:
        for owner, name in CANARY.findall(request.body):
            if name not in ALLOWED:
                self.broken(f"{receiver} is sent {name.decode()}, which no contract lists")
            if items and owner.decode() != items[0].store:
                self.broken(f"{receiver} is sent what belongs to {owner.decode()}, as {items[0].store}")
        for item in items:
            fact, lane = self._found(item)
            if fact is None or lane is None:
                self.broken(f"{receiver} is sent event {item.event_id}, which nobody has published for it")
                continue
            body = hashlib.sha256(item.data).digest()
            if fact.erased:
                continue  # what is gone is gone from its body too
            if self.bodies.setdefault((lane, item.event_id), body) != body:
                self.broken(f"{receiver} is sent event {fact.number} with another body than before")

    def took(self, receiver: Receiver, request: Heard, item: Item) -> None:
        fact, lane = self._found(item)
        if fact is None or lane is None:
            return
        book = self.lanes[lane]
        times = self.taken[lane, item.event_id] = self.taken.get((lane, item.event_id), 0) + 1
        self.tell(receiver, "takes", fact.number, times)
        self.repeats += times > 1
        if times > 1 or not fact.key or not book.route.ordering:
            return
        last = self.last_taken.get((lane, fact.key), Position(0))
        self.last_taken[lane, fact.key] = max(last, fact.position)
        given_up = request.line.is_closing()  # its sender waits no more, and it arrives all the same
        excused = given_up or fact.position in book.parked_once or self._was_frozen(request, item)
        if fact.position < last and not excused:
            self.broken(f"{receiver} takes event {fact.number} after {last} of its key")

    def _was_frozen(self, request: Heard, item: Item) -> bool:
        """Whether its process froze between the decision to send it and the sending: nobody can hold that back."""
        process: Process = request.sender
        begun = self.begun.get((process, item.event_id), request.written_at)
        return any(begun <= at <= request.written_at for at in process.frozen_from)

    def answered(self, receiver: Receiver, request: Heard, manner: Manner, wait_s: int) -> None:
        self.coverage.saw("manner", manner)
        self.tell(receiver, "says", manner)
        for item in receiver.items(request):
            self.manners[request.sender, item.event_id] = (manner, wait_s)

    def misaddressed(self, receiver: Receiver, request: Heard, why: str) -> None:
        self.broken(f"{receiver} got {request.method} {request.path} from {request.sender}: {why}")

    def _found(self, item: Item) -> tuple[Fact | None, LaneId | None]:
        """The event, and the lane that brings it to this far end."""
        fact = self.by_id.get((item.store, item.event_id))
        if fact is None or item.site is None:
            return fact, None if fact is None else fact.origin
        routes = item.site.contract.going(Direction.OUTBOUND)
        route = next((one for one in routes if one.event.type == fact.type), None)
        return fact, None if route is None else LaneId(item.store, item.site.connection, route.name)

    # The product's own lines

    def line(self, process: Process, name: str, fields: Mapping[str, Value]) -> None:
        match name:
            case "delivery.attempted" if fields["items"] == 1:
                lane = LaneId(StoreId(str(fields["store"])), _con(fields["connection"]), _route(fields["route"]))
                self.attempted(process, lane, _position(fields["position"]), str(fields["next"]))
            case "delivery.failed" if fields["store"] is None and fields["error"] == "TimeoutError":
                self.coverage.saw("lease", "a beat took too long")
            case "delivery.failed" | "engine.failed":
                self.broken(f"{process} says {name} {fields}")
            case "delivery.paused":
                self.coverage.saw("paused", fields["reason"])
            case _:
                self.coverage.saw("line", name)

    # The end

    def owing(self) -> list[LaneId]:
        """Lanes that have not come to the end of what was kept."""
        return [
            lane for lane, book in self.lanes.items() if not book.open or book.unresolved(self.facts.get(lane.store, {}))
        ]

    def owed(self, lane: LaneId) -> list[Fact]:
        return self.lanes[lane].unresolved(self.facts.get(lane.store, {}))

    def close(self) -> None:
        """Nothing has vanished."""
        for fact in self.by_id.values():
            if fact.acked and not fact.position:
                self.broken(f"Event {fact.number} was acknowledged, and is nowhere")
        self.loop.fail_if_broken()

    # What senders are told

    def replied(self, process: Process, facts: Sequence[Fact], reply: Reply) -> None:
        """The moment at which a process answers."""
        status = reply.status
        self.tell(process, "replies", status, *(fact.number for fact in facts))
        self.coverage.saw("ingest", status)
        for fact in facts if 200 <= status < 300 else ():
            fact.acked = True
            if not fact.position:
                self.broken(f"{process} answers {status} for event {fact.number}, which is not in the journal")


def _position(value: Value) -> Position:
    return Position(int(str(value)))


def _con(value: Value) -> ConnectionId:
    return ConnectionId(str(value))


def _route(value: Value) -> RouteName:
    return RouteName(str(value))


def flow_of(process: Process, site: Site, lane: LaneId) -> Flow:
    route = site.contract.route(lane.route)
    direction = route.direction if route is not None else Direction.OUTBOUND
    return process.name, lane.store, lane.connection, direction
