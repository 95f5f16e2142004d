"""What delivery has learned of far ends, kept only as long as it differs from knowing nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TypeVar

from crossdock.delivery.budget import Retries
from crossdock.delivery.fairness import Flow, Latency
from crossdock.delivery.meter import Meter, Meters
from crossdock.delivery.pace import Pace
from crossdock.model.contract import Direction, Rate
from crossdock.model.ids import ConnectionId, Instant, LaneId, StoreId
from crossdock.model.limits import PROCESS_RETRIES_PER_SECOND, SECOND_MS, STORE_RETRIES_PER_SECOND
from crossdock.stores.ways import Way

PROCESS_GRANTS = Rate(PROCESS_RETRIES_PER_SECOND, SECOND_MS, 2 * PROCESS_RETRIES_PER_SECOND)
STORE_GRANTS = Rate(STORE_RETRIES_PER_SECOND, SECOND_MS, 2 * STORE_RETRIES_PER_SECOND)
Key = TypeVar("Key")
Account = tuple[StoreId, str, str]
"""A store, a contract, and what names the account: its config, or the connection."""


@dataclass(slots=True)
class Learned:
    """The pace of each far end, the rate of each lane, and of each account that lanes share. All stay while a turn of
    the connection is under way. `grants` of retries come out of one allowance of the process and one of the store.
    `weights` are those of stores with more than a plain share."""

    paces: dict[tuple[StoreId, ConnectionId, Direction], Pace] = field(default_factory=dict)
    meters: dict[LaneId, Meter] = field(default_factory=dict)
    accounts: dict[Account, Meter] = field(default_factory=dict)
    weights: dict[StoreId, int] = field(default_factory=dict)
    granted: Meter = field(default_factory=lambda: Meter(PROCESS_GRANTS))
    grants: dict[StoreId, Meter] = field(default_factory=dict)

    def pace(self, lane: LaneId, direction: Direction, concurrency: int) -> Pace:
        pace = self.paces.setdefault((lane.store, lane.connection, direction), Pace(concurrency))
        pace.bound(concurrency)
        return pace

    def latency(self, flow: Flow) -> Latency:
        """A connection is slow if either of its far ends is."""
        paces = (self.paces.get((*flow, direction)) for direction in Direction)
        return Latency.SLOW if any(pace is not None and pace.slow for pace in paces) else Latency.FAST

    def retries(self, store: StoreId, pace: Pace) -> Retries:
        """What retries may cost the far end that has this pace."""
        return Retries(pace.budget, (self.grants.setdefault(store, Meter(STORE_GRANTS)), self.granted))

    def rates(self, way: Way) -> Meters:
        """What the lane's calls are metered by: the route's rate, and the account's, which is never another store's."""
        account = way.contract.account
        parts = [metered(self.meters, way.lane, way.route.delivery.rate)]
        if way.route.direction is Direction.OUTBOUND and account is not None:
            value = way.config.get(account.by) if account.by else None
            name = f"{account.by} {value}" if value is not None else way.lane.connection
            parts.append(metered(self.accounts, (way.lane.store, way.contract.id, name), account.rate))
        return Meters(tuple(one for one in parts if one is not None))

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
        # One that is free again says what a new one says.
        self.accounts = {name: meter for name, meter in self.accounts.items() if meter.next_free_ms > now}
        self.grants = {store: meter for store, meter in self.grants.items() if meter.next_free_ms > now}


def metered(meters: dict[Key, Meter], key: Key, rate: Rate | None) -> Meter | None:
    """The meter of that rate, which may have changed with a revision; None without a rate."""
    meter = meters.get(key)
    if rate is None or (meter is not None and meter.rate != rate):
        meters.pop(key, None)
    return None if rate is None else meters.setdefault(key, Meter(rate))
