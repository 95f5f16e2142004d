"""Several deliverers on one engine: who runs which lane, hand-over, take-over, and what a frozen one may still do."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection

import pytest
from delivery_world import DOWN, TAKEN, FarEnd, World

from crossdock.delivery.driver import Parcel
from crossdock.delivery.rounds import Deliverer
from crossdock.engines.memory.engine import MemoryEngine
from crossdock.engines.memory.slots import MemorySlots
from crossdock.journal.port import Journal, Lanes, Moved
from crossdock.journal.slots import slot_of
from crossdock.model.attempt import Answer
from crossdock.model.errors import Unavailable
from crossdock.model.ids import ConnectionId, Instant, LaneId, RouteName, StoreId
from crossdock.model.lane import Gate, Lane, LaneChange
from crossdock.model.limits import BEAT_MS, LEASE_MS, POLL_MS
from crossdock.stores.port import Changes, OpenLane
from crossdock.stores.ways import Way

STORES = [f"s{number}" for number in range(12)]


class Stuck(FarEnd):
    """A far end that answers only when it is let go."""

    def __init__(self, name: str = "far/1") -> None:
        super().__init__(name=name)
        self.go = asyncio.Event()
        self.asked: list[Parcel] = []

    async def deliver(self, way: Way, parcels: tuple[Parcel, ...], now: Instant) -> tuple[Answer, ...]:
        self.asked += parcels
        await self.go.wait()
        return await super().deliver(way, parcels, now)


class House:
    """A world with two deliverers, each with a far end of its own, so that it can be seen who has sent what."""

    def __init__(self, one: FarEnd | None = None, two: FarEnd | None = None, stores: Collection[str] = STORES) -> None:
        self.fars = (one or FarEnd(), two or FarEnd())
        self.world = World(self.fars[0], stores=tuple(stores), on=lambda clock: MemoryEngine(clock, MemorySlots(clock)))

    async def begin(self, *, hints: bool = True) -> House:
        await self.world.begin()
        self.one = self.world.deliverer
        self.two = self.world.new_deliverer(member="that", far=self.fars[1], wait=self.wait)
        if hints:
            self.world.engine.journal.on_news(self.two.wake)
        await self.two.load()
        return self

    async def wait(self, event: asyncio.Event, wait_ms: int) -> None:
        await asyncio.sleep(0)

    async def settle_shares(self) -> None:
        """Long enough for a slot to be given back and claimed."""
        for _ in range(3):
            self.world.pass_ms(BEAT_MS)
            await self.one.work_off()
            await self.two.work_off()

    async def publish(self, each: int = 1) -> None:
        for number in range(each):
            for store in self.world.stores:
                await self.world.publish({"sku": f"k{number}"}, store)

    def con(self, store: str) -> ConnectionId:
        return self.world.lane(store).connection

    def sent(self, which: int) -> set[str]:
        return set(self.fars[which].took)

    async def delivered(self) -> int:
        return sum(ledger.counts.delivered for ledger in await self.world.engine.lanes.ledgers())


async def until(condition: Callable[[], bool]) -> None:
    """Lets the loop run until it holds; AssertionError after a while."""
    for _ in range(5_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


async def until_seen(condition: Callable[[], bool]) -> None:
    """As `until`, where threads or sockets have to answer first."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def test_two_share_the_lanes_and_no_lane_is_run_by_both() -> None:
    house = await House().begin()
    await house.settle_shares()
    await house.publish(3)
    await asyncio.gather(house.one.work_off(), house.two.work_off())
    assert house.sent(0)
    assert house.sent(1)
    assert not house.sent(0) & house.sent(1)
    assert house.sent(0) | house.sent(1) == set(STORES)
    assert await house.delivered() == 3 * len(STORES)
    await house.world.check()


async def test_what_is_retried_later_goes_on_with_the_new_owner() -> None:
    down = FarEnd(lambda way, parcel: DOWN)
    house = await House(down).begin()
    await house.publish()
    await house.one.work_off()
    await house.settle_shares()
    before = len(down.calls)
    await house.settle_shares()
    await house.settle_shares()
    mine = house.sent(1)
    assert set() < mine < set(STORES)
    assert all(parcel.attempt > 1 for parcels in house.fars[1].took.values() for parcel in parcels)
    assert {store for store, _ in down.calls[before:]} == set(STORES) - mine
    assert (house.one.kept()["lanes"], house.two.kept()["lanes"]) == (len(STORES) - len(mine), 0)


