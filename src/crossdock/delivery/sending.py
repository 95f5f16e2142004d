"""Sending what a plan says: chains side by side, each in its order; or batches. Every try ends as a value."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

import msgspec

from crossdock.credentials.vault import StoreKeys
from crossdock.delivery.awaited import Awaited
from crossdock.delivery.budget import Retries
from crossdock.delivery.decide import decide, expiring
from crossdock.delivery.driver import Driver, Parcel
from crossdock.delivery.meter import Meters
from crossdock.delivery.opening import KeysOf, Opened, parcel_of
from crossdock.delivery.pace import SUCCESSES, Pace
from crossdock.delivery.tally import Erased, Outcome, Tried
from crossdock.journal.port import Journal, Lanes
from crossdock.model.attempt import Answer, AnswerKind, Attempt, Expire, Park, ParkReason, Retry, Settle
from crossdock.model.contract import Batch
from crossdock.model.errors import CrossdockError
from crossdock.model.ids import Instant, Position
from crossdock.model.lane import Fence, Held
from crossdock.model.limits import COST_BYTES, DRIVER_GRACE_MS, SECOND_MS, SLOW_MS, TURN_MS_MAX
from crossdock.observe.lines import Lines
from crossdock.stores.ways import Way, Ways

BLAMELESS_ALONE = frozenset({AnswerKind.REJECTED, AnswerKind.UNRENDERABLE})
"""What one event of a batch can bring upon all of it."""

FAULTS_OF_ONE = frozenset({"timeout", "deadline", "results_unreadable", "item_missing", "driver_failed"})
ALONE_AT_ATTEMPT = 4


@dataclass(frozen=True, slots=True)
class Gear:
    """What delivery works with. `clock` is what it waits by, and does not jump (see `steady`); `wall` is what it tells
    far ends, where that is another one. `dice` gives [0, 1) for jitter, `elapsed` seconds for durations."""

    journal: Journal
    lanes: Lanes
    ways: Ways
    drivers: Mapping[str, Driver]
    keys: KeysOf
    clock: Callable[[], Instant]
    dice: Callable[[], float]
    lines: Lines
    elapsed: Callable[[], float]
    wall: Callable[[], Instant] | None = None

    def told_at(self) -> Instant:
        """The time that a far end is told: what is signed now is signed by the wall clock."""
        return (self.wall or self.clock)()


@dataclass(frozen=True, slots=True)
class Trip:
    """What a turn travels with. `fence` is the lease that it settles under; `halt` says from outside that nothing new
    shall be sent; `slowed` hears that a call takes long, while it is under way."""

    gear: Gear
    way: Way
    keys: StoreKeys
    driver: Driver
    pace: Pace
    rates: Meters
    retries: Retries
    fence: Fence
    halt: Callable[[], bool]
    slowed: Callable[[], None]

    def drags(self) -> None:
        self.pace.drags()
        self.slowed()


@dataclass(slots=True)
class Sending:
    """The sends of one turn, and what became of them. `cost` adds up what they cost, `pause` says why to pause."""

    trip: Trip
    held: Mapping[Position, Held]
    opened: Mapping[Position, Opened]
    tried: dict[Position, Tried] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    pause: str | None = None
    cost: int = 0
    ends_at: float = 0.0
    awaited: Awaited = field(init=False)

    async def send(self, chains: Sequence[tuple[Position, ...]], at_once: int) -> None:
        """Returns when all are tried, or as soon as nothing more may be sent and what is in flight has ended."""
        self.ends_at = self.trip.gear.elapsed() + TURN_MS_MAX / SECOND_MS
        self.awaited = Awaited(self.trip.drags, SLOW_MS / SECOND_MS)
        try:
            await self._send(chains, at_once)
        finally:
            self.awaited.close()

    async def _send(self, chains: Sequence[tuple[Position, ...]], at_once: int) -> None:
        batch = self.trip.way.route.batch
        if batch is not None:
            await self._send_batches(chains, batch)
            return
        left = deque(chains)
        workers = min(at_once, len(left))
        if workers <= 1:
            await self._work(left)
            return
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work(left))

    async def _work(self, left: deque[tuple[Position, ...]]) -> None:
        while left and not self._halted():
            for position in left.popleft():
                if self._halted():
                    return
                parcel = self._parcel(position)
                if parcel is not None:
                    await self._try((parcel,))
                if self._unresolved(position):
                    break

    async def _send_batches(self, chains: Sequence[tuple[Position, ...]], batch: Batch) -> None:
        # One of each key at a time, so that a failed item never has a later one of its key in the same request.
        going = [deque(chain) for chain in chains]
        while going and not self._halted():
            for group in self._batches([chain[0] for chain in going], batch):
                if self._halted():
                    return
                await self._try(group)
            going = [chain for chain in going if not self._unresolved(chain.popleft()) and chain]

    def _batches(self, positions: Sequence[Position], batch: Batch) -> list[tuple[Parcel, ...]]:
        by_size: dict[int, list[Parcel]] = {}
        for position in positions:
            parcel = self._parcel(position)
            if parcel is not None:
                by_size.setdefault(self._items_max(position, batch), []).append(parcel)
        return [group for size, parcels in by_size.items() for group in batches_of(parcels, size, batch.body_bytes_max)]

    def _items_max(self, position: Position, batch: Batch) -> int:
        row = self.held.get(position)
        failed = row.attempts if row is not None and may_be_one_of_them(row.reason) else 0
        return items_after(failed, batch.items_max, self.trip.way.route.retry.attempts_max)

    def _halted(self) -> bool:
        trip, now = self.trip, self.trip.gear.clock()
        return (
            self.pause is not None
            or trip.halt()
            or trip.gear.elapsed() >= self.ends_at
            or not trip.pace.open_at(now)
            or trip.rates.spare(now) == 0  # another lane of the account may have used up what there was
        )

    def _unresolved(self, position: Position) -> bool:
        tried = self.tried.get(position)
        return tried is None or isinstance(tried.outcome, Retry)

    def _parcel(self, position: Position) -> Parcel | None:
        """None where none can be made of the event: then it is set aside, alone."""
        row, trip = self.held.get(position), self.trip
        attempt = row.attempts + 1 if row is not None else 1
        try:
            return parcel_of(trip.way, trip.keys, self.opened[position], attempt, row is not None and row.replay)
        except (CrossdockError, ValueError, TypeError, RecursionError) as error:
            self._failed(error)
            self.tried[position] = Tried(Park(ParkReason.UNRENDERABLE), attempt - 1, trip.gear.clock())
            return None

    async def _try(self, parcels: tuple[Parcel, ...]) -> None:
        answers = await self._call(parcels)
        if len(parcels) > 1 and answers[0].kind in BLAMELESS_ALONE and len(set(answers)) == 1:
            # The far end refused the request as a whole: halves find the one event that is to blame.
            half = len(parcels) // 2
            for part in (parcels[:half], parcels[half:]):
                if not self._halted():
                    await self._try(part)

    async def _call(self, parcels: tuple[Parcel, ...]) -> tuple[Answer, ...]:
        trip, gear = self.trip, self.trip.gear
        begun_at, begun = gear.clock(), gear.elapsed()
        self.cost += cost_of(self.opened[parcel.position] for parcel in parcels)
        retry = all(parcel.attempt > 1 for parcel in parcels)
        trip.rates.spend(1, begun_at)
        trip.retries.called(retry, begun_at)
        answers = await self._answers(parcels, gear.told_at(), begun)
        now = gear.clock()
        ends = [self._conclude(parcel, answer, begun_at, now) for parcel, answer in zip(parcels, answers, strict=True)]
        # A batch is one call: one answer of it speaks for the far end, a bad one if there is any.
        told = next((answer for answer in answers if answer.kind is not AnswerKind.TAKEN), answers[0])
        trip.pace.heard(told, now, gear.dice)
        trip.retries.answered(told.kind in SUCCESSES, retry)
        self._write(parcels, told, ends, now)
        return answers

    async def _answers(self, parcels: tuple[Parcel, ...], now: Instant, begun: float) -> tuple[Answer, ...]:
        """The driver's answers. A driver that hangs or raises is a fault of ours: the entries are tried again."""
        trip = self.trip
        deadline = (trip.way.route.delivery.timeout_ms + DRIVER_GRACE_MS) / SECOND_MS
        call = self.awaited.begin()
        try:
            async with asyncio.timeout(deadline):
                answers = await trip.driver.deliver(trip.way, parcels, now)
        except TimeoutError:
            return (Answer(AnswerKind.TIMEOUT, "deadline", self._took_ms(begun)),) * len(parcels)
        except Exception as error:  # noqa: BLE001  # the bulkhead between drivers and lanes; it is told, not hidden
            self._failed(error)
            return (Answer(AnswerKind.BROKEN, "driver_failed", self._took_ms(begun)),) * len(parcels)
        finally:
            self.awaited.end(call)
        if len(answers) != len(parcels):
            self._failed(ValueError("answers"))
            return (Answer(AnswerKind.BROKEN, "driver_failed", self._took_ms(begun)),) * len(parcels)
        return answers

    def _conclude(self, parcel: Parcel, answer: Answer, begun_at: Instant, now: Instant) -> Outcome:
        gear, way, row = self.trip.gear, self.trip.way, self.held.get(parcel.position)
        first_at = row.held_at if row is not None and row.attempts else begun_at
        opened = self.opened[parcel.position]
        decision = decide(
            answer, attempt=parcel.attempt, first_at=first_at, now=now, rule=way.route.retry, dice=gear.dice
        )
        outcome: Outcome = expiring(decision, opened.facts.expires_at)
        if opened.partial and outcome == Park(ParkReason.UNRENDERABLE):
            outcome = Erased()
        pause = outcome.pause if isinstance(outcome, Retry | Park) else None
        self.pause = self.pause or pause
        self.tried[parcel.position] = Tried(outcome, parcel.attempt, first_at)
        self.attempts.append(
            Attempt(
                position=parcel.position,
                event_id=parcel.event_id,
                number=parcel.attempt,
                at=begun_at,
                answer=answer,
                next=next_of(outcome),
                correlation_id=parcel.correlation_id,
                not_before=outcome.not_before if isinstance(outcome, Retry) else None,
            )
        )
        return outcome

    def _write(self, parcels: tuple[Parcel, ...], told: Answer, ends: Sequence[Outcome], now: Instant) -> None:
        lane, first = self.trip.way.lane, parcels[0]
        end = next((one for one in ends if not isinstance(one, Settle)), ends[0])
        self.trip.gear.lines.write(
            "delivery.attempted",
            store=lane.store,
            connection=lane.connection,
            route=lane.route,
            position=first.position,
            event=first.event_id,
            attempt=first.attempt,
            answer=str(told.kind),
            code=told.code,
            next=next_of(end),
            retry_in_ms=end.not_before - now if isinstance(end, Retry) else None,
            took_ms=told.took_ms,
            correlation=first.correlation_id,
            items=len(parcels),
        )

    def _took_ms(self, begun: float) -> int:
        return int((self.trip.gear.elapsed() - begun) * SECOND_MS)

    def _failed(self, error: Exception) -> None:
        lane = self.trip.way.lane
        self.trip.gear.lines.write(
            "delivery.failed",
            store=lane.store,
            connection=lane.connection,
            route=lane.route,
            error=type(error).__name__,
            code=error.code if isinstance(error, CrossdockError) else "CD4002",
        )


