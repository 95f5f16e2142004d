"""Planted bugs: each takes one promise away from the product while it is active. A world must find every one.

A saboteur is a context manager. `SABOTEURS` names them, with the plot that shows them and how many seeds it may take.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from crossdock.delivery import opening, pace, rounds, schedule, sending, tally
from crossdock.delivery.budget import Retries
from crossdock.delivery.ownership import Ownership
from crossdock.drivers import answers, webhook
from crossdock.engines.memory.slots import MemorySlots
from crossdock.ingest import accept
from crossdock.journal import memory
from crossdock.journal.memory import MemoryJournal, MemoryLanes
from crossdock.model.attempt import Settle
from crossdock.model.connection import ConnectionState
from crossdock.model.entry import Kept
from crossdock.model.ids import LaneId, Position, RouteName
from crossdock.stores.directory import Directory
from crossdock.stores.ways import Way
from crossdock.testing.world import process

Active = Callable[[], AbstractContextManager[None]]


@contextlib.contextmanager
def patched(place: Any, name: str, planted: Any) -> Iterator[None]:
    honest = getattr(place, name)
    setattr(place, name, planted)
    try:
        yield
    finally:
        setattr(place, name, honest)


# Delivery


def drop_on_fourth_retry() -> AbstractContextManager[None]:
    """At its fourth retry an event counts as delivered, whatever the far end says."""
    honest = sending.decide

    def decide(answer: Any, *, attempt: int, **rest: Any) -> Any:
        return Settle() if attempt > 4 else honest(answer, attempt=attempt, **rest)

    return patched(sending, "decide", decide)


def new_id_per_attempt() -> AbstractContextManager[None]:
    honest = webhook.message_id
    return patched(webhook, "message_id", lambda parcel: f"{honest(parcel)}-{parcel.attempt}")


def body_per_attempt() -> AbstractContextManager[None]:
    honest = webhook.body_of

    def body_of(parcel: Any) -> bytes:
        return honest(replace(parcel, extensions=(("attempt", parcel.attempt),)))

    return patched(webhook, "body_of", body_of)


def order_ignored() -> AbstractContextManager[None]:
    """No key ever waits."""
    return patched(schedule._Draft, "_block", lambda self, key: None)


def global_queue() -> AbstractContextManager[None]:
    """Whatever has to wait lets all that comes after it wait."""

    def take_new(self: Any, position: Position, skip: bool) -> bool:
        return False if self.blocked else honest(self, position, skip)

    honest = schedule._Draft.take_new
    return patched(schedule._Draft, "take_new", take_new)


def fence_not_checked() -> AbstractContextManager[None]:
    """Whoever settles is believed, also after its slot was taken."""
    return patched(MemorySlots, "stands", lambda self, fence: True)


def lease_not_checked() -> AbstractContextManager[None]:
    """A process goes on as if its lease had no end."""
    return patched(Ownership, "alive", lambda self: True)


def retry_after_ignored() -> AbstractContextManager[None]:
    return patched(answers, "retry_after_ms", lambda value, now: None)


def breaker_never_rests() -> AbstractContextManager[None]:
    return patched(pace, "BREAKER_FAILURES", 10**9)


def cursor_past_unsettled() -> AbstractContextManager[None]:
    """What a turn did not come to counts as delivered when the cursor passes it."""
    return patched(tally._Books, "_hold_untried", lambda self, position, key: self._count("delivered"))


def latest_drops_newest() -> AbstractContextManager[None]:
    """Of each key even the newest is overtaken, by nobody."""
    honest = schedule._latest

    def latest(*given: Any) -> dict[str, Position]:
        return {key: Position(position + 1) for key, position in honest(*given).items()}

    return patched(schedule, "_latest", latest)


def expiry_ignored() -> AbstractContextManager[None]:
    return patched(opening, "expiry", lambda route, entry: None)


def field_not_listed() -> AbstractContextManager[None]:
    """The whole event leaves, not the contract's list."""
    return patched(opening, "minimise", lambda data, fields, pepper: data)


def pause_ignored() -> AbstractContextManager[None]:
    honest = Directory.way

    async def way(self: Directory, lane: LaneId) -> Way | None:
        found = await honest(self, lane)
        return None if found is None else replace(found, state=ConnectionState.ENABLED)

    return patched(Directory, "way", way)


def news_only_by_hint() -> AbstractContextManager[None]:
    """Nothing is polled for: a lost hint is lost news."""

    async def moved(self: MemoryJournal, mark: int | None) -> Any:
        found = await honest(self, mark)
        return replace(found, heads={})

    honest = MemoryJournal.moved
    return patched(MemoryJournal, "moved", moved)


