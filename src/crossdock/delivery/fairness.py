"""Who may send now, and how much: deficit round robin, caps in flight, a breaker, adaptive concurrency, a rate. Pure.

Each part is a small state machine that is told what happened and when; none reads a clock or rolls dice by itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Generic, TypeVar

from crossdock.model.attempt import Answer, AnswerKind
from crossdock.model.contract import Rate
from crossdock.model.ids import ConnectionId, Instant, StoreId
from crossdock.model.limits import (
    BREAKER_FAILURES,
    BREAKER_OPEN_MS_MAX,
    BREAKER_OPEN_MS_MIN,
    CONCURRENCY_CUT_MS,
    LANE_IN_FLIGHT_MAX,
    PROCESS_IN_FLIGHT_MAX,
    RETRY_AFTER_MS_MAX,
    STORE_IN_FLIGHT_MAX,
)

Flow = TypeVar("Flow")


class RoundRobin(Generic[Flow]):
    """Deficit round robin (Shreedhar and Varghese, 1996). A flow that has work is served again after at most one turn
    of every other one, and of two flows with work all the time neither gets more than a quantum and one turn ahead."""

    def __init__(self, quantum: int) -> None:
        self._quantum = quantum
        self._deficits: OrderedDict[Flow, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._deficits)

    def __contains__(self, flow: object) -> bool:
        return flow in self._deficits

    def enter(self, flow: Flow) -> None:
        """The flow has work. It keeps its place if it had some already."""
        self._deficits.setdefault(flow, 0)

    def leave(self, flow: Flow) -> None:
        """The flow has no work any more: what it did not use is gone."""
        self._deficits.pop(flow, None)

    def next(self, able: Callable[[Flow], bool]) -> tuple[Flow, int] | None:
        """The next flow that is able to send, with what it may send; it goes to the end. None if there is none.

        A flow that is not able keeps its place and gains nothing meanwhile."""
        found = next((flow for flow in self._deficits if able(flow)), None)
        if found is None:
            return None
        # What was overspent is paid back by waiting for quanta, never by waiting for ever.
        self._deficits[found] += self._quantum
        self._deficits.move_to_end(found)
        return found, max(1, self._deficits[found])

    def charge(self, flow: Flow, sends: int) -> None:
        """What the flow's turn really cost. What it left unused does not pile up beyond a quantum."""
        if flow in self._deficits:
            self._deficits[flow] = min(self._deficits[flow] - sends, self._quantum)


@dataclass(slots=True)
class Caps:
    """Sends in flight, bounded per connection, store and process, so that one store can never take all senders."""

    connection_max: int = LANE_IN_FLIGHT_MAX
    store_max: int = STORE_IN_FLIGHT_MAX
    process_max: int = PROCESS_IN_FLIGHT_MAX
    total: int = 0
    stores: dict[StoreId, int] = field(default_factory=dict)
    connections: dict[ConnectionId, int] = field(default_factory=dict)

    def room(self, store: StoreId, connection: ConnectionId) -> int:
        """How many more sends may be in flight for the connection."""
        return min(
            self.connection_max - self.connections.get(connection, 0),
            self.store_max - self.stores.get(store, 0),
            self.process_max - self.total,
        )

    def take(self, store: StoreId, connection: ConnectionId, wanted: int) -> int:
        """As many as there is room for, at most `wanted`; `give_back` must follow."""
        taken = max(0, min(wanted, self.room(store, connection)))
        self._add(store, connection, taken)
        return taken

    def give_back(self, store: StoreId, connection: ConnectionId, taken: int) -> None:
        self._add(store, connection, -taken)

    def _add(self, store: StoreId, connection: ConnectionId, number: int) -> None:
        self.total += number
        # A store or connection without a send in flight costs no memory.
        in_store = self.stores.pop(store, 0) + number
        if in_store:
            self.stores[store] = in_store
        in_connection = self.connections.pop(connection, 0) + number
        if in_connection:
            self.connections[connection] = in_connection


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


