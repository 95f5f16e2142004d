"""Several deliverers that join, freeze, thaw, crash and drain at random, on one engine and one clock: whatever happens,
nothing is sent that somebody has settled, every key keeps its order, and in the end everything is delivered once.

A frozen deliverer stands still at whatever it awaits: its far end, the engine, its own timers."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from delivery_world import ROUTE, TAKEN, FarEnd, World

from crossdock.delivery.driver import Parcel
from crossdock.delivery.ownership import Ownership
from crossdock.delivery.rounds import Deliverer
from crossdock.engines.memory.engine import MemoryEngine
from crossdock.engines.memory.slots import MemorySlots
from crossdock.model.attempt import Answer, AnswerKind
from crossdock.model.ids import Instant, StoreId
from crossdock.model.limits import BEAT_MS, LEASE_MS, POLL_MS
from crossdock.stores.ways import Way

STORES = tuple(f"s{number}" for number in range(6))
BUSY = Answer(AnswerKind.BUSY, "http_503", 1, 503)


class Slow:
    """Calls of another that pass only while the process is not frozen, before and after."""

    def __init__(self, inner: object, process: Process, *names: str) -> None:
        self._inner = inner
        self._process = process
        self._names = names

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._slowly(found) if name in self._names else found

    def _slowly(self, call: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        async def slowly(*args: object) -> object:
            await self._process.pass_on()
            done = await call(*args)
            await self._process.pass_on()
            return done

        return slowly


class Process:
    """A deliverer that runs, and can be stopped as a whole."""

    def __init__(self, story: Story, name: str) -> None:
        self.name = name
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.stop = asyncio.Event()
        self._story = story
        world = story.world
        lanes = Slow(world.engine.lanes, self, "read", "settle", "stirring", "open_lanes")
        self.deliverer = world.new_deliverer(lanes, name, self, self.wait)  # type: ignore[arg-type]
        slots = Slow(world.engine.slots, self, "beat", "claim", "release", "leave")
        owner = Ownership(slots, name, world.elapsed)  # type: ignore[arg-type]
        self.deliverer = Deliverer(self.deliverer._gear, world, owner, self.wait)
        world.engine.journal.on_news(self.hear)
        self.task = asyncio.ensure_future(self.deliverer.run(self.stop))

    @property
    def frozen(self) -> bool:
        return not self.thawed.is_set()

    def hear(self, stores: frozenset[StoreId]) -> None:
        if self._story.dice.random() < 0.5:  # hints are lost
            self.deliverer.wake(stores)

    async def pass_on(self, steps_max: int = 3) -> None:
        for _ in range(self._story.dice.randrange(steps_max)):
            await asyncio.sleep(0)
        await self.thawed.wait()

    async def wait(self, event: asyncio.Event, wait_ms: int) -> None:
        until = self._story.world.now + wait_ms
        while not (event.is_set() or self._story.world.now >= until):
            await asyncio.sleep(0)
            await self.thawed.wait()

    async def deliver(self, way: Way, parcels: tuple[Parcel, ...], now: Instant) -> tuple[Answer, ...]:
        self._story.sent(self.name, way, parcels)
        await self.pass_on(80)
        return tuple(self._story.answer() for _ in parcels)


class Story:
    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        retry = replace(ROUTE.retry, attempts_max=1_000)
        self.world = World(
            FarEnd(), replace(ROUTE, retry=retry), STORES, lambda clock: MemoryEngine(clock, MemorySlots(clock))
        )
        self.live: list[Process] = []
        self.ended: list[Process] = []
        self.names = 0
        self.published = 0
        self.last: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.calm = False
        self.wrong: list[str] = []

    def sent(self, by: str, way: Way, parcels: tuple[Parcel, ...]) -> None:
        row = self.world.memory.lanes[way.lane]
        for parcel in parcels:
            settled = parcel.position <= row.lane.cursor and parcel.position not in row.held
            if settled:
                self.wrong.append(f"{parcel.position} of {way.lane} was settled before it was sent by {by}")
            key = (way.lane.store, parcel.key)
            earlier = [
                one
                for one in range(self.last[key] + 1, parcel.position)
                if self.keys[way.lane.store, one] == parcel.key
            ]
            if earlier:
                self.wrong.append(f"{parcel.position} of {key} was sent by {by} before {earlier}")
            self.last[key] = max(self.last[key], parcel.position)

    def answer(self) -> Answer:
        return BUSY if not self.calm and self.dice.random() < 0.1 else TAKEN

    async def publish(self) -> None:
        store, key = self.dice.choice(STORES), self.dice.choice("ab")
        self.keys[store, self.heads[store] + 1] = key
        self.heads[store] = await self.world.publish({"sku": key}, store)
        self.published += 1

    async def act(self) -> None:
        act = self.dice.choice(["publish"] * 6 + ["join", "freeze", "freeze", "thaw", "thaw", "crash", "drain", "rest"])
        thawed = [one for one in self.live if not one.frozen]
        frozen = [one for one in self.live if one.frozen]
        match act:
            case "publish":
                for _ in range(self.dice.randrange(12)):
                    await self.publish()
            case "join" if len(self.live) < 4:
                self.names += 1
                self.live.append(Process(self, f"m{self.names}"))
            case "freeze" if thawed:
                self.dice.choice(thawed).thawed.clear()
            case "thaw" if frozen:
                self.dice.choice(frozen).thawed.set()
            case "crash" if frozen:
                self.live.remove(one := self.dice.choice(frozen))
                self.ended.append(one)
            case "drain" if thawed:
                self.live.remove(one := self.dice.choice(thawed))
                one.stop.set()
                self.ended.append(one)
            case _:
                await self.passes(LEASE_MS)

    async def passes(self, ms: int) -> None:
        while ms > 0:
            step = min(ms, self.dice.choice((50, POLL_MS, BEAT_MS)))
            self.world.pass_ms(step)
            ms -= step
            for _ in range(self.dice.randrange(5, 25)):
                await asyncio.sleep(0)
            for process in self.live:
                if process.task.done():
                    await process.task

    async def delivered(self) -> int:
        return sum(ledger.counts.delivered for ledger in await self.world.engine.lanes.ledgers())

    async def tell(self) -> None:
        self.keys: dict[tuple[str, int], str] = {}
        self.heads: dict[str, int] = dict.fromkeys(STORES, 0)
        await self.world.furnish()
        for _ in range(150):
            await self.act()
            await self.passes(self.dice.choice((0, 50, 400)))
        self.calm = True
        for process in self.live:
            process.thawed.set()
        self.live.append(Process(self, "last"))
        for _ in range(100):
            if await self.delivered() == self.published:
                break
            await self.passes(BEAT_MS)
        assert await self.delivered() == self.published
        await self.world.check()

    async def end(self) -> None:
        for process in (*self.ended, *self.live):
            process.thawed.set()
            process.task.cancel()
        await asyncio.gather(*(one.task for one in (*self.ended, *self.live)), return_exceptions=True)


@pytest.mark.parametrize("seed", range(12))
async def test_whoever_freezes_or_dies_order_holds_and_nothing_settled_is_sent(seed: int) -> None:
    story = Story(seed)
    try:
        await story.tell()
        assert story.wrong == []
        assert story.world.named("delivery.failed") == []
    finally:
        await story.end()
