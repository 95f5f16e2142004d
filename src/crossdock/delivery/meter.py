"""Rates. A meter is told what is spent and when; it reads no clock."""

from __future__ import annotations

from dataclasses import dataclass

from crossdock.model.contract import Rate
from crossdock.model.ids import Instant


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


@dataclass(frozen=True, slots=True)
class Meters:
    """Several rates that hold at once: of a route, of an account that it shares with others."""

    parts: tuple[Meter, ...] = ()

    def spare(self, now: Instant) -> int | None:
        """How many calls may be made at `now`; None without a bound."""
        return min((one.spare(now) for one in self.parts), default=None)

    def spend(self, calls: int, now: Instant) -> None:
        for one in self.parts:
            one.spend(calls, now)

    def ready_at(self, now: Instant) -> Instant:
        return max((one.ready_at(now) for one in self.parts), default=now)
