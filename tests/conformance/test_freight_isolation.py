"""A store that moves, beside another that has the same ids at both ends: with each `store_id` of each query of freight
and of the directory taken away, it carries nothing of the other's, and harms nothing of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest
from filled import Filled, kept
from robbed import mutants
from same_ids import CANARY, EAST, EASTS, KEYS, NORTHS, NOW, Rows, betrayed, heard_of

from crossdock.engines.cells.directory import NAMED as HOMES
from crossdock.engines.cells.directory import Directory, lay
from crossdock.engines.postgres.engine import PostgresEngine
from crossdock.engines.postgres.migrate import login_of
from crossdock.engines.postgres.pool import Pool
from crossdock.engines.sql import queries
from crossdock.freight.carry import Carrier
from crossdock.freight.moving import Moving
from crossdock.freight.postgres import CONNECTIONS_MAX, NAMED, PostgresPlace
from crossdock.freight.proof import Proof, Proved
from crossdock.freight.statements import reads, writes
from crossdock.freight.tables import PLATFORM, TABLES, Kind, Row, Table, Value
from crossdock.model.connection import AuditEntry
from crossdock.model.ids import Position, StoreId, TokenId
from crossdock.model.lane import Counts, LaneChange
from crossdock.stores.port import AddRevision, AddToken, Change
from crossdock.testing.samples import NORTH
from postgres import Estate

FREIGHT: Mapping[str, str] = {**reads(), **writes(), **queries("crossdock.freight", "queries")}
MUTANTS = {f"freight {name}": ("freight", *one) for name, one in mutants(FREIGHT).items()}
MUTANTS |= {f"homes {name}": ("homes", *one) for name, one in mutants(HOMES).items()}

LEFT_OVER = """
INSERT INTO crossdock.connections
    SELECT store_id, 'con_gone', contract, state, revision, label, created_at, reason, version
    FROM crossdock.connections WHERE store_id = 'north';
INSERT INTO crossdock.credentials VALUES ('north', 'con_north', 'gone', '', '[]', 1, 1);
INSERT INTO crossdock.tokens VALUES ('north', 'gone', '', 'store_admin', 'ci', 1, 1);
INSERT INTO crossdock.lanes VALUES ('north', 'con_a', 'out', 1, 0, 0, true);
INSERT INTO crossdock.subject_keys SELECT store_id, 'gone', '' FROM crossdock.stores;
INSERT INTO crossdock.lanes SELECT store_id, 'con_a', 'gone', 1, 0, 0, true FROM crossdock.stores;
INSERT INTO crossdock.held
    SELECT store_id, 'con_a', 'out', 5, 'parked', 1, 1, 'a-key', 'gone', 1, false FROM crossdock.stores;
