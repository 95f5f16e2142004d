"""Which open lanes a store has, remembered for the stores that have had news of late."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterable

from crossdock.journal.port import Lanes
from crossdock.model.ids import LaneId, StoreId
from crossdock.model.limits import KNOWN_STORES_MAX


class KnownLanes:
    """The open lanes of stores. What has not been asked for longest is forgotten first, above `stores_max` stores."""

    def __init__(self, lanes: Lanes, stores_max: int = KNOWN_STORES_MAX) -> None:
        self._lanes = lanes
        self._stores_max = stores_max
        self._known: OrderedDict[StoreId, tuple[LaneId, ...]] = OrderedDict()
        self._generation = 0

    def __len__(self) -> int:
        return len(self._known)

    async def of(self, stores: Iterable[StoreId]) -> list[LaneId]:
        """The open lanes of these stores; those not known are asked for together."""
        found: list[LaneId] = []
        unknown: list[StoreId] = []
        for store in stores:
            if store in self._known:
                self._known.move_to_end(store)
                found += self._known[store]
            else:
                unknown.append(store)
        return found + await self._ask(unknown) if unknown else found

    def forget(self, stores: Iterable[StoreId]) -> None:
        """Something about the lanes of these stores has changed."""
        self._generation += 1
        for store in stores:
            self._known.pop(store, None)

    async def _ask(self, stores: list[StoreId]) -> list[LaneId]:
        generation = self._generation
        by_store: defaultdict[StoreId, list[LaneId]] = defaultdict(list)
        for lane in await self._lanes.open_lanes(stores):
            by_store[lane.id.store].append(lane.id)
        # What was read before a change must not outlive it.
        if generation == self._generation:
            for store in stores:
                self._known[store] = tuple(by_store[store])
            while len(self._known) > self._stores_max:
                self._known.popitem(last=False)
        return [lane for store in stores for lane in by_store[store]]
