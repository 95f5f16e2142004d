"""What a deliverer remembers of stores and far ends, and what it forgets."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace

import pytest

from crossdock.delivery.known_lanes import KnownLanes
from crossdock.delivery.learned import Learned, metered
from crossdock.delivery.pace import BreakerState
from crossdock.engines.memory.engine import MemoryEngine
from crossdock.journal.port import Lanes
from crossdock.model.attempt import Answer, AnswerKind
from crossdock.model.contract import Direction, Rate
from crossdock.model.ids import Instant, StoreId
from crossdock.model.lane import Lane
from crossdock.model.limits import BREAKER_FAILURES, MINUTE_MS
from crossdock.stores.port import OpenLane
from crossdock.testing.samples import NORTH, NOW, SOUTH, lane_id, write

LANE = lane_id()
BROKEN = Answer(AnswerKind.BROKEN, "http_500", 1, 500)
BUSY = Answer(AnswerKind.BUSY, "http_429", 1, 429, 60_000)
TAKEN = Answer(AnswerKind.TAKEN, "http_200", 1, 200)


def half() -> float:
    return 0.5


class Asked:
    """Lanes that keep what they were asked, and answer when they are let."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self.asked: list[list[StoreId]] = []
        self.go = asyncio.Event()
        self.go.set()

    def __getattr__(self, name: str) -> object:
        return getattr(self._lanes, name)

    async def open_lanes(self, stores: Collection[StoreId] | None = None) -> list[Lane]:
        self.asked.append(list(stores or ()))
        found = await self._lanes.open_lanes(stores)
        await self.go.wait()
        return found


@pytest.fixture
async def engine() -> MemoryEngine:
    engine = MemoryEngine(lambda: NOW)
    await write(engine, OpenLane(LANE), OpenLane(lane_id(store=SOUTH)))
    return engine


async def test_stores_are_asked_for_together_and_once_also_those_without_lanes(engine: MemoryEngine) -> None:
    asked = Asked(engine.lanes)
    known = KnownLanes(asked)  # type: ignore[arg-type]
    nobody = StoreId("nobody")
    assert await known.of([NORTH, nobody]) == [LANE]
    assert await known.of([nobody, SOUTH, NORTH]) == [LANE, lane_id(store=SOUTH)]
    assert await known.of([NORTH, SOUTH, nobody]) == [LANE, lane_id(store=SOUTH)]
    assert asked.asked == [[NORTH, nobody], [SOUTH]]


async def test_the_store_that_was_longest_without_news_is_forgotten_first(engine: MemoryEngine) -> None:
    asked = Asked(engine.lanes)
    known = KnownLanes(asked, stores_max=2)  # type: ignore[arg-type]
    for stores in ([NORTH], [SOUTH], [NORTH], [StoreId("third")], [NORTH], [SOUTH]):
        await known.of(stores)
        assert len(known) <= 2
    assert asked.asked == [[NORTH], [SOUTH], ["third"], [SOUTH]]


async def test_what_was_read_before_a_change_does_not_outlive_it(engine: MemoryEngine) -> None:
    asked = Asked(engine.lanes)
    known = KnownLanes(asked)  # type: ignore[arg-type]
    asked.go.clear()
    reading = asyncio.ensure_future(known.of([NORTH]))
    while not asked.asked:
        await asyncio.sleep(0)
    other = lane_id("other")
    await write(engine, OpenLane(other))
    known.forget([NORTH])
    asked.go.set()
    assert await reading == [LANE]
    assert await known.of([NORTH]) == [LANE, other]


def test_a_far_end_that_differs_from_an_unknown_one_is_remembered_until_it_does_not() -> None:
    learned = Learned()
    pace = learned.pace(LANE, Direction.OUTBOUND, 4)
    learned.fade(NOW, lambda connection: True, ())
    assert len(learned.paces) == 1
    pace.heard(BROKEN, NOW, half)
    learned.fade(NOW, lambda connection: False, ())
    assert learned.pace(LANE, Direction.OUTBOUND, 4) is pace
    pace.heard(TAKEN, NOW, half)
    learned.fade(NOW, lambda connection: False, ())
    assert learned.paces == {}
    pace = learned.pace(LANE, Direction.OUTBOUND, 4)
    pace.heard(BUSY, NOW, half)
    pace.heard(TAKEN, NOW, half)
    pace.heard(TAKEN, NOW, half)
    learned.fade(Instant(NOW + MINUTE_MS - 1), lambda connection: False, ())
    assert len(learned.paces) == 1
    while pace.concurrency < 4:
        pace.heard(TAKEN, NOW, half)
    learned.fade(Instant(NOW + MINUTE_MS), lambda connection: False, ())
    assert learned.paces == {}


def test_a_rate_is_remembered_while_it_is_owed() -> None:
    learned = Learned()
    rate = Rate(limit=1, per_ms=1_000, burst=1)
    meter = metered(learned.meters, LANE, rate)
    assert meter is not None
    meter.spend(2, NOW)
    learned.fade(Instant(NOW + 1_999), lambda connection: False, ())
    assert metered(learned.meters, LANE, rate) is meter
    assert metered(learned.meters, LANE, replace(rate, limit=2)) is not meter
    assert metered(learned.meters, LANE, None) is None
    assert learned.meters == {}
    metered(learned.meters, LANE, rate)
    learned.fade(NOW, lambda connection: False, ())
    assert learned.meters == {}


def test_a_change_elsewhere_lets_a_breaker_try_and_a_retry_after_stand() -> None:
    learned = Learned()
    broken, busy, other = lane_id("broken"), lane_id("busy"), lane_id("other", store=SOUTH)
    for lane in (broken, other):
        for _ in range(BREAKER_FAILURES):
            learned.pace(lane, Direction.OUTBOUND, 4).heard(BROKEN, NOW, half)
    learned.pace(busy, Direction.OUTBOUND, 4).heard(BUSY, NOW, half)
    learned.reconsider([NORTH], NOW)
    ready = [learned.pace(lane, Direction.OUTBOUND, 4).open_at(NOW) for lane in (broken, busy, other)]
    assert ready == [True, False, False]
    assert learned.pace(broken, Direction.OUTBOUND, 4).breaker.state is BreakerState.OPEN
    assert learned.pace(broken, Direction.OUTBOUND, 4).begin(NOW, half) == (1, 1)


def test_a_far_end_that_is_another_one_now_is_forgotten() -> None:
    learned = Learned()
    for lane in (LANE, lane_id("other"), lane_id(store=SOUTH)):
        for direction in Direction:
            learned.pace(lane, direction, 4)
    learned.forget(NORTH, LANE.connection)
    assert len(learned.paces) == 2 * len(Direction)
    learned.forget(NORTH, None)
    assert {store for store, _, _ in learned.paces} == {SOUTH}


def test_a_weight_is_remembered_while_its_store_has_work_and_a_plain_one_never() -> None:
    learned = Learned()
    learned.weigh(LANE.store, 4)
    learned.fade(NOW, lambda connection: False, {LANE.store})
    assert (learned.weight(LANE.store), learned.weight(StoreId("other"))) == (4, 1)
    learned.weigh(LANE.store, 1)
    assert learned.weights == {}
    learned.weigh(LANE.store, 4)
    learned.fade(NOW, lambda connection: False, ())
    assert learned.weights == {}
