"""What delivery has learned of far ends, kept only as long as it differs from knowing nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from crossdock.delivery.fairness import Flow, Latency
from crossdock.delivery.pace import Meter, Pace
from crossdock.model.contract import Direction, Rate
from crossdock.model.ids import ConnectionId, Instant, LaneId, StoreId


@dataclass(slots=True)
class Learned:
    """The pace of each far end, and the rate of each lane. Both stay while a turn of the connection is under way.
    `weights` are those of stores with more than a plain share."""

    paces: dict[tuple[StoreId, ConnectionId, Direction], Pace] = field(default_factory=dict)
    meters: dict[LaneId, Meter] = field(default_factory=dict)
    weights: dict[StoreId, int] = field(default_factory=dict)

    def pace(self, lane: LaneId, direction: Direction, concurrency: int) -> Pace:
        pace = self.paces.setdefault((lane.store, lane.connection, direction), Pace(concurrency))
        pace.bound(concurrency)
        return pace

    def latency(self, flow: Flow) -> Latency:
        """A connection is slow if either of its far ends is."""
        paces = (self.paces.get((*flow, direction)) for direction in Direction)
        return Latency.SLOW if any(pace is not None and pace.slow for pace in paces) else Latency.FAST

    def meter(self, lane: LaneId, rate: Rate | None) -> Meter | None:
        meter = self.meters.get(lane)
        if rate is None or (meter is not None and meter.rate != rate):
            self.meters.pop(lane, None)
        return None if rate is None else self.meters.setdefault(lane, Meter(rate))

    def weigh(self, store: StoreId, weight: int) -> None:
        """The weight that the store was last seen with."""
        if weight == 1:
            self.weights.pop(store, None)
        else:
            self.weights[store] = weight

    def weight(self, store: StoreId) -> int:
        return self.weights.get(store, 1)

    def forget(self, store: StoreId, connection: ConnectionId | None) -> None:
        """The far end of a connection is another one now, or those of all the store's connections."""
        if connection is None:
            self.paces = {key: pace for key, pace in self.paces.items() if key[0] != store}
        else:
            for direction in Direction:
                self.paces.pop((store, connection, direction), None)

    def reconsider(self, stores: Collection[StoreId], now: Instant) -> None:
        """Something about these stores has changed, who knows what: a breaker that rests may try at once. What a far
        end has asked for itself still holds."""
        for (store, _, _), pace in self.paces.items():
            if store in stores:
                pace.try_again(now)

    def fade(self, now: Instant, busy: Callable[[ConnectionId], bool], working: Collection[StoreId]) -> None:
        """Drops what says nothing any more. `busy`: a turn of the connection is under way. `working`: the stores that
        have work; a weight of another is learned again with its next turn."""
        self.weights = {store: weight for store, weight in self.weights.items() if store in working}
        self.paces = {key: pace for key, pace in self.paces.items() if busy(key[1]) or not pace.as_new(now)}
        self.meters = {
            lane: meter for lane, meter in self.meters.items() if busy(lane.connection) or meter.next_free_ms > now
        }