class BreakerSignal(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TRIPPED = "tripped"  # failed, and that was one too many
    RESTED = "rested"


_B, _G = BreakerState, BreakerSignal
BREAKER_MOVES: dict[tuple[BreakerState, BreakerSignal], BreakerState] = {
    (_B.CLOSED, _G.SUCCEEDED): _B.CLOSED,
    (_B.CLOSED, _G.FAILED): _B.CLOSED,
    (_B.CLOSED, _G.TRIPPED): _B.OPEN,
    (_B.CLOSED, _G.RESTED): _B.CLOSED,
    (_B.OPEN, _G.SUCCEEDED): _B.OPEN,  # a late answer of a send from before: only a probe closes it
    (_B.OPEN, _G.FAILED): _B.OPEN,
    (_B.OPEN, _G.TRIPPED): _B.OPEN,
    (_B.OPEN, _G.RESTED): _B.PROBING,
    (_B.PROBING, _G.SUCCEEDED): _B.CLOSED,
    (_B.PROBING, _G.FAILED): _B.OPEN,
    (_B.PROBING, _G.TRIPPED): _B.OPEN,
    (_B.PROBING, _G.RESTED): _B.PROBING,
}
"""Every pair has its move: an answer can come at any time."""

LONG_AGO = Instant(0)

FAILURES = frozenset({AnswerKind.BUSY, AnswerKind.BROKEN, AnswerKind.TIMEOUT, AnswerKind.UNREACHABLE})
SUCCESSES = frozenset({AnswerKind.TAKEN, AnswerKind.REJECTED})
CROWDED = frozenset({AnswerKind.BUSY, AnswerKind.TIMEOUT})


@dataclass(frozen=True, slots=True)
class Breaker:
    """`failures` in a row, `opened` times in a row without a success; it rests until `until`."""

    state: BreakerState = BreakerState.CLOSED
    failures: int = 0
    opened: int = 0
    until: Instant = LONG_AGO

    def after(self, signal: BreakerSignal, now: Instant, dice: Callable[[], float]) -> Breaker:
        """The breaker after the signal. Opening takes a rest that doubles each time, jittered by half."""
        tripped = signal is _G.FAILED and self.failures + 1 >= BREAKER_FAILURES
        state = BREAKER_MOVES[self.state, _G.TRIPPED if tripped else signal]
        if signal is _G.RESTED:
            return replace(self, state=state)
        if state is _B.OPEN and self.state is not _B.OPEN:
            rest = min(BREAKER_OPEN_MS_MAX, BREAKER_OPEN_MS_MIN << min(self.opened, 30))
            until = Instant(now + rest // 2 + int(dice() * rest / 2))
            return Breaker(state, self.failures + 1, self.opened + 1, until)
        if signal is _G.SUCCEEDED and state is _B.CLOSED:
            return Breaker()
        return replace(self, state=state, failures=self.failures + (signal is _G.FAILED))


@dataclass(slots=True)
class Pace:
    """How a far end takes what we send, learned from its answers: breaker, Retry-After, concurrency (AIMD).

    `concurrency_max` is the contract's; what is used halves on a sign of crowding and grows by one a round."""

    concurrency_max: int
    breaker: Breaker = Breaker()
    rests_until: Instant = LONG_AGO
    concurrency: float = 0.0
    cut_at: Instant = LONG_AGO

    def __post_init__(self) -> None:
        self.concurrency = float(self.concurrency_max)

    def bound(self, concurrency_max: int) -> None:
        """The contract's bound, which may change with a revision."""
        if concurrency_max != self.concurrency_max:
            self.concurrency_max = concurrency_max
            self.concurrency = min(self.concurrency, float(concurrency_max)) or 1.0

    def ready_at(self) -> Instant:
        """Before this nothing is sent."""
        if self.breaker.state is BreakerState.OPEN:
            return max(self.breaker.until, self.rests_until)
        return self.rests_until

    def open_at(self, now: Instant) -> bool:
        return self.ready_at() <= now

    def try_again(self, now: Instant) -> None:
        """An open breaker has rested enough."""
        if self.breaker.state is BreakerState.OPEN:
            self.breaker = replace(self.breaker, until=min(self.breaker.until, now))

    def as_new(self, now: Instant) -> bool:
        """Whether a new one would act the same."""
        rested = max(self.rests_until, self.cut_at) <= now
        return rested and self.breaker == Breaker() and self.concurrency >= self.concurrency_max

    def begin(self, now: Instant, dice: Callable[[], float]) -> tuple[int, int | None]:
        """At the start of a turn: how many sends at once, and how many in all (None: no bound; 1: a probe)."""
        if not self.open_at(now):
            return 0, 0
        self.breaker = self.breaker.after(BreakerSignal.RESTED, now, dice)
        if self.breaker.state is BreakerState.PROBING:
            return 1, 1
        return max(1, int(self.concurrency)), None

    def heard(self, answer: Answer, now: Instant, dice: Callable[[], float]) -> None:
        """What the far end said. What we made of it ourselves (unrenderable, forbidden) says nothing about it."""
        if answer.kind in SUCCESSES:
            self.breaker = self.breaker.after(BreakerSignal.SUCCEEDED, now, dice)
            self.concurrency = min(float(self.concurrency_max), self.concurrency + 1 / max(self.concurrency, 1.0))
        elif answer.kind in FAILURES:
            self.breaker = self.breaker.after(BreakerSignal.FAILED, now, dice)
        if answer.kind is AnswerKind.BUSY and answer.retry_after_ms:
            wish = min(answer.retry_after_ms, RETRY_AFTER_MS_MAX)
            self.rests_until = max(self.rests_until, Instant(now + wish))
        if answer.kind in CROWDED and now >= self.cut_at:
            self.concurrency = max(1.0, self.concurrency / 2)
            self.cut_at = Instant(now + CONCURRENCY_CUT_MS)


@dataclass(slots=True)
class Meter:
    """A rate, as a generic cell rate algorithm (ITU-T I.371): `burst` at once, then `limit` in each `per_ms`."""

    rate: Rate
    next_free_ms: float = 0.0

    @property
    def step_ms(self) -> float:
        return self.rate.per_ms / self.rate.limit

    def spare(self, now: Instant) -> int:
        """How many calls may be made at `now`."""
        ahead = max(0.0, self.next_free_ms - now)
        return max(0, int(self.rate.burst - ahead / self.step_ms + 1e-9))

    def spend(self, calls: int, now: Instant) -> None:
        self.next_free_ms = max(self.next_free_ms, float(now)) + calls * self.step_ms

    def ready_at(self, now: Instant) -> Instant:
        """When the next call may be made."""
        late = self.next_free_ms - now - (self.rate.burst - 1) * self.step_ms
        return Instant(now + max(0, int(late) + (late > int(late))))
