"""What retries may cost a far end: a share of its first attempts, and a little more so that a quiet one is retried too.

A token is one call that is a retry. A far end earns a share of a token with each first attempt. Once it has answered
well RETRY_TRUST times in a row, a retry that it answers well gives its token back, with as much again: so one that has
come back is met by ever more retries, as its answers allow. Beside that each far end is granted a few a
minute. What is granted comes out of one allowance of the process, of which a store has at most a quarter: many far ends
that fail at once do not add up, and one store's cannot take it all. What is earned is the far end's own.

A retry without a token waits where it is: no attempt is spent, and nothing is lost. (Retry budgets: "Addressing
Cascading Failures" in Site Reliability Engineering, and retry throttling of gRPC, proposal A6.)
"""

from __future__ import annotations

from dataclasses import dataclass

from crossdock.delivery.meter import Meter
from crossdock.model.ids import Instant
from crossdock.model.limits import (
    MINUTE_MS,
    RETRIES_GRANTED_MAX,
    RETRIES_GRANTED_PER_MINUTE,
    RETRIES_SAVED_MAX,
    RETRY_SHARE,
    RETRY_TRUST,
)

LONG_AGO = Instant(0)
GRANT_MS = MINUTE_MS / RETRIES_GRANTED_PER_MINUTE
EPSILON = 1e-9


@dataclass(slots=True)
class Budget:
    """Of one far end: tokens `earned`, and tokens `granted` as of `at`. `well`: good answers in a row."""

    earned: float = 0.0
    well: int = 0
    granted: float = float(RETRIES_GRANTED_MAX)
    at: Instant = LONG_AGO

    def tried(self) -> None:
        """A first attempt was made."""
        self.earned = min(RETRIES_SAVED_MAX, self.earned + RETRY_SHARE)

    def retried(self, now: Instant) -> bool:
        """A retry was made; whether it took a token that is granted, not one that was earned."""
        if self.earned >= 1 - EPSILON:
            self.earned -= 1
            return False
        self._accrue(now)
        # Of several turns at once each may have seen the last token: below zero, they wait for it.
        self.granted -= 1
        return True

    def answered(self, well: bool, retry: bool) -> None:
        self.well = self.well + 1 if well else 0
        if retry and self.well > RETRY_TRUST:
            self.earned = min(RETRIES_SAVED_MAX, self.earned + 1 + RETRY_SHARE)

    def spare(self, now: Instant) -> tuple[int, int]:
        """How many retries may be made now: of those earned, and of those granted."""
        self._accrue(now)
        return int(self.earned + EPSILON), max(0, int(self.granted + EPSILON))

    def ready_at(self, now: Instant) -> Instant:
        """When there is a token, unless one is earned before."""
        if any(self.spare(now)):
            return now
        return Instant(now + int((1 - self.granted) * GRANT_MS) + 1)

    def as_new(self, now: Instant) -> bool:
        """Whether a new one would give no more, and no less."""
        self._accrue(now)
        return self.granted >= RETRIES_GRANTED_MAX - EPSILON

    def _accrue(self, now: Instant) -> None:
        self.granted = min(RETRIES_GRANTED_MAX, self.granted + max(0, now - self.at) / GRANT_MS)
        self.at = max(self.at, now)


@dataclass(frozen=True, slots=True)
class Retries:
    """What the retries of a far end may cost: its own budget, and the `allowances` that grants come out of."""

    budget: Budget
    allowances: tuple[Meter, ...] = ()

    def spare(self, now: Instant) -> int:
        earned, granted = self.budget.spare(now)
        return earned + min([granted, *(one.spare(now) for one in self.allowances)])

    def ready_at(self, now: Instant) -> Instant:
        """When the next may be made."""
        if self.spare(now):
            return now
        return max([self.budget.ready_at(now), *(one.ready_at(now) for one in self.allowances)])

    def called(self, retry: bool, now: Instant) -> None:
        """A call is made: a retry, or a first attempt."""
        if not retry:
            self.budget.tried()
        elif self.budget.retried(now):
            for one in self.allowances:
                one.spend(1, now)

    def answered(self, well: bool, retry: bool) -> None:
        """The far end's answer to one."""
        self.budget.answered(well, retry)
