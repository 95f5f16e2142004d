"""The clock that delivery waits by: it says the time, and never jumps."""

from __future__ import annotations

from collections.abc import Callable

from crossdock.model.ids import Instant
from crossdock.model.limits import SECOND_MS


class Steady:
    """Set by the wall clock once, when it is made; from then on it goes with `elapsed`, whatever is done to the wall
    clock. So a clock that is set forward sends nothing early, and one that is set back holds nothing up.

    Where the wall clock was wrong at that moment, it stays as far from the right time until the process is started
    anew: what that moves is only when a retry of another process comes due here."""

    def __init__(self, wall: Callable[[], Instant], elapsed: Callable[[], float]) -> None:
        self._elapsed = elapsed
        self._began = wall()
        self._began_at = elapsed()

    def __call__(self) -> Instant:
        return Instant(self._began + int((self._elapsed() - self._began_at) * SECOND_MS))