def wall_clock_timers() -> AbstractContextManager[None]:
    return patched(process, "Steady", lambda wall, elapsed: wall)


def uuid4_in_core() -> AbstractContextManager[None]:
    honest = sending.decide

    def decide(*given: Any, **named: Any) -> Any:
        uuid.uuid4()
        return honest(*given, **named)

    return patched(sending, "decide", decide)


def news_by_hash() -> AbstractContextManager[None]:
    """News are taken up in the order of a set of names, which is another one in every process."""

    return patched(rounds, "islice", lambda stores, most: set(stores))


# The journal and its neighbours


def replay_not_counted() -> AbstractContextManager[None]:
    honest = MemoryLanes.replayed_resolved

    def replayed(self: MemoryLanes, row: memory.LaneRow, *given: Any) -> memory.LaneRow:
        done = honest(self, row, *given)
        return replace(done, lane=replace(done.lane, replayed=row.lane.replayed))

    return patched(MemoryLanes, "replayed_resolved", replayed)


def cache_shared_by_stores() -> AbstractContextManager[None]:
    """Ways are remembered by the route's name alone."""
    honest, known = Directory.way, dict[RouteName, Way]()

    async def way(self: Directory, lane: LaneId) -> Way | None:
        found = await honest(self, lane)
        if found is None:
            return None
        return replace(known.setdefault(lane.route, found), lane=lane)

    return patched(Directory, "way", way)


def repeats_are_new() -> AbstractContextManager[None]:
    """The journal keeps a repeated event once more."""
    honest = MemoryJournal._append

    def append(self: MemoryJournal, draft: Any) -> Any:
        self._state.firsts.clear()
        return honest(self, draft)

    return patched(MemoryJournal, "_append", append)


def no_budget() -> AbstractContextManager[None]:
    """Whatever is due is retried."""
    return patched(Retries, "spare", lambda self, now: 10**6)


def left_ignored() -> AbstractContextManager[None]:
    return patched(answers, "left_of", lambda headers, now: None)


# Ingest

OWED: set[asyncio.Task[Any]] = set()


def ack_before_commit() -> AbstractContextManager[None]:
    """A sender is answered first, and the journal written a moment later."""
    honest = accept.keep

    async def keep(journal: Any, packer: Any, packed: Sequence[Any]) -> list[Any]:
        async def later() -> None:
            await asyncio.sleep(0.02)
            await honest(journal, packer, list(packed))

        OWED.add(asyncio.get_running_loop().create_task(later()))
        return [Kept(Position(1)) for _ in packed]

    return patched(accept, "keep", keep)


@dataclass(frozen=True, slots=True)
class Planted:
    """A bug, the plot whose worlds show it, the first of those seeds, and how many of them it may take."""

    active: Active
    plot: str = "any"
    first: int = 1
    seeds_max: int = 150


FUNCTIONS: Mapping[str, Active] = {
    "drop-on-4th-retry": drop_on_fourth_retry,
    "global-queue": global_queue,
    "no-budget": no_budget,
    "news-by-hash": news_by_hash,
    "uuid4-in-core": uuid4_in_core,
    "wall-clock-timers": wall_clock_timers,
}
"""Those that the rows of the promises are played with, by name."""

SABOTEURS: Mapping[str, Planted] = {
    "drop-on-4th-retry": Planted(drop_on_fourth_retry, "refusals"),
    "new-id-per-attempt": Planted(new_id_per_attempt),
    "body-per-attempt": Planted(body_per_attempt, "refusals"),
    "order-ignored": Planted(order_ignored, "refusals"),
    "fence-not-checked": Planted(fence_not_checked, "leases"),
    "lease-not-checked": Planted(lease_not_checked, "leases"),
    "retry-after-ignored": Planted(retry_after_ignored, "refusals"),
    "left-ignored": Planted(left_ignored, "refusals"),
    "breaker-never-rests": Planted(breaker_never_rests, "refusals"),
    "cursor-past-unsettled": Planted(cursor_past_unsettled, "refusals"),
    "latest-drops-newest": Planted(latest_drops_newest),
    "expiry-ignored": Planted(expiry_ignored, "people"),
    "field-not-listed": Planted(field_not_listed),
    "pause-ignored": Planted(pause_ignored, "people"),
    "news-only-by-hint": Planted(news_only_by_hint),
    "wall-clock-timers": Planted(wall_clock_timers, "clocks"),
    "uuid4-in-core": Planted(uuid4_in_core),
    "replay-not-counted": Planted(replay_not_counted, "people"),
    "cache-shared-by-stores": Planted(cache_shared_by_stores),
    "repeats-are-new": Planted(repeats_are_new),
    "ack-before-commit": Planted(ack_before_commit),
}
