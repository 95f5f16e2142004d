"""What the engine over cells does beyond the suites: places, homes that change, and cells that are away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import psycopg
import pytest
from cells_world import Town, town_of

from crossdock.engines.cells import engine as cells
from crossdock.engines.cells.directory import Directory, Home, lay
from crossdock.engines.cells.engine import CellsEngine
from crossdock.engines.migrations import Phase
from crossdock.engines.postgres.engine import PostgresEngine
from crossdock.engines.postgres.migrate import login_of, migrate
from crossdock.journal.port import LaneWish
from crossdock.journal.slots import slot_of
from crossdock.model.entry import Kept
from crossdock.model.errors import Bug, CrossdockError, Unavailable
from crossdock.model.ids import START, Position, StoreId, TokenId
from crossdock.model.lane import Counts, LaneChange
from crossdock.stores.port import AddConnection, AddStore, AddToken, Change, Engine, OpenLane, RevokeToken
from crossdock.testing.registry_suite import TOKEN
from crossdock.testing.samples import NORTH, NOW, SOUTH, a_store, audit, connection, draft, lane_id, raised
from postgres import Estate, House, server

NORTHS, SOUTHS = connection("north"), connection("south", store=SOUTH)
TOKENS = {
    NORTH: replace(TOKEN, id=TokenId("t-north")),
    SOUTH: replace(TOKEN, id=TokenId("t-south"), store=SOUTH),
    None: replace(TOKEN, id=TokenId("t-platform"), store=None),
}


async def furnish(engine: Engine) -> None:
    for store, one in ((NORTH, NORTHS), (SOUTH, SOUTHS)):
        lane = replace(lane_id(store=store), connection=one.id)
        writes = (AddStore(a_store(store)), AddConnection(one), AddToken(TOKENS[store]), OpenLane(lane))
        await engine.registry.commit(Change(writes, (audit("made", store),)))
        await engine.journal.append([draft("a", store=store)])
    await engine.registry.commit(Change((AddToken(TOKENS[None]),), (audit("issued", None),)))


async def test_a_new_store_goes_where_the_fewest_are(town: Town) -> None:
    async with town.engine() as engine:
        for name in ("one", "two", "three", "four"):
            id = StoreId(name)
            await engine.registry.commit(Change((AddStore(a_store(id)),), (audit("made", id),)))
        homes = await engine._directory.homes([StoreId(name) for name in ("one", "two", "three", "four")])
        assert [homes[StoreId(name)].cell for name in ("one", "two", "three", "four")] == ["a", "b", "a", "b"]
        assert [one.id for one in await engine.registry.stores()] == ["four", "one", "three", "two"]
        assert [one.id for one in await engine.registry.stores("one", 2)] == ["three", "two"]


async def test_the_directory_shows_the_homes_that_are_asked_for_and_no_others(town: Town) -> None:
    async with town.engine() as engine:
        await furnish(engine)
    with psycopg.connect(town.directory.app) as app:
        seen = "SELECT count(*) FROM crossdock_directory.cells_directory"
        assert app.execute(seen).fetchone() == (0,)
        app.execute("SELECT set_config('crossdock.stores', '{north}', true)")
        assert app.execute(seen).fetchone() == (1,)
        moved = "UPDATE crossdock_directory.cells_directory SET claimed = 9 WHERE store_id = 'south'"
        assert app.execute(moved).rowcount == 0
        app.rollback()


async def test_many_homes_are_asked_for_in_portions(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossdock.engines.cells.directory.SCOPE_STORES_MAX", 2)
    directory = Directory(town.directory.app)
    await directory.open()
    try:
        stores = [StoreId(f"s{number}") for number in range(5)]
        assert await directory.adopt("b", [(store, 3) for store in stores]) == 5
        assert await directory.adopt("a", [(store, 1) for store in [*stores, NORTH]]) == 1
        assert await directory.homes([*stores, SOUTH]) == {store: Home("b", 3) for store in stores}
        assert [store for store, _ in await directory.listed("north")] == stores
    finally:
        await directory.close()


@pytest.fixture
def low_town(postgres_estate: Estate) -> Iterator[Town]:
    with town_of(postgres_estate, "a") as town:
        town.tell("ALTER TABLE crossdock_directory.cells_directory NO FORCE ROW LEVEL SECURITY")
        yield town


async def test_a_directory_whose_walls_are_down_is_refused(low_town: Town) -> None:
    error = await raised(Unavailable, Directory(low_town.directory.app).open())
    assert error.code == "CD5004"
    assert "crossdock_directory.cells_directory" in error.message
    assert "is a superuser" in (await raised(Unavailable, Directory(low_town.directory.admin).open())).message


async def test_the_doctor_looks_at_the_directory_too(town: Town) -> None:
    async with town.engine() as engine:
        said = [one.what for one in await engine.findings() if one.code == "CD5022"]
    assert len([what for what in said if what.startswith("The directory:")]) == 2


async def test_a_call_for_stores_of_two_cells_is_a_fault_of_ours(town: Town) -> None:
    async with town.engine() as engine:
        await furnish(engine)
        error = await raised(Bug, engine.journal.append([draft("x"), draft("x", store=SOUTH)]))
        assert error.code == "CD5027"
        change = Change((), (audit("x"), audit("x", SOUTH)))
        assert (await raised(Bug, engine.registry.commit(change))).code == "CD5027"
        assert (await raised(Bug, engine.slots.beat("me"))).code == "CD5027"
        assert await engine.journal.head(NORTH) == 1


async def test_what_has_no_store_in_its_name_is_found_wherever_it_is(town: Town) -> None:
    async with town.engine() as engine:
        await furnish(engine)
    async with town.engine() as engine:
        for _ in range(2):  # not remembered, then remembered
            assert await engine.registry.connection(NORTHS.id) == NORTHS
            assert await engine.registry.connection(SOUTHS.id) == SOUTHS
            assert [await engine.registry.token(one.id) for one in TOKENS.values()] == list(TOKENS.values())
            assert await engine.registry.connection(connection("nobody").id) is None
        assert await engine.registry.tokens() == sorted(TOKENS.values(), key=lambda one: one.id)
        revoke = Change((RevokeToken(TOKENS[None].id, NOW),), (audit("revoked", None),))
        await engine.registry.commit(revoke)
        revoked = await engine.registry.token(TOKENS[None].id)
        assert revoked is not None
        assert revoked.revoked_at == NOW


async def test_lanes_of_several_cells_are_read_and_settled_in_one_call(town: Town) -> None:
    async with town.engine() as engine:
        await furnish(engine)
        lanes = sorted(lane.id for lane in await engine.lanes.open_lanes())
        assert [lane.store for lane in lanes] == [NORTH, SOUTH]
        reads = await engine.lanes.read([LaneWish(lane, 9) for lane in reversed(lanes)], NOW)
        assert [read.lane.id.store for read in reads] == [SOUTH, NORTH]
        changes = [LaneChange(lane, 0, START, Position(1), Counts(delivered=1)) for lane in lanes]
        assert await engine.lanes.settle([changes[0], replace(changes[1], epoch=7)]) == [True, False]
        assert [one.counts.delivered for one in await engine.lanes.ledgers()] == [1, 0]
        assert await engine.lanes.stirring([slot_of(SOUTH, SOUTHS.id)]) == [lanes[1]]


async def test_a_store_that_has_moved_is_found_at_its_new_home_by_one_more_try(town: Town) -> None:
    """By a process that remembers the old one: the gate there is shut, and the new home knows the next epoch."""
    async with town.engine() as engine:
        await furnish(engine)
        await engine.journal.append([draft("b")])
        move_by_hand(town, NORTH, "a", "b")
        assert await engine.journal.append([draft("c")]) == [Kept(Position(1))]  # nothing was carried by hand
        await engine.registry.commit(Change((), (audit("told"),)))
        assert [one.action for one in await engine.registry.audit(NORTH, 0, 9)] == ["told"]


async def test_a_stale_epoch_is_refused_although_the_gate_is_open(town: Town) -> None:
    """Moved there and back: whoever remembers the first time is told to look again, and does."""
    async with town.engine() as engine:
        await furnish(engine)
        for cell, epoch in (("a", 2),):
            with psycopg.connect(town.cells[cell].admin) as admin:
                admin.execute("UPDATE crossdock.journals SET epoch = %s WHERE store_id = 'north'", [epoch])
        error = await raised(Unavailable, engine.journal.append([draft("b")]))
        assert (error.code, error.retry_after_ms) == ("CD5024", 1_000)
        town.tell("UPDATE crossdock_directory.cells_directory SET epoch = 2, claimed = 2 WHERE store_id = 'north'")
        assert await engine.journal.append([draft("b")]) == [Kept(Position(2))]


def move_by_hand(town: Town, store: str, was: str, now: str) -> None:
    with psycopg.connect(town.cells[was].admin) as admin:
        admin.execute("UPDATE crossdock.journals SET gate = 'shut', epoch = 1 WHERE store_id = %s", [store])
    with psycopg.connect(town.cells[now].admin) as admin:
        admin.execute("INSERT INTO crossdock.journals (store_id, epoch) VALUES (%s, 1)", [store])
    town.tell(
        "UPDATE crossdock_directory.cells_directory SET cell = %s, epoch = 1, claimed = 1 WHERE store_id = %s",
        now,
        store,
    )


async def test_changes_of_any_cell_are_followed_by_one_number(town: Town) -> None:
    async with town.engine() as engine, town.engine() as other:
        await furnish(engine)
        seq = (await engine.registry.changes(None)).seq
        assert await engine.registry.changes(seq) == await engine.registry.changes(seq)
        for store in (SOUTH, NORTH):
            await other.registry.commit(Change((), (audit("x", store),)))
            changes = await engine.registry.changes(seq)
            assert (changes.stores, changes.platform) == (frozenset({store}), False)
            seq = changes.seq


@pytest.fixture
def two_servers(postgres_estate: Estate, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Town, ExitStack]]:
    """A town whose second cell is on a server of its own, which is stopped by closing the stack."""
    monkeypatch.delenv("CROSSDOCK_TEST_POSTGRES", raising=False)
    with town_of(postgres_estate, "a") as near, ExitStack() as far:
        yield Town({**near.cells, "b": house_on(far.enter_context(server()))}), far


def house_on(conninfo: str) -> House:
    estate = Estate(conninfo, "far")
    with psycopg.connect(conninfo, autocommit=True) as admin:
        for role in (estate.owner, estate.app):
            admin.execute(f"CREATE ROLE \"{role}\" LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD '{role}'")
        admin.execute(f'CREATE DATABASE far OWNER "{estate.owner}"')
    house = estate.house("far")
    asyncio.run(migrate(house.owner, login_of(house.app), set(Phase), lambda _: None))
    return house


async def test_a_stopped_cell_gives_the_others_no_error(two_servers: tuple[Town, ExitStack]) -> None:
    town, far = two_servers
    async with town.engine() as engine, town.engine() as fresh:
        await furnish(engine)
        lane = replace(lane_id(), connection=NORTHS.id)
        seq = (await engine.registry.changes(None)).seq
        far.close()

        async def north_goes_on(at: Engine, key: str) -> None:
            await at.journal.append([draft(key)])
            assert [entry.event_id for entry in await at.journal.read(NORTH, START, 9)][-1] == key
            assert await at.registry.connection(NORTHS.id) == NORTHS
            assert await at.registry.token(TOKENS[NORTH].id) == TOKENS[NORTH]
            assert await at.registry.token(TOKENS[None].id) == TOKENS[None]
            assert [one.lane.id for one in await at.lanes.read([LaneWish(lane, 9)], NOW)] == [lane]
            await at.registry.commit(Change((), (audit(key),)))
            await at.writable()
            assert [one.lane.store for one in await at.lanes.ledgers()] == [NORTH]

        async def down(call: Awaitable[object]) -> None:
            assert (await raised(Unavailable, call)).code == "CD5002"

        for key, at in (("one", engine), ("two", fresh)):  # homes remembered, and not
            await north_goes_on(at, key)
            await down(at.journal.append([draft("b", store=SOUTH)]))
            await down(at.registry.connection(SOUTHS.id))
            await down(at.registry.token(TOKENS[SOUTH].id))
            await down(at.registry.connection(connection("nobody").id))  # it could be the other cell's
            await down(at.registry.stores())
            await down(at.registry.tokens())
        assert (await engine.registry.changes(seq)).stores == {NORTH}
        assert not any(one.fatal and not one.ok for one in await engine.findings())
        assert [one.ok for one in await engine.findings() if one.what.startswith("Cell b")] == [False]
    # And whoever starts without it.
    async with town.engine() as late:
        await late.journal.append([draft("three")])
        await raised(Unavailable, late.journal.append([draft("c", store=SOUTH)]))


async def test_without_the_directory_what_is_remembered_goes_on(two_servers: tuple[Town, ExitStack]) -> None:
    town, far = two_servers
    asyncio_town = Town({"b": town.cells["b"], "a": town.cells["a"]})
    await lay(asyncio_town.directory.owner, login_of(asyncio_town.directory.app), lambda _: None)
    asyncio_town.put(NORTH, "a")
    asyncio_town.put(SOUTH, "a")
    async with asyncio_town.engine() as engine:
        await engine.journal.append([draft("a")])
        far.close()
        await engine.journal.append([draft("b")])
        error = await raised(Unavailable, engine.journal.append([draft("b", store=SOUTH)]))
        assert error.code == "CD5002"
    assert (await raised(Unavailable, Directory(asyncio_town.directory.app).open())).code == "CD5002"


async def test_a_cell_that_is_not_listed_is_named(town: Town) -> None:
    town.put(NORTH, "elsewhere")
    async with town.engine() as engine:
        error = await raised(CrossdockError, engine.journal.append([draft("a")]))
        assert (error.code, error.status) == ("CD5028", 503)
        assert "elsewhere" in error.message


async def test_a_cell_that_cannot_be_served_as_it_is_stops_no_other_and_comes_back_by_itself(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "AGAIN_SECONDS", 0.05)
    town.put(NORTH, "a")
    town.put(SOUTH, "b")
    role = login_of(town.cells["b"].app).role
    said: list[tuple[str, str]] = []

    def tell(cell: str, error: Unavailable) -> None:
        said.append((cell, error.code))

    with psycopg.connect(town.cells["b"].admin, autocommit=True) as admin:
        admin.execute(f'REVOKE USAGE ON SCHEMA crossdock FROM "{role}"')
        try:
            async with town.engine(told=tell) as engine:
                assert said == [("b", "CD5037")]
                assert await engine.journal.append([draft("a")]) == [Kept(Position(1))]
                await engine.writable()
                (found,) = [one for one in await engine.findings() if not one.ok]
                assert (found.code, found.fatal, found.what.startswith("Cell b: ")) == ("CD5037", False, True)
                error = await raised(Unavailable, engine.journal.append([draft("b", store=SOUTH)]))
                assert error.message.startswith("Cell b: ")
                admin.execute(f'GRANT USAGE ON SCHEMA crossdock TO "{role}"')
                async with asyncio.timeout(30):
                    while any(not one.ok for one in await engine.findings()):
                        await asyncio.sleep(0.05)
                assert await engine.journal.append([draft("b", store=SOUTH)]) == [Kept(Position(1))]
        finally:
            admin.execute(f'GRANT USAGE ON SCHEMA crossdock TO "{role}"')


async def test_where_no_cell_can_be_served_nothing_starts(town: Town) -> None:
    away = PostgresEngine("postgresql://nobody@127.0.0.1:1/nothing", lambda: NOW)
    error = await raised(Unavailable, CellsEngine({"x": away}, Directory(town.directory.app)).start())
    assert (error.code, error.message.startswith("Cell x: ")) == ("CD5002", True)