def may_be_one_of_them(code: str) -> bool:
    """Whether a batch that ended so may have done so because of one event in it: the far end was reached, and broke."""
    return (code.startswith("http_5") and code != "http_503") or code in FAULTS_OF_ONE


def items_after(failed: int, items_max: int, attempts_max: int) -> int:
    """How many events may share a request with one that failed so often with others. It shrinks to one by the last
    attempt, the fourth at the latest: so an event that breaks each batch that it is in is given up alone."""
    last = min(attempts_max, ALONE_AT_ATTEMPT)
    if last <= 1:
        return items_max
    return max(1, int(items_max ** (max(0, last - 1 - failed) / (last - 1)) + 1e-9))


def batches_of(parcels: Iterable[Parcel], items_max: int, body_bytes_max: int) -> list[tuple[Parcel, ...]]:
    """In order, each within both bounds; an event that is too large by itself goes alone."""
    groups: list[tuple[Parcel, ...]] = []
    group: list[Parcel] = []
    size = 0
    for parcel in parcels:
        weight = len(msgspec.json.encode(parcel.data)) + 1
        if group and (len(group) >= items_max or size + weight > body_bytes_max):
            groups.append(tuple(group))
            group, size = [], 0
        group.append(parcel)
        size += weight
    return [*groups, tuple(group)] if group else groups


def cost_of(events: Iterable[Opened]) -> int:
    """One for the call, and one for each COST_BYTES of what is sent."""
    return 1 + sum(len(one.entry.body) for one in events) // COST_BYTES


def next_of(outcome: Outcome) -> str:
    """What follows, in one word."""
    match outcome:
        case Settle():
            return "settle"
        case Retry():
            return "pause" if outcome.pause else "retry"
        case Park():
            return "park"
        case Expire():
            return "expire"
        case Erased():
            return "erase"
        case _:
            assert_never(outcome)
