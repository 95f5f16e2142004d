"""Delivery waits by a clock that does not jump, and tells far ends the time of the wall clock."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import cast

from delivery_world import ROUTE, START, FarEnd, World
from hypothesis import given
from hypothesis import strategies as st

from crossdock.delivery.driver import Parcel
from crossdock.delivery.ownership import Ownership
from crossdock.delivery.rounds import Deliverer
from crossdock.delivery.steady import Steady
from crossdock.model.attempt import Answer, AnswerKind
from crossdock.model.contract import Batch
from crossdock.model.ids import Instant
from crossdock.model.limits import DAY_MS
from crossdock.observe.lines import Lines
from crossdock.stores.ways import Way
from crossdock.wiring import app
from crossdock.wiring.ground import Ground, clock

JUMPS = st.lists(st.tuples(st.integers(0, DAY_MS), st.integers(-DAY_MS, DAY_MS)), max_size=20)


@given(JUMPS)
def test_it_goes_as_durations_go_whatever_the_wall_clock_does(jumps: list[tuple[int, int]]) -> None:
    passed, wall = 0, START
    steady = Steady(lambda: Instant(wall), lambda: passed / 1_000)
    for passes, jump in jumps:
        passed, wall = passed + passes, Instant(wall + passes + jump)
        assert abs(steady() - START - passed) <= 1


class Told(FarEnd):
    async def deliver(self, way: Way, parcels: tuple[Parcel, ...], now: Instant) -> tuple[Answer, ...]:
        self.at.append(now)
        return await super().deliver(way, parcels, now)

    at: list[Instant]


async def test_a_jump_forward_sends_nothing_early_and_signs_with_the_time_of_the_wall() -> None:
    far = Told(lambda way, parcel: Answer(AnswerKind.BROKEN, "http_500", 1, 500))
    far.at = []
    world = await World(far).begin()
    passed = 0.0
    gear = replace(world.deliverer._gear, clock=Steady(world.clock, lambda: passed), wall=world.clock)
    deliverer = Deliverer(gear, world, Ownership(world.engine.slots, "this", lambda: passed))
    await deliverer.load()
    await world.publish({"sku": "a"})
    await deliverer.work_off()
    assert len(far.calls) == 1
    world.pass_ms(DAY_MS)
    await deliverer.work_off()
    assert len(far.calls) == 1
    world.pass_ms(-2 * DAY_MS)
    passed = 3_600.0
    await deliverer.work_off()
    assert len(far.calls) == 2
    assert far.at == [START, START - DAY_MS]


async def test_an_unfilled_batch_waits_no_longer_where_the_clock_of_ingest_is_ahead() -> None:
    far = FarEnd()
    batch = Batch(items_max=3, body_bytes_max=10_000, wait_ms_max=5_000, per_item=False)
    world = await World(far, replace(ROUTE, batch=batch, ordering=())).begin()
    world.pass_ms(DAY_MS)
    await world.publish({"sku": "a"})
    world.pass_ms(-DAY_MS)
    await world.deliver(4_000, steps=4)
    assert far.calls == []
    await world.deliver(1_500)
    assert len(far.calls) == 1


def test_a_process_waits_by_the_steady_clock() -> None:
    class Anything:
        def __getattr__(self, name: str) -> Anything:
            return self

    gear = app.gear_of(cast(Ground, Anything()), Lines())
    assert isinstance(gear.clock, Steady)
    assert gear.wall is clock
    assert gear.elapsed is time.monotonic
