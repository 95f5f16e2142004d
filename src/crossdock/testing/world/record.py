"""What the world knows, and its voice: shared by those who judge what is called and what is committed."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from dataclasses import dataclass, field

from crossdock.model.contract import Direction
from crossdock.model.ids import EventId, Instant, LaneId, Position, StoreId
from crossdock.model.limits import TURN_MS_MAX
from crossdock.stores.port import (
    Engine,
)
from crossdock.testing.world.asked import Asked
from crossdock.testing.world.facts import Fact, LaneBook, Violation
from crossdock.testing.world.loop import VirtualLoop
from crossdock.testing.world.manners import Manner
from crossdock.testing.world.process import Process
from crossdock.testing.world.stage import Site
from crossdock.testing.world.storage import Storage
from crossdock.testing.world.trace import Coverage, Trace

CANARY = re.compile(rb"canary-(\w+?)-(\w+)")
ALLOWED = frozenset({b"open"})
"""Canaries are planted in fields that contracts list (`open`) and in fields that none does."""
EARLY_SECONDS = 0.002  # clocks count whole milliseconds
STALE_MS = TURN_MS_MAX + 2_000  # a turn looks at its events once, when it begins, and its engine may be slow
PAUSED_SECONDS = 12.0  # a process hears of another's change at its next poll, and ends its turn first

Flow = tuple[str, StoreId, str, Direction]


@dataclass(slots=True)
class Record:
    """`tries`: the number of each single send, and the wait before its next in ms. `back_at`: when far ends came back
    that were away; `crowding` counts the sends of the minute after it that were more at once than the pace allows."""

    loop: VirtualLoop
    storage: Storage
    trace: Trace
    coverage: Coverage
    facts: dict[StoreId, dict[Position, Fact]] = field(default_factory=dict)
    by_id: dict[tuple[StoreId, EventId], Fact] = field(default_factory=dict)
    by_correlation: dict[str, Fact] = field(default_factory=dict)
    lanes: dict[LaneId, LaneBook] = field(default_factory=dict)
    owners: dict[int, tuple[str, int]] = field(default_factory=dict)
    ends: dict[tuple[Process, LaneId, Position], tuple[float, Instant]] = field(default_factory=dict)
    done: dict[tuple[Process, LaneId], set[Position]] = field(default_factory=dict)
    begun: dict[tuple[Process, str], float] = field(default_factory=dict)
    taken: dict[tuple[LaneId, EventId], int] = field(default_factory=dict)
    last_taken: dict[tuple[LaneId, str], Position] = field(default_factory=dict)
    bodies: dict[tuple[LaneId, EventId], bytes] = field(default_factory=dict)
    manners: dict[tuple[Process, EventId], tuple[Manner, int]] = field(default_factory=dict)
    rests: dict[Flow, float] = field(default_factory=dict)
    failures: dict[Flow, int] = field(default_factory=dict)
    paused: dict[str, float] = field(default_factory=dict)
    repeats: int = 0
    first_takes: list[tuple[Fact, float]] = field(default_factory=list)
    told_to_wait: dict[EventId, bool] = field(default_factory=dict)
    erased: set[tuple[StoreId, bytes]] = field(default_factory=set)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    audited: int = 0
    tries: list[tuple[int, int | None]] = field(default_factory=list)
    flying: Counter[Flow] = field(default_factory=Counter)
    back_at: float | None = None
    crowding: int = 0

    @property
    def engine(self) -> Engine:
        return self.storage.engine

    def broken(self, what: str) -> None:
        self.trace.tell(self.loop.time(), "VIOLATION", what)
        self.loop.fail(Violation(what))

    def tell(self, *what: object) -> None:
        self.trace.tell(self.loop.time(), *what)

    def head(self, store: StoreId) -> Position:
        return Position(len(self.facts.get(store, {})))


def flow_of(process: Process, site: Site, lane: LaneId) -> Flow:
    route = site.contract.route(lane.route)
    direction = route.direction if route is not None else Direction.OUTBOUND
    return process.name, lane.store, lane.connection, direction
