"""How a far end takes what we send, learned from its answers: breaker, Retry-After, concurrency, latency, its budget.

Each part is a small state machine that is told what happened and when; none reads a clock or rolls dice by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from crossdock.delivery.budget import Budget
from crossdock.model.attempt import Answer, AnswerKind
from crossdock.model.ids import Instant
from crossdock.model.limits import (
    BREAKER_FAILURES,
    BREAKER_OPEN_MS_MAX,
    BREAKER_OPEN_MS_MIN,
    CONCURRENCY_CUT_MS,
    CONCURRENCY_FIRST,
    FAST_AGAIN_MS,
    RETRY_AFTER_MS_MAX,
    SLOW_MS,
)


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
LATENCY_SHARE = 0.2  # of the newest answer in the average: five slow ones in a row are seen, one is not
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
    """How a far end takes what we send, learned from its answers: breaker, Retry-After, concurrency, latency.

    Concurrency is what TCP does about a path that it does not know (RFC 5681): it begins small, doubles a round up to
    `threshold`, then grows by one a round; a sign of crowding halves it, and a breaker that opens takes it back to one.
    `concurrency_max` is the contract's. `latency_ms` is a moving average of how long answers took. Until `left_until`
    the far end takes `left` calls more, as it has said. `busy`: how many sends its turns under way may have in flight.
    `probed`: one of them is a probe."""

    concurrency_max: int
    breaker: Breaker = Breaker()
    rests_until: Instant = LONG_AGO
    concurrency: float = 0.0
    threshold: float = 0.0
    cut_at: Instant = LONG_AGO
    latency_ms: float = 0.0
    slow: bool = False
    left: int = 0
    left_until: Instant = LONG_AGO
    busy: int = 0
    probed: bool = False
    budget: Budget = field(default_factory=Budget)

    def __post_init__(self) -> None:
        self.threshold = float(self.concurrency_max)
        self.concurrency = min(self.threshold, float(CONCURRENCY_FIRST))

    def bound(self, concurrency_max: int) -> None:
        """The contract's bound, which may change with a revision."""
        if concurrency_max != self.concurrency_max:
            self.concurrency_max = concurrency_max
            self.threshold = float(concurrency_max)
            self.concurrency = max(1.0, min(self.concurrency, self.threshold))

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
        """Whether a new one would do no harm: it begins as carefully as this one has to go on, or more so."""
        rested = max(self.rests_until, self.cut_at, self.left_until) <= now
        careful = self.slow or self.concurrency < min(CONCURRENCY_FIRST, self.concurrency_max)
        return rested and self.breaker == Breaker() and not careful and self.budget.as_new(now)

    def begin(self, now: Instant, dice: Callable[[], float]) -> tuple[int, int | None]:
        """At the start of a turn: how many sends at once, and how many in all (None: no bound). The turn ends with
        `end`. Lanes of one connection share its concurrency, so that it holds for all of them together, but each that
        has a turn may send one. After a rest there is one probe at a time."""
        if not self.open_at(now):
            return 0, 0
        self.breaker = self.breaker.after(BreakerSignal.RESTED, now, dice)
        if self.breaker.state is BreakerState.PROBING:
            if self.probed:
                return 0, 0
            self.probed = True
            self.busy += 1
            return 1, 1
        at_once, sends = max(1, int(self.concurrency) - self.busy), None
        if now < self.left_until:
            at_once, sends = min(at_once, self.left), self.left
        self.busy += at_once
        return at_once, sends

    def end(self, at_once: int) -> None:
        """A turn that had begun with so many at once has ended, whether it sent anything or not."""
        self.busy = max(0, self.busy - at_once)
        self.probed = False

    def heard(self, answer: Answer, now: Instant, dice: Callable[[], float]) -> None:
        """What the far end said. What we made of it ourselves (unrenderable, forbidden) says nothing about it."""
        if answer.kind in SUCCESSES:
            self.breaker = self.breaker.after(BreakerSignal.SUCCEEDED, now, dice)
            step = 1.0 if self.concurrency < self.threshold else 1 / self.concurrency
            self.concurrency = min(float(self.concurrency_max), self.concurrency + step)
        elif answer.kind in FAILURES:
            was, self.breaker = self.breaker, self.breaker.after(BreakerSignal.FAILED, now, dice)
            if self.breaker.opened > was.opened:
                self.threshold, self.concurrency = max(1.0, self.concurrency / 2), 1.0
        self._took(answer.took_ms)
        if answer.kind is AnswerKind.BUSY and answer.retry_after_ms:
            wish = min(answer.retry_after_ms, RETRY_AFTER_MS_MAX)
            self.rests_until = max(self.rests_until, Instant(now + wish))
        if answer.left is not None and answer.left_ms:
            self._told(answer.left, Instant(now + min(answer.left_ms, RETRY_AFTER_MS_MAX)))
        if answer.kind in CROWDED and now >= self.cut_at:
            self.threshold = self.concurrency = max(1.0, self.concurrency / 2)
            self.cut_at = Instant(now + CONCURRENCY_CUT_MS)

    def _told(self, left: int, until: Instant) -> None:
        """The far end takes so many calls more until then."""
        if left <= 0:
            self.rests_until = max(self.rests_until, until)
        else:
            self.left, self.left_until = left, until

    def drags(self) -> None:
        """A call is under way for SLOW_MS, and nobody knows for how much longer."""
        self.latency_ms, self.slow = max(self.latency_ms, float(SLOW_MS)), True

    def _took(self, took_ms: int) -> None:
        self.latency_ms += (took_ms - self.latency_ms) * LATENCY_SHARE
        # Between the two bounds it stays what it was, so that it does not go to and fro.
        if self.latency_ms >= SLOW_MS:
            self.slow = True
        elif self.latency_ms < FAST_AGAIN_MS:
            self.slow = False
