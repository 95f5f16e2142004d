"""A whole installation copied from SQLite to PostgreSQL: equal, resumable, and refused where it does not fit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from freight_world import NOW, audit, draft, fill, platform, with_sqlite

from crossdock.engines.postgres.engine import PostgresEngine
from crossdock.engines.sqlite.engine import SqliteEngine
from crossdock.freight.copying import Copying
from crossdock.freight.port import Source
from crossdock.freight.postgres import PostgresPlace, freight_pool
from crossdock.freight.proof import Proved
from crossdock.freight.sqlite import SqliteSource
from crossdock.freight.standing import AtRest
from crossdock.freight.tables import HELD
from crossdock.model.errors import Conflict, NotFound
from crossdock.model.ids import START, StoreId
from crossdock.stores.port import Change, Engine
from crossdock.testing.samples import raised
from postgres import House

EAST, NORTH, WEST = StoreId("east"), StoreId("north"), StoreId("west")
STORES = (EAST, NORTH, WEST)


@dataclass
class Silent:
    carried: int = 0
    begun_: list[tuple[str, int, int]] = field(default_factory=list)
    there: list[str] = field(default_factory=list)

    def begun(self, store: str, number: int, of: int) -> None:
        self.begun_.append((store, number, of))

    def rows(self, carried: int) -> None:
        self.carried += carried

    def ended(self, proved: Proved, *, there_before: bool) -> None:
        if there_before:
            self.there.append(proved.store)


async def filled(engine: SqliteEngine) -> None:
    await platform(engine)
    for store in STORES:
        await fill(engine, store)
    await engine.registry.commit(Change((), (audit(None), audit(NORTH))))


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[SqliteSource]:
    path = tmp_path / "data" / "one.db"
    await with_sqlite(path, filled)
    source = SqliteSource(path)
    yield source
    await source.close()


@asynccontextmanager
async def place(house: House) -> AsyncIterator[PostgresPlace]:
    pool = freight_pool(house.app)
    await pool.open()
    try:
        yield PostgresPlace(pool)
    finally:
        await pool.close()


async def copy(source: Source, house: House, told: Silent | None = None, **more: Any) -> list[Proved]:
    async with place(house) as there:
        return await Copying(source, there, AtRest(), told or Silent(), lambda _: audit(None), **more).run()


async def said(engine: Engine, stores: tuple[StoreId, ...] = STORES) -> dict[str, Any]:
    """Everything that an engine says of its stores, through its own port."""
    registry, journal, lanes = engine.registry, engine.journal, engine.lanes
    found: dict[str, Any] = {}
    for store in stores:
        connections = await registry.connections(store)
        every = await lanes.ledgers(store)
        found[store] = (
            await registry.store(store),
            connections,
            [await registry.revisions(store, one.id) for one in connections],
            [await registry.credentials(store, one.id) for one in connections],
            await registry.core_endpoint(store),
            await registry.tokens(store),
            await registry.audit(store, 0, 999),
            await journal.read(store, START, 999),
            await journal.head(store),
            await journal.conflicts(store, 99),
            await journal.subject_key(store, bytes([1]) * 32),
            every,
            [await lanes.held(one.lane, None, START, 99) for one in every],
            [await lanes.attempts(one.lane, 99) for one in every],
            [
                (one.cursor, one.start, one.open, one.skips)
                for ledger in every
                if (one := await lanes.lane(ledger.lane))
            ],
        )
        assert all(one.closes for one in every)
        assert len(every) == 4
    return found


@asynccontextmanager
async def served(house: House) -> AsyncIterator[PostgresEngine]:
    engine = PostgresEngine(house.app, lambda: NOW)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


async def test_an_installation_is_the_same_on_both_engines(
    source: SqliteSource, tmp_path: Path, postgres_house: House
) -> None:
    told = Silent()
    proved = await copy(source, postgres_house, told)
    before = await with_sqlite(tmp_path / "data" / "one.db", said)
    log = await with_sqlite(tmp_path / "data" / "one.db", lambda engine: engine.registry.audit(None, 0, 999))
    tokens = await with_sqlite(tmp_path / "data" / "one.db", lambda engine: engine.registry.tokens())
    async with served(postgres_house) as engine:
        assert await said(engine) == before
        assert await engine.registry.audit(None, 0, 999) == log
        assert await engine.registry.tokens() == tokens
        assert len(await engine.journal.conflicts(NORTH, 9)) == 3
    assert told.begun_ == [("", 1, 4), *((store, at, 4) for at, store in enumerate(STORES, 2))]
    assert told.carried == sum(sum(one.rows.values()) for one in proved)
    assert proved[1].rows["entries"] == proved[1].head == 41


async def test_the_store_goes_on_where_it_stood(source: SqliteSource, postgres_house: House) -> None:
    await copy(source, postgres_house)
    async with served(postgres_house) as engine:
        again, new = await engine.journal.append([draft(NORTH, 5), draft(NORTH, 77)])
        assert (again.position, new.position) == (5, 42)
        await engine.journal.append([draft(NORTH, 4, b"9")])
        assert [one.position for one in await engine.journal.conflicts(NORTH, 9)] == [4, 2, 3, 1]
        before = await engine.registry.audit(None, 0, 999)
        await engine.registry.commit(Change((), (audit(NORTH), audit(None))))
        after = await engine.registry.audit(None, 0, 999)
        assert [one.seq for one in after] == list(range(1, len(before) + 3))
        assert [one.seq for one in await engine.registry.audit(NORTH, 0, 99)] == [1, 2, 3, 4, 5]


async def test_what_the_engine_keeps_for_itself_is_computed(source: SqliteSource, postgres_house: House) -> None:
    await copy(source, postgres_house)
    with psycopg.connect(postgres_house.admin) as admin:
        rows = admin.execute(
            "SELECT l.route, l.unresolved, (SELECT count(*) FROM crossdock.held AS h WHERE (h.store_id,"
            " h.connection_id, h.route) = (l.store_id, l.connection_id, l.route) AND h.state <> 'parked')"
            " FROM crossdock.lanes AS l"
        ).fetchall()
        gates = admin.execute("SELECT DISTINCT gate, conflicts, head FROM crossdock.journals").fetchall()
    assert sorted({(route, here) for route, here, _ in rows}) == [("back", 0), ("out", 2)]
    assert all(here == there for _, here, there in rows)
    assert gates == [("open", 3, 41)]


class Cut(Exception):
    pass


class CutOff:
    """A source whose process is killed after so many reads."""

    def __init__(self, source: Source, reads: int) -> None:
        self._source, self._left = source, reads

    def __getattr__(self, name: str) -> Any:
        if self._left == 0:
            raise Cut
        self._left -= 1
        return getattr(self._source, name)


async def test_killed_anywhere_it_goes_on_and_carries_nothing_twice(
    source: SqliteSource, tmp_path: Path, postgres_house: House
) -> None:
    whole = Silent()
    await copy(source, postgres_house, whole)
    postgres_house.clean()
    carried, cuts, reads = 0, 0, 1
    while True:
        told = Silent()
        try:
            await copy(CutOff(source, reads), postgres_house, told)
        except Cut:
            cuts += 1
        else:
            break
        finally:
            carried += told.carried
            reads += 7
    assert cuts > 10
    assert carried == whole.carried
    before = await with_sqlite(tmp_path / "data" / "one.db", said)
    log = await with_sqlite(tmp_path / "data" / "one.db", lambda engine: engine.registry.audit(None, 0, 999))
    async with served(postgres_house) as engine:
        assert await said(engine) == before
        assert await engine.registry.audit(None, 0, 999) == log


async def test_done_again_it_proves_and_changes_nothing(source: SqliteSource, postgres_house: House) -> None:
    first = await copy(source, postgres_house)
    told = Silent()
    again = await copy(source, postgres_house, told)
    assert [one.digest for one in again] == [one.digest for one in first]
    assert (told.carried, told.there) == (0, list(STORES))


async def test_one_store_alone_brings_nothing_of_the_platform(source: SqliteSource, postgres_house: House) -> None:
    async with served(postgres_house) as engine:
        await engine.registry.commit(Change((), (audit(None), audit(None))))
    await copy(source, postgres_house, only=NORTH)
    async with served(postgres_house) as engine:
        assert [one.id for one in await engine.registry.stores()] == [NORTH]
        assert [one.store for one in await engine.registry.audit(None, 0, 99)] == [None, None, *[NORTH] * 4]
        assert {one.store for one in await engine.registry.tokens()} == {NORTH}
    await raised(NotFound, copy(source, postgres_house, only=StoreId("nobody")))


async def test_a_destination_with_a_store_of_its_own_by_that_name_is_refused(
    source: SqliteSource, postgres_house: House
) -> None:
    async with served(postgres_house) as engine:
        await fill(engine, NORTH, entries=12)
        kept = await said(engine, (NORTH,))
    error = await raised(Conflict, copy(source, postgres_house, only=NORTH))
    assert error.code == "CD5026"
    async with served(postgres_house) as engine:
        assert await said(engine, (NORTH,)) == kept


async def test_a_destination_with_a_log_of_its_own_is_refused_and_keeps_its_tokens(
    source: SqliteSource, postgres_house: House
) -> None:
    async with served(postgres_house) as engine:
        await platform(engine)
        await engine.registry.commit(Change((), (audit(None, "its.own"),)))
        tokens = await engine.registry.tokens()
    error = await raised(Conflict, copy(source, postgres_house))
    assert error.code == "CD5026"
    async with served(postgres_house) as engine:
        assert await engine.registry.tokens() == tokens


SABOTAGE = {
    "entries": "UPDATE crossdock.entries SET body = 'other' WHERE store_id = 'north' AND position = 7",
    "held": "DELETE FROM crossdock.held WHERE store_id = 'north' AND position = 4",
    "lanes": "UPDATE crossdock.lanes SET cursor = cursor + 1 WHERE store_id = 'north' AND route = 'out'",
    "attempts": "DELETE FROM crossdock.attempts WHERE store_id = 'north' AND seq = 3",
    "journals": "UPDATE crossdock.journals SET head = 42 WHERE store_id = 'north'",
    "credentials": "UPDATE crossdock.credentials SET previous = NULL WHERE store_id = 'north'",
    "subject_keys": "DELETE FROM crossdock.subject_keys WHERE store_id = 'north'",
    "revisions": "UPDATE crossdock.revisions SET config = '{}' WHERE store_id = 'north' AND number = 2",
}


@pytest.mark.parametrize("table", sorted(SABOTAGE))
async def test_the_proof_names_what_differs(source: SqliteSource, postgres_house: House, table: str) -> None:
    await copy(source, postgres_house)
    with psycopg.connect(postgres_house.admin) as admin:
        assert admin.execute(SABOTAGE[table]).rowcount > 0
    error = await raised(Conflict, copy(source, postgres_house))
    assert isinstance(error.__cause__, Conflict)
    assert error.__cause__.code == "CD5025"
    assert f"in {table}," in error.__cause__.message


async def test_a_copy_that_was_given_up_writes_nothing_where_the_store_serves(
    source: SqliteSource, postgres_house: House
) -> None:
    await copy(source, postgres_house)
    async with place(postgres_house) as there:
        rows = await source.rows(HELD, NORTH, None, 9)
        error = await raised(Conflict, there.put(HELD, NORTH, rows, 1))
        assert error.code == "CD5029"
        error = await raised(Conflict, there.begin(NORTH, 1))
        assert error.code == "CD5029"
