"""Who may send now, and how much: deficit round robin over stores and over each one's connections, in two latency
classes, and caps in flight. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeAlias, TypeVar

from crossdock.model.ids import ConnectionId, StoreId
from crossdock.model.limits import (
    FAST_IN_FLIGHT_MAX,
    LANE_IN_FLIGHT_MAX,
    QUANTUM_COST,
    SLOW_IN_FLIGHT_MAX,
    STORE_IN_FLIGHT_MAX,
)

Key = TypeVar("Key")
Flow: TypeAlias = "tuple[StoreId, ConnectionId]"


class Latency(StrEnum):
    """Connections whose far ends answer slowly have senders of their own: the others never queue behind them."""

    FAST = "fast"
    SLOW = "slow"


class RoundRobin(Generic[Key]):
    """Deficit round robin (Shreedhar and Varghese, 1996). A key is visited for as many turns as its weight (1 or more)
    says, a quantum each; then the others come, each for one visit, before it is visited again. So of two with work all
    the time each is served in proportion to its weight."""

    def __init__(self, quantum: int) -> None:
        self._quantum = quantum
        self._deficits: OrderedDict[Key, int] = OrderedDict()
        self._weights: dict[Key, int] = {}
        self._visits: dict[Key, int] = {}

    def __len__(self) -> int:
        return len(self._deficits)

    def __contains__(self, key: object) -> bool:
        return key in self._deficits

    def enter(self, key: Key, weight: int = 1) -> None:
        """It has work. It keeps its place if it had some already."""
        self._deficits.setdefault(key, 0)
        self._weights[key] = weight

    def leave(self, key: Key) -> None:
        """It has no work any more: what it did not use is gone."""
        self._deficits.pop(key, None)
        self._weights.pop(key, None)
        self._visits.pop(key, None)

    def next(self, able: Callable[[Key], bool]) -> tuple[Key, int] | None:
        """The next that is able to send, with what it may spend; after the last turn of its visit it goes to the end.
        None if there is none.

        One that is not able keeps its place and gains nothing meanwhile."""
        found = next((key for key in self._deficits if able(key)), None)
        if found is None:
            return None
        turn = self._visits.get(found, 0) + 1
        if turn == 1:
            # What was overspent is paid back by waiting for quanta, never by waiting for ever.
            self._deficits[found] += self._quantum * self._weights[found]
        self._visits[found] = turn
        if turn >= self._weights[found]:
            del self._visits[found]
            self._deficits.move_to_end(found)
        return found, max(1, min(self._deficits[found], self._quantum))

    def charge(self, key: Key, cost: int) -> None:
        """What its turn really cost. What it left unused does not pile up beyond a quantum."""
        if key in self._deficits:
            self._deficits[key] = min(self._deficits[key] - cost, self._quantum * self._weights[key])


@dataclass(slots=True)
class Turns:
    """Whose turn it is in one class: first among the stores, by their weights, then among that store's connections. So
    a store with a hundred connections gets as much as a store with one."""

    quantum: int = QUANTUM_COST
    _stores: RoundRobin[StoreId] = field(init=False)
    _within: dict[StoreId, RoundRobin[ConnectionId]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._stores = RoundRobin(self.quantum)

    def __len__(self) -> int:
        return sum(map(len, self._within.values()))

    def enter(self, flow: Flow, weight: int = 1) -> None:
        store, connection = flow
        self._stores.enter(store, weight)
        self._within.setdefault(store, RoundRobin(self.quantum)).enter(connection)

    def leave(self, flow: Flow) -> None:
        store, connection = flow
        within = self._within.get(store)
        if within is not None:
            within.leave(connection)
            if not len(within):
                del self._within[store]
                self._stores.leave(store)

    def next(self, store_able: Callable[[StoreId], bool], able: Callable[[Flow], bool]) -> tuple[Flow, int] | None:
        """The next flow that is able, with what it may spend. `store_able` spares a look at each of its connections."""
        picked: dict[StoreId, tuple[ConnectionId, int]] = {}

        def has_one(store: StoreId) -> bool:
            if not store_able(store):
                return False
            found = self._within[store].next(lambda connection: able((store, connection)))
            if found is not None:
                picked[store] = found
            return found is not None

        chosen = self._stores.next(has_one)
        if chosen is None:
            return None
        store, of_store = chosen
        connection, of_connection = picked[store]
        return (store, connection), min(of_store, of_connection)

    def charge(self, flow: Flow, cost: int) -> None:
        store, connection = flow
        self._stores.charge(store, cost)
        if store in self._within:
            self._within[store].charge(connection, cost)


def wait_cost_max(others: Mapping[StoreId, int], quantum: int, turn_cost_max: int) -> int:
    """The starvation bound: how much others may spend, in cost units, between two turns of a store that has work and is
    able, on one sender. `others` are the weights of the other stores with work. Each of them gets one visit in between:
    as many turns as its weight, and a turn spends at most the quantum that it was allowed, and one call more."""
    return sum(weight * (quantum + turn_cost_max) for weight in others.values())


IN_FLIGHT_MAX = {Latency.FAST: FAST_IN_FLIGHT_MAX, Latency.SLOW: SLOW_IN_FLIGHT_MAX}


@dataclass(slots=True)
class Caps:
    """Sends in flight, bounded per connection, store and latency class, so that one store can never take all senders,
    and all slow connections together never those of the fast ones. `slow`: the connections of the slow class that have
    something in flight."""

    connection_max: int = LANE_IN_FLIGHT_MAX
    store_max: int = STORE_IN_FLIGHT_MAX
    class_max: Mapping[Latency, int] = field(default_factory=lambda: IN_FLIGHT_MAX)
    totals: dict[Latency, int] = field(default_factory=lambda: dict.fromkeys(Latency, 0))
    stores: dict[StoreId, int] = field(default_factory=dict)
    connections: dict[ConnectionId, int] = field(default_factory=dict)
    slow: set[ConnectionId] = field(default_factory=set)

    @property
    def total(self) -> int:
        return sum(self.totals.values())

    def of(self, connection: ConnectionId) -> Latency:
        """The class that what the connection has in flight is counted in."""
        return Latency.SLOW if connection in self.slow else Latency.FAST

    def free(self, latency: Latency) -> int:
        return self.class_max[latency] - self.totals[latency]

    def store_room(self, store: StoreId) -> int:
        return self.store_max - self.stores.get(store, 0)

    def room(self, store: StoreId, connection: ConnectionId) -> int:
        """How many more sends may be in flight for the connection."""
        return min(
            self.connection_max - self.connections.get(connection, 0),
            self.store_room(store),
            self.free(self.of(connection)),
        )

    def take(self, store: StoreId, connection: ConnectionId, wanted: int) -> int:
        """As many as there is room for, at most `wanted`; `give_back` must follow."""
        taken = max(0, min(wanted, self.room(store, connection)))
        self._add(store, connection, taken)
        return taken

    def give_back(self, store: StoreId, connection: ConnectionId, taken: int) -> None:
        self._add(store, connection, -taken)

    def sort(self, connection: ConnectionId, latency: Latency) -> None:
        """The connection is of this class from now on, with what it has in flight: that class may be over its bound for
        a while, and the other one has its senders back."""
        before = self.of(connection)
        if before is latency:
            return
        in_flight = self.connections.get(connection, 0)
        self.totals[before] -= in_flight
        self.totals[latency] += in_flight
        if latency is Latency.SLOW:
            self.slow.add(connection)
        else:
            self.slow.discard(connection)

    def _add(self, store: StoreId, connection: ConnectionId, number: int) -> None:
        self.totals[self.of(connection)] += number
        # A store or connection without a send in flight costs no memory.
        in_store = self.stores.pop(store, 0) + number
        if in_store:
            self.stores[store] = in_store
        in_connection = self.connections.pop(connection, 0) + number
        if in_connection:
            self.connections[connection] = in_connection
        else:
            self.slow.discard(connection)
