"""What is true in a world: which events were accepted, and where each of them stands on each lane. Pure.

These are the world's own books, kept from what was committed and what far ends saw, never from what the product says
of itself: a count of the product's is compared with what must have been counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from crossdock.model.contract import Collapse, Direction, Queued, Route
from crossdock.model.ids import START, EventId, Instant, LaneId, Position, StoreId
from crossdock.model.lane import Counts, Held, HeldState, LaneChange
from crossdock.testing.world.stage import Site

ENDED = frozenset({"delivered", "superseded", "filtered", "expired", "erased"})
END_OF_ATTEMPT = {"settle": "delivered", "expire": "expired", "erase": "erased"}


class Violation(AssertionError):
    """A promise was broken. Its text says which, where, and for what event."""


class Clocked(Protocol):
    @property
    def timers(self) -> Callable[[], Instant]: ...


@dataclass(slots=True)
class Fact:
    """One event as its sender made it. `position` is 0 until it is kept. `origin` is the lane it came in by, None for
    the core. `acked`: its sender was told 2xx."""

    number: int
    store: StoreId
    event_id: EventId
    type: str
    key: str
    occurred_at: Instant
    wanted: bool = True
    personal: bool = False
    origin: LaneId | None = None
    caused_by: str = ""
    position: Position = START
    acked: bool = False
    erased: bool = False
    rotten: bool = False
    person: bytes = b""


@dataclass(slots=True)
class Row:
    """A held row as it was settled. `due`: the virtual second before which it must not be sent by `by`."""

    state: HeldState
    not_before: Instant
    by: object
    due: float
    replay: bool


@dataclass(slots=True)
class LaneBook:
    """A lane: where each position stands. `fates` names how positions ended, `rows` those that are held."""

    lane: LaneId
    site: Site
    route: Route
    start: Position
    cursor: Position
    open: bool = True
    closed_head: Position = START
    fates: dict[Position, str] = field(default_factory=dict)
    rows: dict[Position, Row] = field(default_factory=dict)
    skips: list[tuple[Position, Position]] = field(default_factory=list)
    parked_once: set[Position] = field(default_factory=set)
    replayed: int = 0

    @property
    def collapses(self) -> bool:
        return self.route.collapse is Collapse.LATEST_PER_KEY

    def wants(self, fact: Fact) -> bool:
        """Whether the route has to bring the event to its far end."""
        if self.skipped(fact.position):
            return False
        if self.route.direction is Direction.INBOUND:
            return fact.origin == self.lane
        ours = fact.origin is None and fact.type == self.route.event.type
        echo = self.site.contract.coupling is not None and fact.caused_by == self.lane.connection
        return ours and not echo and (fact.wanted or fact.type != "product.changed")

    def skipped(self, position: Position) -> bool:
        return any(after < position <= to for after, to in self.skips)

    def out_of_the_way(self, position: Position) -> bool:
        row = self.rows.get(position)
        return position in self.fates or (row is not None and row.state is HeldState.PARKED)

    def expired(self, fact: Fact, now: Instant) -> bool:
        after = self.route.expires_after_ms
        return after is not None and fact.occurred_at + after <= now

    def close(self, head: Position, queued: Queued) -> None:
        if not self.open:
            return
        self.open, self.closed_head = False, head
        if queued is Queued.DISCARD:
            for position in range(self.cursor + 1, head + 1):
                self.fates[Position(position)] = "expired"
            for position, row in list(self.rows.items()):
                if row.state is not HeldState.PARKED:
                    del self.rows[position]
                    self.fates[position] = "expired"
            self.cursor, self.skips = head, []

    def reopen(self, head: Position) -> None:
        if not self.open:
            after = max(self.closed_head, self.cursor)
            if head > after:
                self.skips.append((after, head))
            self.open = True

    def replay(self, positions: tuple[Position, ...], not_before: Instant, by: object) -> None:
        for position in positions:
            row = self.rows.get(position)
            resolved = row is None and position in self.fates
            if resolved or (row is not None and row.state is HeldState.PARKED):
                self.fates.pop(position, None)
                self.replayed += resolved
                self.parked_once.add(position)
                self.rows[position] = Row(HeldState.RETRYING, not_before, by, 0.0, True)

    def settle(self, change: LaneChange, facts: dict[Position, Fact], due: dict[Position, float], by: Clocked) -> None:
        """Takes a change over. Violation where it ends what has not ended so, or leaves out what it passes."""
        ends = {one.position: END_OF_ATTEMPT[one.next] for one in change.attempts if one.next in END_OF_ATTEMPT}
        now, held = by.timers(), {row.position for row in change.hold}
        passed = [Position(one) for one in range(change.cursor_from + 1, change.cursor_to + 1) if one not in held]
        counted: Counter[str] = Counter()
        either: list[Position] = []
        for position in (*passed, *change.release):
            fates = self._fates(facts[position], ends.get(position), facts, now)
            self.rows.pop(position, None)
            if len(fates) > 1:
                either.append(position)
            else:
                counted[fates[0]] += 1
                self.fates[position] = fates[0]
        for position in either:
            # Overtaken and too old at once: which of the two was seen first, only the count can say.
            fate = "expired" if counted["expired"] < change.counts.expired else "superseded"
            counted[fate] += 1
            self.fates[position] = fate
        if Counts(**counted) != change.counts:
            raise Violation(f"{self.lane} counts {change.counts}, but what happened is {dict(counted)}")
        for row in change.hold:
            self._hold(row, due.get(row.position, 0.0), by)
        self.cursor = change.cursor_to

    def _fates(self, fact: Fact, attempted: str | None, facts: dict[Position, Fact], now: Instant) -> tuple[str, ...]:
        """How it may have ended; Violation where it cannot have."""
        if attempted is not None:
            return (attempted,)
        if not self.wants(fact) and fact.position not in self.rows:
            return ("filtered",)
        overtaken = self.collapses and self._newer(fact, facts)
        found = (
            *(("superseded",) if overtaken else ()),
            *(("expired",) if self.expired(fact, now) else ()),
            *(("erased",) if fact.erased and not overtaken else ()),
        )
        if not found:
            raise Violation(f"{self.lane} passes over event {fact.number} at {fact.position}, which nobody has sent")
        return found

    def _newer(self, fact: Fact, facts: dict[Position, Fact]) -> bool:
        return any(
            other.position > fact.position and other.key == fact.key and self.wants(other) for other in facts.values()
        )

    def _hold(self, row: Held, due: float, by: object) -> None:
        if row.state is HeldState.PARKED:
            self.parked_once.add(row.position)
        if row.position in self.fates:
            raise Violation(f"{self.lane} holds position {row.position}, which was {self.fates[row.position]}")
        self.rows[row.position] = Row(row.state, row.not_before, by, due, row.replay)

    def earlier(self, fact: Fact, facts: dict[Position, Fact]) -> list[Fact]:
        """Those of its key that come before it and are still in its way."""
        return [
            other
            for other in facts.values()
            if self.start < other.position < fact.position
            and other.key == fact.key
            and self.wants(other)
            and not self.out_of_the_way(other.position)
        ]

    def unresolved(self, facts: dict[Position, Fact]) -> list[Fact]:
        """What the lane still owes."""
        return [
            fact
            for position, fact in facts.items()
            if position > self.start and self.wants(fact) and not self.out_of_the_way(position)
        ]
