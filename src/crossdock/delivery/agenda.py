"""What the deliverer remembers of the lanes between their turns."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TypeAlias

from crossdock.delivery.fairness import Meter
from crossdock.model.ids import ConnectionId, Instant, LaneId, StoreId

Flow: TypeAlias = "tuple[StoreId, ConnectionId]"


@dataclass(slots=True)
class LaneWork:
    """What the deliverer remembers of a lane. `queued`: it waits for its turn; `running`: it has it; `again`: news came
    meanwhile."""

    lane: LaneId
    queued: bool = False
    running: bool = False
    again: bool = False
    timer: Instant | None = None
    fill_until: Instant | None = None
    meter: Meter | None = None


@dataclass(slots=True)
class Agenda:
    """The lanes by store, and those of each flow that wait for a turn."""

    lanes: dict[LaneId, LaneWork] = field(default_factory=dict)
    by_store: dict[StoreId, set[LaneId]] = field(default_factory=dict)
    ready: dict[Flow, deque[LaneId]] = field(default_factory=dict)

    def add(self, lane: LaneId) -> LaneWork:
        self.by_store.setdefault(lane.store, set()).add(lane)
        return self.lanes.setdefault(lane, LaneWork(lane))

    def drop(self, lane: LaneId) -> None:
        self.lanes.pop(lane, None)
        left = self.by_store.get(lane.store, set())
        left.discard(lane)
        if not left:
            self.by_store.pop(lane.store, None)

    def of(self, store: StoreId, connection: ConnectionId | None = None) -> list[LaneId]:
        found = self.by_store.get(store, ())
        return sorted(lane for lane in found if connection is None or lane.connection == connection)
