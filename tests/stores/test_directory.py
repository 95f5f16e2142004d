from __future__ import annotations

import pytest

from crossdock.model.connection import Connection, ConnectionState
from crossdock.model.errors import Invalid
from crossdock.model.ids import ConnectionId, StoreId
from crossdock.stores.directory import UNKNOWN_MAX
from stores.counter import ADMIN, NORTH, SOUTH, Counter, lane, signing


def counting(counter: Counter) -> list[str]:
    """Every connection that is asked of the engine from now on."""
    asked: list[str] = []
    inner = counter.engine.registry.connection

    async def connection(name: ConnectionId) -> Connection | None:
        asked.append(name)
        return await inner(name)

    counter.directory._registry = _Watched(counter.engine.registry, connection)  # type: ignore[assignment]
    return asked


class _Watched:
    def __init__(self, registry: object, connection: object) -> None:
        self._registry = registry
        self.connection = connection

    def __getattr__(self, name: str) -> object:
        return getattr(self._registry, name)


async def test_a_second_look_asks_nobody(counter: Counter) -> None:
    name = await counter.enabled()
    asked = counting(counter)
    first = await counter.directory.door(name, None)
    assert await counter.directory.door(name, "order-in") is first
    assert await counter.directory.way(lane(name)) is await counter.directory.way(lane(name))
    assert asked == [name]


async def test_a_change_is_seen_by_the_next_look(counter: Counter) -> None:
    name = await counter.enabled()
    before = await counter.directory.way(lane(name))
    row = await counter.office.connection(NORTH, name)
    await counter.desk.connections.configure(ADMIN, row, {"seller_id": "OTHER9"}, None)
    after = await counter.directory.way(lane(name))
    assert before is not None
    assert after is not None
    assert (before.revision, after.revision) == (1, 2)
    assert after.config == {"seller_id": "OTHER9", "safety_stock": 2}
    await counter.desk.connections.pause(ADMIN, row)
    paused = await counter.directory.door(name, None)
    assert paused is not None
    assert paused.state is ConnectionState.PAUSED


async def test_a_credential_is_seen_by_the_next_look(counter: Counter) -> None:
    name = await counter.enabled()
    await counter.directory.door(name, None)
    await counter.desk.credentials.set(ADMIN, NORTH, name, "webhook_secret", signing("new"))
    door = await counter.directory.door(name, None)
    assert door is not None
    assert door.secrets["webhook_secret"] == (signing("new"),)


async def test_a_stores_weight_is_seen_by_the_next_look_and_is_on_record(counter: Counter) -> None:
    name, other = await counter.enabled(), await counter.enabled(SOUTH)
    await counter.directory.way(lane(name))
    await counter.desk.stores.set_weight(ADMIN, NORTH, 4)
    ways = [await counter.directory.way(lane(name)), await counter.directory.way(lane(other, store=SOUTH))]
    assert [way.weight for way in ways if way is not None] == [4, 1]
    (told,) = [one for one in await counter.engine.registry.audit(NORTH, 0, 99) if one.action == "store.weighted"]
    assert told.detail == {"before": 1, "after": 4}
    for bad in (0, 17):
        with pytest.raises(Invalid, match="1 to 16"):
            await counter.desk.stores.set_weight(ADMIN, NORTH, bad)


async def test_a_way_of_another_store_is_none(counter: Counter) -> None:
    name = await counter.enabled()
    assert await counter.directory.way(lane(name, store=SOUTH)) is None
    assert await counter.directory.way(lane(name, "no-such-route")) is None


async def test_an_unknown_connection_is_asked_once_and_found_once_it_is_there(counter: Counter) -> None:
    asked = counting(counter)
    ghost = "con_" + "0" * 26
    for _ in range(3):
        assert await counter.directory.door(ghost, None) is None
    assert asked == [ghost]
    counter.clock.forward(5_000)
    await counter.directory.door(ghost, None)
    assert asked == [ghost, ghost]


async def test_guesses_take_a_bounded_place_and_forms_that_are_none_take_none(counter: Counter) -> None:
    asked = counting(counter)
    await counter.directory.door("../etc", None)
    assert asked == []
    for number in range(UNKNOWN_MAX + 10):
        await counter.directory.door(f"con_{number:026d}", None)
    assert len(counter.directory._unknown) == UNKNOWN_MAX


async def test_only_production_leads_to_live_hosts(counter: Counter) -> None:
    name = await counter.enabled()
    way = await counter.directory.way(lane(name))
    assert way is not None
    target = way.targets["api"]
    assert (target.host, target.scheme, target.connect_to) == ("api.sandbox.acme.example", "http", ("127.0.0.1", 9001))


async def test_the_keys_of_a_store_that_is_not_there_are_none(counter: Counter) -> None:
    assert await counter.directory.keys(StoreId("nobody")) is None
    assert await counter.directory.keys(NORTH) is not None


async def test_every_lane_of_a_store_is_listed(counter: Counter) -> None:
    name = await counter.enabled()
    await counter.enabled(SOUTH)
    assert sorted(str(one.route) for one in await counter.directory.lanes_of(NORTH)) == ["order-in", "product-push"]
    assert {one.connection for one in await counter.directory.lanes_of(NORTH)} == {name}