"""
"""What an earlier copy has left at the new home of what the store has not got any more, and the other has."""
LIKE_IT = """
UPDATE crossdock.journals SET gate = 'shut', epoch = 3 WHERE store_id = 'east';
"""
"""The other, as if it had left there in a move of the same number."""
LOWEST: Mapping[Kind, Value] = {Kind.TEXT: "", Kind.WHOLE: -1, Kind.SMALL: -1, Kind.BYTES: b""}
HARMLESS = {
    "await_changes": "it only locks",
    "await_turns": "it only locks",
    "drop_connections": "no two stores have a connection of one id",
    "drop_credentials": "no two stores have a connection of one id",
    "drop_tokens": "no two stores have a token of one id",
    "hold_journal": "it only locks, and the store's own row is there",
    "last_revisions": "no two stores have a connection of one id",
}
"""Queries that without their store and without row security do nothing to another, and tell nothing of it."""
MOVED_AT = re.compile(r",\d+(?=,\w+,\d+\)$)")


class GivenUp(Exception):
    pass


async def give_up(_: float) -> None:
    raise GivenUp


async def no_pause(_: float) -> None:
    return


@dataclass(frozen=True)
class Ends:
    """NORTH is here, beside EAST; there EAST is too, and what is left of an earlier copy of NORTH."""

    here: Filled
    there: Filled

    def restore(self) -> None:
        self.here.restore()
        self.there.restore()

    def rows(self, store: str) -> dict[str, list[str]]:
        """Every row of a store at both ends, but for when a journal last moved."""
        found = {f"{table} here": rows for table, rows in self.here.rows(store).items()}
        found |= {f"{table} there": rows for table, rows in self.there.rows(store).items()}
        for table in ("crossdock.journals here", "crossdock.journals there"):
            found[table] = [MOVED_AT.sub("", row) for row in found[table]]
        return found

    def own(self) -> dict[str, list[str]]:
        """NORTH's and the platform's."""
        return {**self.rows(NORTH), **{f"platform {table}": rows for table, rows in self.rows("").items()}}


def arrived(store: StoreId, head: Position, digest: str) -> AuditEntry:
    return replace(NORTHS.audit(), action="store.moved", detail={"head": head, "digest": digest})


class Here(dict[str, PostgresPlace]):
    """Cells that are open already."""

    @property
    def names(self) -> Collection[str]:
        return self.keys()

    async def at(self, cell: str) -> PostgresPlace:
        return self[cell]


@asynccontextmanager
async def moving(ends: Ends, freight: Mapping[str, str], homes: Mapping[str, str], said: list[str]) -> Any:
    """A mover with these queries; `said` gets each statement that goes to a server."""
    pools = [Pool(end.house.app, CONNECTIONS_MAX, freight) for end in (ends.here, ends.there)]
    directory = Directory(ends.here.house.app, homes)
    for pool in (*pools, directory.pool):
        pool.count_queries(said.append)
        await pool.open()
    try:
        places = Here(zip("ab", map(PostgresPlace, pools), strict=True))
        yield Moving(directory, places, arrived, pause=no_pause)
    finally:
        for pool in (*pools, directory.pool):
            await pool.close()


async def drive(
    ends: Ends, freight: Mapping[str, str] = NAMED, homes: Mapping[str, str] = HOMES, said: list[str] | None = None
) -> dict[str, Any]:
    """A move that is given up, one that ends, what the old home forgets, the platform's own rows, and two pages of each
    table; what each says."""
    async with moving(ends, freight, homes, [] if said is None else said) as mover:
        there = mover.places["b"]
        return {
            "given up": await heard_of(lambda _: replace(mover, pause=give_up).run(NORTH, "b"), None),
            "moved": await heard_of(lambda _: mover.run(NORTH, "b"), None),
            "there already": await heard_of(lambda _: mover.run(NORTH, "b"), None),
            "forgotten": await heard_of(lambda _: mover.forget(NORTH), None),
            "the platform's": await heard_of(lambda _: platform(mover), None),
            "homes": await heard_of(lambda _: mover.directory.homes([NORTH]), None),
            **{f"{table.name}'s": await heard_of(lambda _, table=table: pages(there, table), None) for table in TABLES},
        }


async def pages(place: PostgresPlace, table: Table) -> list[list[Row]]:
    """The rows of a table from its beginning, and those after the lowest key."""
    lowest = tuple(LOWEST[column.kind] for column in table.columns if column.name in table.key)
    return [await place.rows(table, NORTH, None, 99), await place.rows(table, NORTH, lowest, 99)]


async def platform(mover: Moving) -> Proved:
    here, there = mover.places["a"], mover.places["b"]
    await Carrier(here, there, PLATFORM, 0).round(last=True)
    proof = Proof(here, there, PLATFORM)
    await proof.advance()
    return await proof.finish()


@asynccontextmanager
async def engine_at(url: str) -> AsyncIterator[PostgresEngine]:
    engine = PostgresEngine(url, lambda: NOW)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


async def fill(ends: Ends) -> None:
    here, there = ends.here.house, ends.there.house
    await lay(here.owner, login_of(here.app), lambda _: None)
    async with engine_at(here.app) as engine:
        for store in (EASTS, NORTHS):
            await store.fill(engine)
        token = replace(NORTHS.token(TokenId("platform")), store=None)
        await engine.registry.commit(Change((AddToken(token),), (replace(NORTHS.audit(), store=None),)))
    async with engine_at(there.app) as engine:
        await EASTS.fill(engine)
        await grow(engine, EASTS, conflicts=3)
    async with moving(ends, NAMED, HOMES, []) as mover:
        for store in (EAST, NORTH):
            await mover.directory.adopt("a", [(store, 0)])
        error = await heard_of(lambda _: replace(mover, pause=give_up).run(NORTH, "b"), None)
        assert isinstance(error, GivenUp)
    with psycopg.connect(there.admin) as admin:
        admin.execute(LEFT_OVER + LIKE_IT)
    with psycopg.connect(here.admin) as admin:
        admin.execute("UPDATE crossdock_directory.cells_directory SET claimed = 3 WHERE store_id = 'east'")
    async with engine_at(here.app) as engine:
        await grow(engine, NORTHS, conflicts=1)


async def grow(engine: PostgresEngine, store: Rows, conflicts: int) -> None:
    """More in every table that an earlier copy has begun."""
    await engine.journal.append([store.draft(key) for key in KEYS[6:]])
    await engine.journal.append([store.draft(key, b"2") for key in KEYS[1 : conflicts + 1]])
    attempts = (store.attempt(5), store.attempt(6))
    turn = LaneChange(store.lane(), 0, Position(4), Position(6), Counts(delivered=2), attempts=attempts)
    assert await engine.lanes.settle([turn]) == [True]
    await engine.registry.commit(store.change(AddRevision(store.revision(2))))


@contextmanager
def both_ends(estate: Estate) -> Iterator[Ends]:
    with ExitStack() as stack:
        here, there = (Filled(stack.enter_context(estate.copy()), (), "") for _ in range(2))
        asyncio.run(fill(Ends(here, there)))
        yield Ends(kept(here.house), kept(there.house))


@pytest.fixture(scope="module")
def ends(postgres_estate: Estate) -> Iterator[Ends]:
    with both_ends(postgres_estate) as ends:
        yield ends


@dataclass(frozen=True)
class Honest:
    """What the queries say and leave as they are; `others` are EAST's rows."""

    others: dict[str, list[str]]
    heard: dict[str, Any]
    own: dict[str, list[str]]
    said: list[str]


