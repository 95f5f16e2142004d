"""Calls under way, and a word when one of them takes long: one timer for all of a turn, since calls are many."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Awaited:
    """`late` is called once, when a call has been under way for `late_seconds`. `close` ends the watch."""

    def __init__(self, late: Callable[[], None], late_seconds: float) -> None:
        self._late = late
        self._seconds = late_seconds
        self._loop = asyncio.get_running_loop()
        self._begun: dict[int, float] = {}  # the oldest first
        self._calls = 0
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(late_seconds, self._look)

    def begin(self) -> int:
        """A call has begun; `end` must follow with what this gives."""
        self._calls += 1
        self._begun[self._calls] = self._loop.time()
        return self._calls

    def end(self, call: int) -> None:
        del self._begun[call]

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        due = next(iter(self._begun.values()), now) + self._seconds
        if due <= now:
            self._timer = None
            self._late()
        else:
            self._timer = self._loop.call_at(due, self._look)
