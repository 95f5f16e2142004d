"""The same lanes on the engine that keeps them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from delivery_world import DOWN, REJECTED, ROUTE, TAKEN, FarEnd, World

from crossdock.delivery.replay import Selection
from crossdock.delivery.replaying import Replays
from crossdock.engines.sqlite.engine import SqliteEngine
from crossdock.model.limits import HOUR_MS, SECOND_MS


async def test_an_outage_a_poisoned_event_and_a_replay_on_sqlite(tmp_path: Path) -> None:
    down, mended = True, False
    far = FarEnd(lambda way, parcel: DOWN if down else REJECTED if parcel.position == 5 and not mended else TAKEN)
    route = replace(ROUTE, retry=replace(ROUTE.retry, attempts_max=100))
    world = World(far, route, ("one", "two"), lambda clock: SqliteEngine(tmp_path / "journal", clock))
    await world.begin()
    try:
        for number in range(60):
            await world.publish({"sku": f"k{number % 4}"}, "one")
        await world.publish({"sku": "a"}, "two", email="ann@example.org")
        await world.deliver(60 * SECOND_MS, steps=6)
        assert far.took == {}
        down = False
        await world.deliver(3 * HOUR_MS, steps=10)
        counts = await world.count()
        assert (counts["delivered"], counts["parked"], counts["waiting"]) == (59, 1, 0)
        by_key: dict[str, list[int]] = defaultdict(list)
        for parcel in far.took["one"]:
            by_key[parcel.key].append(parcel.position)
        assert all(positions == sorted(set(positions)) for positions in by_key.values())
        mended = True
        replays = Replays(world.engine.journal, world.engine.lanes, world, world.keys)
        made = await replays.plan(world.lane(), Selection(), world.now)
        await world.commit(*made.writes)
        await world.deliver(SECOND_MS)
        assert (await world.count())["delivered"] == 60
        assert (await world.count("two"))["delivered"] == 1
    finally:
        await world.engine.close()