def driven(ends: Ends) -> Honest:
    said: list[str] = []
    others = ends.rows(EAST)
    try:
        heard = asyncio.run(drive(ends, said=said))
        assert ends.rows(EAST) == others
        return Honest(others, heard, ends.own(), said)
    finally:
        ends.restore()


@pytest.fixture(scope="module")
def honest(ends: Ends) -> Honest:
    return driven(ends)


def test_both_stores_hold_rows_in_every_table_where_the_move_begins(ends: Ends) -> None:
    for store in (NORTH, EAST):
        assert [table for table, rows in ends.here.rows(store).items() if not rows] == []
    assert [table for table, rows in ends.there.rows(EAST).items() if not rows] == []


def test_the_move_runs_every_query_that_can_be_robbed_of_its_store(honest: Honest) -> None:
    texts = {"freight": FREIGHT, "homes": HOMES}
    silent = {mutant for mutant, (whose, name, _) in MUTANTS.items() if texts[whose][name] not in honest.said}
    assert silent == set()


def test_the_store_and_the_platforms_rows_arrive_and_are_forgotten(ends: Ends, honest: Honest) -> None:
    assert isinstance(honest.heard["given up"], GivenUp)
    assert [honest.heard[name].store for name in ("moved", "the platform's")] == [NORTH, PLATFORM]
    assert honest.heard["there already"] is None
    left = {table for table, rows in honest.own.items() if rows and table.endswith(" here") and "platform" not in table}
    assert left == {"crossdock.journals here", "crossdock.audit here", "crossdock_directory.cells_directory here"}
    assert honest.heard["forgotten"].rows == sum(
        len(rows) for table, rows in ends.here.rows(NORTH).items() if f"{table} here" not in left
    )
    assert CANARY not in str((honest.heard, honest.own))


def leaks(ends: Ends, honest: Honest, mutant: str) -> list[str]:
    """What a mutant tells or carries of EAST, what it changes of EAST's, and what else becomes of NORTH because of
    EAST."""
    whose, name, text = MUTANTS[mutant]
    named = {"freight": dict(NAMED), "homes": dict(HOMES)}
    named[whose][name] = text
    try:
        heard = asyncio.run(drive(ends, **named))
        own, others = ends.own(), ends.rows(EAST)
        found = [f"{what} tells" for what, answer in heard.items() if betrayed(answer)]
        found += [f"{what} is otherwise" for what in heard if repr(heard[what]) != repr(honest.heard[what])]
        found += [f"{table} of the other was changed" for table, rows in others.items() if rows != honest.others[table]]
        found += [f"{table} holds what is the other's" for table, rows in own.items() if CANARY in str(rows)]
        return found + [f"{table} is otherwise" for table, rows in own.items() if rows != honest.own[table]]
    finally:
        ends.restore()


@pytest.mark.parametrize("mutant", MUTANTS)
def test_row_security_holds_where_a_query_of_the_move_forgets_the_store(
    ends: Ends, honest: Honest, mutant: str
) -> None:
    assert leaks(ends, honest, mutant) == []


def test_without_row_security_the_same_queries_leak_or_harm(postgres_estate: Estate) -> None:
    """So the walls are what held: each query, without one of its comparisons or without all."""
    with both_ends(postgres_estate) as ends:
        for end in (ends.here, ends.there):
            with psycopg.connect(end.house.admin) as admin:
                for table in end.tables:
                    admin.execute(f"CREATE POLICY anybody ON {table} USING (true)")
        honest = driven(ends)
        leaking = {MUTANTS[mutant][1] for mutant in MUTANTS if leaks(ends, honest, mutant)}
        assert {name for _, name, _ in MUTANTS.values()} - leaking == HARMLESS.keys()
