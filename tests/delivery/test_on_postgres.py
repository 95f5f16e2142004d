"""Two deliverers, each with an engine of its own, as two processes have, on one PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import psycopg
import pytest
from delivery_world import TAKEN, FarEnd, World
from test_several import Stuck, until_seen

from crossdock.delivery.ownership import Ownership
from crossdock.delivery.rounds import Deliverer
from crossdock.engines.postgres.engine import PostgresEngine
from crossdock.model.limits import BEAT_MS, LEASE_MS, SLOTS
from postgres import House

STORES = tuple(f"s{number}" for number in range(8))


class Pair:
    """`one` and `two` share nothing but the database. The world's clock is theirs, that of the leases the server's."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.fars = (Stuck(), FarEnd(lambda way, parcel: TAKEN))
        self.world = World(self.fars[0], stores=STORES, on=lambda clock: PostgresEngine(house.app, clock))
        self.other = PostgresEngine(house.app, self.world.clock)

    async def begin(self) -> Pair:
        await self.world.begin()
        await self.other.start()
        self.one = self.world.deliverer
        gear = replace(
            self.one._gear,
            journal=self.other.journal,
            lanes=self.other.lanes,
            drivers={"far/1": self.fars[1]},
        )
        self.two = Deliverer(gear, self.world, Ownership(self.other.slots, "that", self.world.elapsed))
        return self

    async def close(self) -> None:
        await self.other.close()
        await self.world.engine.close()

    async def lapse(self, member: str) -> None:
        """The server's clock passes this member's lease, and the world's clock the same time."""
        with psycopg.connect(self.house.admin, autocommit=True) as admin:
            admin.execute("UPDATE crossdock.members SET until = clock_timestamp() WHERE member = %s", (member,))
        self.world.pass_ms(LEASE_MS)

    async def delivered(self) -> int:
        return sum(ledger.counts.delivered for ledger in await self.world.engine.lanes.ledgers())


@pytest.fixture
async def pair(postgres_house: House) -> AsyncIterator[Pair]:
    made = await Pair(postgres_house).begin()
    yield made
    await made.close()


async def publish(pair: Pair) -> None:
    for store in STORES:
        await pair.world.publish({"sku": "same"}, store)


async def test_two_processes_share_the_lanes_and_hear_of_what_either_took_in(pair: Pair) -> None:
    pair.fars[0].go.set()  # type: ignore[attr-defined]
    for _ in range(3):
        await pair.two.work_off()
        pair.world.pass_ms(BEAT_MS)
        await pair.one.work_off()
    await publish(pair)
    await asyncio.gather(pair.one.work_off(), pair.two.work_off())
    sent = [set(far.took) for far in pair.fars]
    assert all(sent)
    assert not sent[0] & sent[1]
    assert await pair.delivered() == len(STORES)


async def test_a_process_that_was_frozen_past_its_lease_settles_nothing(pair: Pair) -> None:
    stuck = pair.fars[0]
    assert isinstance(stuck, Stuck)
    await publish(pair)
    turns = asyncio.ensure_future(pair.one.work_off())
    await until_seen(lambda: len(stuck.asked) == len(STORES))
    await pair.lapse("this")
    await pair.two.work_off()
    assert len(pair.two._ownership.slots) == SLOTS
    assert await pair.delivered() == len(STORES)
    ledgers = await pair.world.engine.lanes.ledgers()
    stuck.go.set()
    await turns
    assert await pair.world.engine.lanes.ledgers() == ledgers
    assert len(pair.world.named("delivery.stale")) == len(STORES)
    assert pair.one.kept()["lanes"] == 0
    assert all(len(parcels) == 1 for parcels in pair.fars[1].took.values())
