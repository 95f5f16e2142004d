"""What a turn needs before it can start: the lane's way, its keys, a driver, and what was learned of its far end."""

from __future__ import annotations

from collections.abc import Callable

from crossdock.delivery.learned import Learned
from crossdock.delivery.sending import Gear, Trip
from crossdock.model.connection import ConnectionState, CoreMode
from crossdock.model.contract import Direction
from crossdock.model.errors import CrossdockError
from crossdock.model.ids import Instant, LaneId
from crossdock.model.lane import Fence
from crossdock.model.limits import LANE_IN_FLIGHT_MAX
from crossdock.observe.lines import Lines
from crossdock.stores.ways import Way

CORE_DRIVER = "core-push/1"


class Trips:
    def __init__(self, gear: Gear, learned: Learned) -> None:
        self._gear = gear
        self._learned = learned

    async def trip(
        self, lane: LaneId, fence: Fence, halt: Callable[[], bool], slowed: Callable[[], None]
    ) -> Trip | None:
        """None where the lane is not to be run now: closed, paused, pulled by the core, or not configured."""
        way = await self._gear.ways.way(lane)
        if way is None or way.state is not ConnectionState.ENABLED or way.core is CoreMode.PULL:
            return None
        self._learned.weigh(lane.store, way.weight)
        driver = self._gear.drivers.get(driver_of(way))
        keys = await self._gear.keys(lane.store)
        if driver is None or keys is None:
            told(self._gear.lines, lane, None)
            return None
        rule = way.route.delivery
        pace = self._learned.pace(lane, way.route.direction, min(rule.concurrency, LANE_IN_FLIGHT_MAX))
        rates, retries = self._learned.rates(way), self._learned.retries(lane.store, pace)
        return Trip(self._gear, way, keys, driver, pace, rates, retries, fence, halt, slowed)


def sends_of(trip: Trip, calls: int, now: Instant) -> int:
    """How many events the turn may send: `calls`, or what the rate leaves, each a batch where there is one."""
    spare = trip.rates.spare(now)
    return in_events(trip, calls if spare is None else min(calls, spare))


def in_events(trip: Trip, calls: int) -> int:
    batch = trip.way.route.batch
    return calls * batch.items_max if batch is not None else calls


def told(lines: Lines, lane: LaneId | None, error: Exception | None) -> None:
    """Says in a line what failed."""
    lines.write(
        "delivery.failed",
        store=lane.store if lane else None,
        connection=lane.connection if lane else None,
        route=lane.route if lane else None,
        error=type(error).__name__ if error else "NotConfigured",
        code=error.code if isinstance(error, CrossdockError) else "CD4003",
    )


def driver_of(way: Way) -> str:
    """The driver's name: what comes in goes to the core by the one protocol that the core speaks."""
    return CORE_DRIVER if way.route.direction is Direction.INBOUND else way.route.driver
