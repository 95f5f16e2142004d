"""Idle connections by key, bounded in number and in age. Nothing here waits."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

from crossdock.model.limits import LANE_IN_FLIGHT_MAX, PROCESS_IN_FLIGHT_MAX

IDLE_SECONDS_MAX = 4.0  # common servers close an idle connection after 5 s: to be the first is to be safe
CONNECTION_SECONDS_MAX = 60.0  # then the name is resolved again


class Poolable(Protocol):
    opened_at: float
    idle_since: float

    @property
    def reusable(self) -> bool: ...

    def close(self) -> None: ...


K = TypeVar("K", bound=Hashable)
C = TypeVar("C", bound=Poolable)


class Pool(Generic[K, C]):
    """`take` gives the newest idle connection of a key that is still good; `give` keeps one, and closes those that are
    stale or over the bounds. `now` is a monotonic clock in seconds."""

    def __init__(self) -> None:
        self._idle: OrderedDict[K, deque[C]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def take(self, key: K, now: float) -> C | None:
        lines = self._idle.get(key)
        while lines:
            line = lines.pop()
            self._count -= 1
            if not lines:
                del self._idle[key]
            if _good(line, now):
                return line
            line.close()
        return None

    def give(self, key: K, line: C, now: float) -> None:
        lines = self._idle.setdefault(key, deque())
        if len(lines) >= LANE_IN_FLIGHT_MAX or now - line.opened_at >= CONNECTION_SECONDS_MAX:
            line.close()
            if not lines:
                del self._idle[key]
            return
        line.idle_since = now
        lines.append(line)
        self._idle.move_to_end(key)
        self._count += 1
        if self._count > PROCESS_IN_FLIGHT_MAX:
            self._drop_oldest()

    def sweep(self, now: float) -> None:
        """Closes what has been idle for too long."""
        for key in list(self._idle):
            lines = self._idle[key]
            while lines and not _good(lines[0], now):
                lines.popleft().close()
                self._count -= 1
            if not lines:
                del self._idle[key]

    def close(self) -> None:
        while self._idle:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        key = next(iter(self._idle))
        lines = self._idle[key]
        lines.popleft().close()
        self._count -= 1
        if not lines:
            del self._idle[key]


def _good(line: Poolable, now: float) -> bool:
    return line.reusable and now - line.idle_since < IDLE_SECONDS_MAX and now - line.opened_at < CONNECTION_SECONDS_MAX