async def test_one_drains_and_the_other_goes_on_in_order() -> None:
    order: defaultdict[str, list[int]] = defaultdict(list)

    def answer(way: Way, parcel: Parcel) -> Answer:
        order[way.lane.store].append(parcel.position)
        return TAKEN

    stuck = Stuck()
    house = await House(stuck).begin()
    stuck.answer = house.fars[1].answer = answer
    stop = asyncio.Event()
    first = house.world.new_deliverer(member="drained", far=stuck, wait=house.wait)
    await house.one._leave()
    await house.two._leave()
    running = asyncio.ensure_future(first.run(stop))
    for number in range(4):
        for store in STORES:
            await house.world.publish({"sku": "same", "stock": number}, store)
    house.world.pass_ms(POLL_MS)
    await until(lambda: len(stuck.asked) == len(STORES))
    stop.set()
    for _ in range(20):
        await asyncio.sleep(0)
        await house.two.work_off()
    assert house.sent(1) == set()
    stuck.go.set()
    await running
    assert len(stuck.asked) == len(STORES)
    house.world.pass_ms(BEAT_MS)
    await house.two.work_off()
    assert await house.delivered() == 4 * len(STORES)
    assert order == {store: [1, 2, 3, 4] for store in STORES}
    assert all(len(parcels) == 3 for parcels in house.fars[1].took.values())


async def test_a_slot_is_handed_over_only_when_its_turn_has_settled() -> None:
    stuck = Stuck()
    house = await House(stuck).begin()
    await house.publish()
    turns = asyncio.ensure_future(house.one.work_off())
    await until(lambda: len(stuck.asked) == len(STORES))
    for _ in range(3):
        house.world.pass_ms(BEAT_MS)
        await house.one._beat()
        await house.two.work_off()
    assert house.sent(1) == set()
    stuck.go.set()
    await turns
    assert await house.delivered() == len(STORES)
    await house.settle_shares()
    await house.publish()
    await house.two.work_off()
    assert house.sent(1)
    assert all(len(parcels) == 1 for parcels in stuck.took.values())


async def test_a_turn_whose_slot_is_being_given_back_sends_nothing_new() -> None:
    stuck = Stuck()
    house = await House(stuck).begin()
    for number in range(3):
        for store in STORES:
            await house.world.publish({"sku": "same", "stock": number}, store)
    turns = asyncio.ensure_future(house.one.work_off())
    await until(lambda: len(stuck.asked) == len(STORES))
    await house.one._beat()
    given = {store for store in STORES if not house.one._ownership.has(slot_of(StoreId(store), house.con(store)))}
    assert set() < given < set(STORES)
    stuck.go.set()
    await turns
    assert {store: len(parcels) for store, parcels in stuck.took.items()} == {
        store: 1 if store in given else 3 for store in STORES
    }


