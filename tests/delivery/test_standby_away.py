"""A commit that waited for its standby, with nobody waiting for its answer any more, is delivered by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest
from delivery_world import FarEnd, World

from crossdock.engines.postgres import marks, pool
from crossdock.engines.postgres.engine import PostgresEngine
from crossdock.model.errors import Unavailable
from postgres import House, estate_on, own_server

AWAY_SECONDS = 3.0


@pytest.fixture
def house() -> Iterator[House]:
    with own_server() as conninfo, estate_on(conninfo) as estate, estate.copy() as house:
        yield house


async def set_standbys(house: House, names: str) -> None:
    with psycopg.connect(house.admin, autocommit=True) as admin:
        # The statement that says so must not wait for the standby itself.
        admin.execute("SET synchronous_commit = local")
        admin.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        admin.execute("SELECT pg_reload_conf()")
        while admin.execute("SHOW synchronous_standby_names").fetchone() != (names,):
            await asyncio.sleep(0.01)


async def until_visible(house: House) -> None:
    with psycopg.connect(house.admin, autocommit=True) as admin:
        async with asyncio.timeout(30):
            while admin.execute("SELECT count(*) FROM crossdock.entries").fetchone() != (1,):
                await asyncio.sleep(0.01)


async def test_an_event_whose_commit_waited_long_for_the_standby_goes_out_when_the_standby_is_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "OVERLAP_SECONDS", 0)
    monkeypatch.setattr(pool, "TRANSACTION_SECONDS_MAX", 0.5)
    far = FarEnd()
    world = await World(far, on=lambda clock: PostgresEngine(house.app, clock)).begin()
    try:
        await world.deliver()
        await set_standbys(house, "ghost")
        with pytest.raises(Unavailable):
            await world.publish({"sku": "a"})
        for _ in range(int(AWAY_SECONDS)):
            await asyncio.sleep(1)
            await world.deliverer.work_off()
        assert far.took_ids() == []
        await set_standbys(house, "")
        await until_visible(house)
        await world.deliverer.work_off()
        assert far.took_ids() == ["evt-1"]
    finally:
        await world.engine.close()
