"""Judges what is sent and what far ends take: when, where to, in which order, and what is in it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from crossdock.delivery.pace import FAILURES, SUCCESSES
from crossdock.journal.slots import slot_of
from crossdock.model.attempt import Answer, AnswerKind
from crossdock.model.contract import Direction
from crossdock.model.ids import Instant, LaneId, Position, StoreId
from crossdock.model.lane import HeldState
from crossdock.model.limits import BREAKER_FAILURES, BREAKER_OPEN_MS_MIN, TURN_MS_MAX
from crossdock.testing.world.facts import Fact, LaneBook
from crossdock.testing.world.manners import Manner
from crossdock.testing.world.network import Heard
from crossdock.testing.world.process import Process
from crossdock.testing.world.receivers import Item, Receiver
from crossdock.testing.world.record import Record, flow_of

CANARY = re.compile(rb"canary-(\w+?)-(\w+)")
ALLOWED = frozenset({b"open"})
"""Canaries are planted in fields that contracts list (`open`) and in fields that none does."""
EARLY_SECONDS = 0.002  # clocks count whole milliseconds
STALE_MS = TURN_MS_MAX + 2_000  # a turn looks at its events once, when it begins, and its engine may be slow
PAUSED_SECONDS = 12.0  # a process hears of another's change at its next poll, and ends its turn first

MINUTE_SECONDS = 60

Flow = tuple[str, StoreId, str, Direction]


class Calls(Record):
    """Everything between the decision to send and the far end."""

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
        self.flying[flow] += 1
        if self.back_at is not None and now < self.back_at + MINUTE_SECONDS:
            pace = process.pace(lane, book.route.direction)
            lanes = len(book.site.contract.going(book.route.direction))
            self.crowding += pace is None or self.flying[flow] > max(1, int(pace.concurrency)) + lanes - 1
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
        self.flying[flow] -= 1
        for position, answer in answers:
            self.ends[process, lane, position] = now, process.timers()
            if answer.retry_after_ms:
                self.told_to_wait[facts[position].event_id] = True
            manner, wait_s = self.manners.get((process, facts[position].event_id), (Manner.OK, 0))
            if answer.status == 429 and manner is Manner.THROTTLED:
                self.rests[flow] = max(self.rests.get(flow, 0.0), now + wait_s)
            if answer.kind is AnswerKind.TAKEN and manner is Manner.SPENT:
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
        if times == 1:
            self.first_takes.append((fact, self.loop.time()))
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