async def test_one_that_was_frozen_past_its_lease_settles_nothing_and_sends_nothing_more() -> None:
    stuck = Stuck()
    house = await House(stuck).begin()
    for number in range(10):
        for store in STORES:
            await house.world.publish({"sku": "same", "stock": number}, store)
    turns = asyncio.ensure_future(house.one.work_off())
    await until(lambda: len(stuck.asked) == len(STORES))
    for _ in range(LEASE_MS // BEAT_MS + 1):
        house.world.pass_ms(BEAT_MS)
        await house.two.work_off()
    assert await house.delivered() == 10 * len(STORES)
    ledgers = await house.world.engine.lanes.ledgers()
    attempts = [await house.world.engine.lanes.attempts(ledger.lane, 99) for ledger in ledgers]
    stuck.go.set()
    await turns
    assert len(stuck.asked) == len(STORES)
    assert await house.world.engine.lanes.ledgers() == ledgers
    assert [await house.world.engine.lanes.attempts(ledger.lane, 99) for ledger in ledgers] == attempts
    assert len(house.world.named("delivery.stale")) == len(STORES)
    assert house.one.kept()["lanes"] == 0
    for parcels in house.fars[1].took.values():
        assert [parcel.position for parcel in parcels] == list(range(1, 11))
    assert [line["member"] for line in house.world.named("delivery.lapsed")] == ["this"]


async def test_the_fence_bars_a_frozen_one_also_where_the_new_owner_has_settled_nothing_yet() -> None:
    frozen, taker = Stuck(), Stuck()
    house = await House(frozen, taker, ["one"]).begin()
    await house.publish()
    old = asyncio.ensure_future(house.one.work_off())
    await until(lambda: bool(frozen.asked))
    for _ in range(LEASE_MS // BEAT_MS):
        house.world.pass_ms(BEAT_MS)
        await house.two._beat()
    new = asyncio.ensure_future(house.two.work_off())
    await until(lambda: bool(taker.asked))
    frozen.go.set()
    await old
    assert await house.delivered() == 0
    taker.go.set()
    await new
    assert await house.delivered() == 1
    (attempt,) = await house.world.engine.lanes.attempts(house.world.lane("one"), 9)
    assert attempt.at > house.world.now - BEAT_MS


async def test_after_a_crash_the_lanes_go_on_within_the_lease() -> None:
    house = await House().begin()
    await house.settle_shares()
    house.world.pass_ms(BEAT_MS)
    await house.one.work_off()
    died_at = house.world.now
    house.world.pass_ms(BEAT_MS // 3)  # the two beats out of step with the one, which dies here: it is never run again
    await house.publish()
    await house.two.work_off()
    mine = house.sent(1)
    assert set() < mine < set(STORES)
    while house.world.now < died_at + LEASE_MS:
        assert house.sent(1) == mine
        house.world.pass_ms(100)
        await house.two.work_off()
    house.world.pass_ms(100)
    await house.two.work_off()
    assert house.sent(1) == set(STORES)


async def test_with_every_hint_lost_delivery_only_waits_for_the_poll() -> None:
    far = FarEnd()
    world = await World(far).furnish()
    polls: list[int] = []
    journal = PollsCounted(world.engine.journal, polls)
    world.engine._journal = journal  # type: ignore[attr-defined]

    async def wait(event: asyncio.Event, wait_ms: int) -> None:
        world.pass_ms(min(wait_ms, 10))
        await asyncio.sleep(0)

    stop = asyncio.Event()
    running = asyncio.ensure_future(world.new_deliverer(wait=wait).run(stop))
    await until(lambda: len(polls) == 2)
    await world.publish({"sku": "a"})
    published_at = world.now
    await until(lambda: bool(far.took))
    assert world.now - published_at <= POLL_MS + 100
    assert len(polls) == 3
    stop.set()
    await running


class PollsCounted:
    def __init__(self, journal: Journal, polls: list[int]) -> None:
        self._journal = journal
        self._polls = polls

    def __getattr__(self, name: str) -> object:
        return getattr(self._journal, name)

    async def moved(self, mark: int | None) -> Moved:
        self._polls.append(mark or 0)
        return await self._journal.moved(mark)


async def test_while_the_database_is_away_it_goes_on_trying_and_past_the_lease_nothing_is_sent() -> None:
    far = FarEnd()
    house = await House(far).begin()
    away = False
    slots = house.world.engine.slots
    inner = slots.beat

    async def beat(member: str) -> object:
        if away:
            raise Unavailable("CD5009", "away")
        return await inner(member)

    slots.beat = beat  # type: ignore[method-assign, assignment]
    away = True
    for _ in range(LEASE_MS // BEAT_MS):
        house.world.pass_ms(BEAT_MS)
        await house.one.work_off()
    await house.publish()
    await house.one.work_off()
    assert far.calls == []
    assert house.world.named("delivery.failed")[-1]["code"] == "CD5009"
    away = False
    house.world.pass_ms(BEAT_MS)
    await house.one.work_off()
    assert len(far.calls) == len(STORES)


async def test_a_lane_that_was_settled_by_another_is_looked_at_again_when_it_is_still_ours() -> None:
    far = FarEnd()
    world = await World(far).begin()
    for _ in range(3):
        await world.publish({"sku": "a"})
    lanes = world.engine.lanes
    inner, refused = lanes.settle, 0

    async def settle(changes: list[LaneChange]) -> list[bool]:
        nonlocal refused
        if not refused:
            refused += 1
            return [False]
        return await inner(changes)

    lanes.settle = settle  # type: ignore[method-assign, assignment]
    await world.deliver()
    assert (await world.count())["delivered"] == 3
    assert len(world.named("delivery.stale")) == 1


async def test_a_store_that_moves_rests_and_goes_on_when_its_gate_opens() -> None:
    far = FarEnd()
    world = await World(far, stores=("one", "two")).begin()
    await world.publish({"sku": "a"})
    await world.engine.journal.gate(StoreId("one"), Gate.CLOSING)
    await world.publish({"sku": "a"}, "two")
    await world.deliver(10_000, steps=10)
    assert set(far.took) == {"two"}
    assert world.deliverer.kept()["lanes"] == 0
    await world.engine.journal.gate(StoreId("one"), Gate.OPEN)
    await world.deliver()
    assert far.took_ids("one") == ["evt-1"]


async def test_a_gate_that_was_open_again_before_the_next_poll_is_not_overlooked() -> None:
    far = FarEnd()
    world = await World(far).furnish()
    deliverer = world.new_deliverer()
    await deliverer.work_off()
    await world.publish({"sku": "a"})
    await world.engine.journal.gate(StoreId("one"), Gate.CLOSING)
    await deliverer.work_off()
    await world.engine.journal.gate(StoreId("one"), Gate.OPEN)
    await deliverer.work_off()
    assert far.took_ids() == ["evt-1"]


async def test_where_the_engine_cannot_say_what_moved_every_lane_that_stirs_is_looked_at() -> None:
    far = FarEnd()
    world = await World(far).furnish()
    deliverer = world.new_deliverer()
    await deliverer.work_off()
    await world.publish({"sku": "a"})
    mark = (await world.engine.journal.moved(None)).mark

    async def another_server(since: int | None) -> Moved:
        return Moved({}, mark, whole=False)

    world.engine.journal.moved = another_server  # type: ignore[method-assign]
    await deliverer.work_off()
    assert far.took_ids() == ["evt-1"]


async def test_a_lane_opened_by_another_process_is_known_once_it_is_told() -> None:
    house = await House(stores=("one",)).begin()
    await house.publish()
    await house.one.work_off()
    other = house.world.lane("one", "con_other")
    house.world.engine.registry._listeners.clear()
    await house.world.connect(other)
    await house.publish()
    await house.one.work_off()
    assert len(house.fars[0].took["one"]) == 2
    house.one.refresh(Changes(9, frozenset({StoreId("one")}), platform=False))
    await house.one.work_off()
    assert len(house.fars[0].took["one"]) == 3


class Counted:
    """Lanes that count which lanes they have named, asked or not."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self.named = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._lanes, name)

    async def open_lanes(self, stores: Collection[StoreId] | None = None) -> list[Lane]:
        found = await self._lanes.open_lanes(stores)
        self.named += len(found)
        return found

    async def stirring(self, slots: Collection[int]) -> list[LaneId]:
        found = await self._lanes.stirring(slots)
        self.named += len(found)
        return found


async def cost_beside(idle: int) -> tuple[int, dict[str, int], int]:
    """What delivering to ten stores names of lanes, and keeps, beside so many idle lanes."""
    world = await World(FarEnd(), stores=[f"busy{number}" for number in range(10)]).begin()
    idle_lanes = (
        LaneId(StoreId(f"idle{number // 3}"), ConnectionId(f"con_{number}"), RouteName("push"))
        for number in range(idle)
    )
    await world.commit(*(OpenLane(lane) for lane in idle_lanes))
    counted = Counted(world.engine.lanes)
    deliverer = world.new_deliverer(counted, "fresh")  # type: ignore[arg-type]
    world.engine.journal.on_news(deliverer.wake)
    most = 0
    await deliverer.load()
    for _ in range(20):
        for store in world.stores:
            await world.publish({"sku": "a"}, store)
        await deliverer.work_off()
        world.pass_ms(1_000)
        most = max(most, deliverer.kept()["lanes"])
    return counted.named, dict(deliverer.kept()), most


async def test_idle_lanes_cost_nothing() -> None:
    few, many = await cost_beside(100), await cost_beside(10_000)
    assert few == many
    assert many[1]["stores"] == 10
    assert many[2] == 0


@pytest.mark.parametrize("stores", [1_001])
async def test_news_of_more_stores_than_one_look_up_takes_reach_them_all(stores: int) -> None:
    far = FarEnd(lambda way, parcel: TAKEN)
    world = await World(far, stores=[f"s{number}" for number in range(stores)]).furnish()
    deliverer: Deliverer = world.new_deliverer()
    await deliverer.load()
    world.engine.journal.on_news(deliverer.wake)
    for store in world.stores:
        await world.publish({"sku": "a"}, store)
    await deliverer.work_off()
    assert len(far.took) == stores
