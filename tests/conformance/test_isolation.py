"""The walls between stores stand in the database itself: read from its catalogues, tried without a scope, and with each
`store_id` of each query taken away."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import psycopg
import pytest
from filled import Filled, kept
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row
from robbed import mutants
from same_ids import (
    CANARY,
    EAST,
    EASTS,
    NORTHS,
    NOW,
    answers,
    betrayed,
    changes,
    heard_of,
    platform_calls,
    reads,
)

from crossdock.engines.cells.directory import Directory, lay
from crossdock.engines.postgres.engine import PostgresEngine
from crossdock.engines.postgres.migrate import login_of
from crossdock.engines.postgres.pool import QUERIES
from crossdock.engines.postgres.walls import READ_ACROSS
from crossdock.stores.port import Engine
from crossdock.testing.samples import NORTH
from postgres import Estate, House
from walls import gaps


@pytest.fixture(scope="module")
def house(postgres_estate: Estate) -> Iterator[House]:
    """With the directory of cells beside the tables."""
    with postgres_estate.copy() as house:
        asyncio.run(lay(house.owner, login_of(house.app), lambda _: None))
        yield house


SABOTAGE = {
    "CREATE TABLE crossdock.later (store_id text NOT NULL, PRIMARY KEY (store_id))": "crossdock.later is not under",
    "CREATE TABLE crossdock.later (id text PRIMARY KEY)": "crossdock.later has no store",
    "CREATE TABLE public.later (store_id text NOT NULL)": "public.later stands outside",
    "CREATE SCHEMA third CREATE TABLE later (store_id text NOT NULL)": "third.later stands outside",
    "CREATE TABLE crossdock_directory.later (store_id text NOT NULL)": "crossdock_directory.later is not under",
    "CREATE TABLE crossdock_directory.later (id text PRIMARY KEY)": "crossdock_directory.later has no store",
    "ALTER TABLE crossdock_directory.cells_directory NO FORCE ROW LEVEL SECURITY": "cells_directory is not under",
    "DROP POLICY own_stores ON crossdock_directory.cells_directory": "cells_directory lacks the policy own_stores",
    "CREATE UNIQUE INDEX one ON crossdock_directory.cells_directory (cell)": "the unique index one does not start",
    "GRANT TRUNCATE ON crossdock_directory.cells_directory TO {app}": "may TRUNCATE crossdock_directory.cells_dir",
    "ALTER TABLE crossdock.entries DISABLE ROW LEVEL SECURITY": "crossdock.entries is not under forced",
    "ALTER TABLE crossdock.entries NO FORCE ROW LEVEL SECURITY": "crossdock.entries is not under forced",
    "DROP POLICY own_stores ON crossdock.held": "crossdock.held lacks the policy own_stores",
    "CREATE POLICY more ON crossdock.held USING (true)": "crossdock.held has the policy more",
    "CREATE POLICY platform_reads ON crossdock.entries FOR SELECT USING (true)": "crossdock.entries has the policy",
    "ALTER POLICY platform_reads ON crossdock.lanes USING (true)": "crossdock.lanes has the policy platform_reads",
    "ALTER POLICY own_stores ON crossdock.held WITH CHECK (true)": "crossdock.held has the policy own_stores",
    "ALTER TABLE crossdock.lanes ADD COLUMN word text": "crossdock.lanes.word can be read over all stores",
    "ALTER TABLE crossdock.connections DROP COLUMN label": "crossdock.connections.label is listed, and is not there",
    "CREATE UNIQUE INDEX one ON crossdock.entries (event_id, store_id)": "the unique index one does not start",
    "CREATE UNIQUE INDEX one ON crossdock.entries (lower(store_id))": "the unique index one does not start",
    "CREATE UNIQUE INDEX audit_by_seq ON crossdock_directory.cells_directory (epoch)": "audit_by_seq does not start",
    "ALTER TABLE crossdock.tokens DROP CONSTRAINT tokens_by_id, ADD CONSTRAINT tokens_by_id"
    " UNIQUE (digest)": "the unique index tokens_by_id does not start",
    "ALTER TABLE crossdock.audit DROP CONSTRAINT audit_by_seq": "audit_by_seq is listed, and is not there",
    "ALTER TABLE crossdock.held ADD EXCLUDE USING btree (position WITH =)": "held_position_excl does not start",
    "ALTER TABLE crossdock.attempts DROP CONSTRAINT attempts_pkey": "crossdock.attempts has no primary key",
    "ALTER TABLE crossdock.revisions ADD CONSTRAINT loose FOREIGN KEY (connection_id)"
    " REFERENCES crossdock.connections (connection_id)": "the foreign key loose leaves the store out",
    "CREATE VIEW crossdock.all_entries AS SELECT * FROM crossdock.entries": "crossdock.all_entries is not under forced",
    "CREATE FUNCTION crossdock.peek() RETURNS bigint LANGUAGE sql SECURITY DEFINER"
    " AS 'SELECT count(*) FROM crossdock.entries'": "the function peek runs as its owner",
    "CREATE RULE quiet AS ON DELETE TO crossdock.entries DO INSTEAD NOTHING": "the table crossdock.entries has a rule",
    "GRANT TRUNCATE ON crossdock.entries TO {app}": "the application may TRUNCATE crossdock.entries",
    "GRANT DELETE ON crossdock.audit TO {app}": "the application may DELETE crossdock.audit",
    "GRANT CREATE ON SCHEMA crossdock TO {app}": "the application may create in crossdock",
    "ALTER TABLE crossdock.entries OWNER TO {app}": "the application owns crossdock.entries",
    "ALTER ROLE {app} BYPASSRLS": "the application's role has rolbypassrls",
    "GRANT pg_read_all_data TO {app}": "the application is a member of pg_read_all_data",
}


@pytest.fixture
def admin(house: House) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """A superuser whose transaction is undone."""
    with psycopg.connect(house.admin, row_factory=dict_row) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def app(house: House) -> str:
    return str(conninfo_to_dict(house.app)["user"])


def test_every_store_is_walled_in_by_the_database(admin: psycopg.Connection[dict[str, Any]], app: str) -> None:
    assert gaps(admin, app) == []


@pytest.mark.parametrize(("statement", "finding"), SABOTAGE.items())
def test_a_wall_that_is_missing_is_found(
    admin: psycopg.Connection[dict[str, Any]], app: str, statement: str, finding: str
) -> None:
    admin.execute(statement.format(app=app))
    assert [gap for gap in gaps(admin, app) if finding in gap], gaps(admin, app)


@contextmanager
def a_filled(house: House) -> Iterator[Filled]:
    asyncio.run(fill(house))
    yield kept(house)


@pytest.fixture(scope="module")
def filled(postgres_estate: Estate) -> Iterator[Filled]:
    with postgres_estate.copy() as house, a_filled(house) as filled:
        yield filled


async def fill(house: House) -> None:
    engine = PostgresEngine(house.app, lambda: NOW)
    await engine.start()
    try:
        for store in (EASTS, NORTHS):
            await store.fill(engine)
    finally:
        await engine.close()
    await lay(house.owner, login_of(house.app), lambda _: None)
    directory = Directory(house.app)
    await directory.open()
    try:
        for store in (EAST, NORTH):
            await directory.place(store, [CANARY if store == EAST else "own"])
    finally:
        await directory.close()


def test_the_two_stores_hold_rows_in_every_table(filled: Filled) -> None:
    for store in (NORTH, EAST):
        assert [table for table, rows in filled.rows(store).items() if not rows] == []


SCOPES = {
    "none": "SELECT 1",
    "empty": "SELECT set_config('crossdock.stores', '', true), set_config('crossdock.scope', '', true)",
    "no table": "SELECT set_config('crossdock.stores', '{}', true), set_config('crossdock.scope', '{}', true)",
    "another table": "SELECT set_config('crossdock.scope', '{entries,%,STORES,NULL}', true)",
    "nobody": "SELECT set_config('crossdock.stores', '{}', true)",
    "another": "SELECT set_config('crossdock.stores', '{nowhere,%,north%}', true)",
    "null": "SELECT set_config('crossdock.stores', '{NULL}', true)",
    "garbage": "SELECT set_config('crossdock.stores', 'north', true)",
    "a scope of garbage": "SELECT set_config('crossdock.scope', 'stores', true)",
}
DENIED = (psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidTextRepresentation)


def touched(connection: psycopg.Connection[Any], statement: str) -> int:
    """How many rows a statement read or changed; 0 if the database refused it."""
    try:
        with connection.transaction():
            cursor = connection.execute(statement)
            return len(cursor.fetchall()) if cursor.description else cursor.rowcount
    except DENIED:
        return 0


@pytest.mark.parametrize("scope", SCOPES)
def test_without_a_scope_nothing_is_read_and_nothing_written(filled: Filled, scope: str) -> None:
    with psycopg.connect(filled.house.app) as connection:
        connection.execute(SCOPES[scope])
        for table in filled.tables:
            for statement in (
                f"SELECT 1 FROM {table}",
                f"UPDATE {table} SET store_id = store_id",
                f"DELETE FROM {table}",
                f"INSERT INTO {table} (store_id) VALUES ('north')",
                f"INSERT INTO {table} (store_id) VALUES ('')",
            ):
                assert touched(connection, statement) == 0, statement
        connection.rollback()


@pytest.mark.parametrize("across", sorted(READ_ACROSS))
def test_a_table_that_is_named_is_read_over_all_stores_and_no_other_and_nothing_is_written(
    filled: Filled, across: str
) -> None:
    with psycopg.connect(filled.house.app) as connection:
        named = across.partition(".")[2]
        connection.execute("SELECT set_config('crossdock.scope', %s, true)", (f"{{{named}}}",))
        seen = {table for table in filled.tables if touched(connection, f"SELECT 1 FROM {table}")}
        assert seen == {across}
        for table in filled.tables:
            for statement in (
                f"UPDATE {table} SET store_id = store_id",
                f"DELETE FROM {table}",
                f"INSERT INTO {table} (store_id) VALUES ('north')",
            ):
                assert touched(connection, statement) == 0, statement
        connection.rollback()


LOOKS = {
    "moved": {"journals"},
    "all_open_lanes": {"lanes"},
    "stirring": {"lanes", "journals"},
    "all_ledgers": {"lanes", "journals"},
    "stores": {"stores"},
    "all_tokens": {"tokens"},
    "all_audit": {"audit"},
    "changes": {"audit"},
    "connection": {"connections"},
    "token": {"tokens"},
    "revoke_token": {"tokens"},
}
"""The tables that each call reads over all stores: the keys, digests and details that stand in them are seen by no
other call than those that need them."""
NAMED_ACROSS = re.compile(r"set_config\('crossdock\.scope', '\{(.*?)\}'")


async def named_across(house: House, call: Callable[[Engine], Awaitable[Any]]) -> set[str]:
    said: list[str] = []
    engine = PostgresEngine(house.app, lambda: NOW, connections_max=2)
    engine.pool.count_queries(said.append)
    await engine.start()
    try:
        said.clear()
        await heard_of(call, engine)
    finally:
        await engine.close()
    named = {name for text in said for found in NAMED_ACROSS.findall(text) for name in found.split(",")}
    return {name.strip('"') for name in named - {""}}


def test_a_call_names_the_tables_that_it_reads_over_all_stores_and_no_more(filled: Filled) -> None:
    calls = {**reads(), **changes(), **platform_calls()}
    assert LOOKS.keys() <= calls.keys()
    try:
        named = {name: asyncio.run(named_across(filled.house, call)) for name, call in calls.items()}
    finally:
        filled.restore()
    assert {name: tables for name, tables in named.items() if tables} == LOOKS


def test_a_stores_row_can_be_neither_given_away_nor_taken(filled: Filled) -> None:
    with psycopg.connect(filled.house.app) as connection:
        connection.execute("SELECT set_config('crossdock.stores', '{north}', true)")
        for table in filled.tables:
            own = touched(connection, f"SELECT 1 FROM {table} WHERE store_id = 'north'")
            assert own == touched(connection, f"SELECT 1 FROM {table}") > 0
            assert touched(connection, f"UPDATE {table} SET store_id = 'north' WHERE store_id = 'east'") == 0
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(f"UPDATE {table} SET store_id = 'east'")
        connection.rollback()


def test_the_log_is_added_to_and_neither_rewritten_nor_taken_away(filled: Filled) -> None:
    with psycopg.connect(filled.house.app) as connection:
        connection.execute("SELECT set_config('crossdock.stores', '{north}', true)")
        assert touched(connection, "SELECT 1 FROM crossdock.audit") > 0
        for statement in ("UPDATE crossdock.audit SET detail = detail", "DELETE FROM crossdock.audit"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(statement)
        connection.rollback()


def test_a_scope_ends_with_its_transaction(filled: Filled) -> None:
    with psycopg.connect(filled.house.app) as connection:
        connection.execute("SELECT set_config('crossdock.stores', '{north}', true)")
        assert touched(connection, "SELECT 1 FROM crossdock.entries") > 0
        connection.commit()
        assert touched(connection, "SELECT 1 FROM crossdock.entries") == 0


MUTANTS = mutants(QUERIES)


async def ask(house: House, named: dict[str, str], said: list[str]) -> dict[str, Any]:
    """What NORTH hears of an engine with these queries; `said` gets each statement that went to the server."""
    engine = PostgresEngine(house.app, lambda: NOW, connections_max=2, named=named)
    engine.pool.count_queries(said.append)
    await engine.start()
    try:
        return await answers(engine)
    finally:
        await engine.close()


def listened(filled: Filled, said: list[str]) -> dict[str, Any]:
    """What NORTH hears of the queries as they are."""
    try:
        return asyncio.run(ask(filled.house, dict(QUERIES), said))
    finally:
        filled.restore()


@pytest.fixture(scope="module")
def honest(filled: Filled) -> dict[str, Any]:
    return listened(filled, [])


def test_the_calls_run_every_query_that_can_be_robbed_of_its_store(filled: Filled) -> None:
    said: list[str] = []
    listened(filled, said)
    assert {name for name, _ in MUTANTS.values()} - {name for name, text in QUERIES.items() if text in said} == set()


def test_every_call_answers_where_nothing_is_taken_away(honest: dict[str, Any]) -> None:
    refused = {name for name, answer in honest.items() if isinstance(answer, Exception)}
    assert refused == {
        "refused",
        "put_others_credential",
        "drop_others_credential",
        "move_others_connection",
        "add_others_connection",
        "add_others_token",
        "add_others_store",
    }
    assert not [name for name, answer in honest.items() if betrayed(answer)]


def leaks(filled: Filled, honest: dict[str, Any], mutant: str) -> list[str]:
    """What a mutant tells NORTH of EAST, what it changes of EAST's, and what else NORTH hears because of EAST."""
    name, text = MUTANTS[mutant]
    before = filled.rows(EAST)
    try:
        heard = asyncio.run(ask(filled.house, {**QUERIES, name: text}, []))
        found = [f"{call} tells" for call, answer in heard.items() if betrayed(answer)]
        if not any(isinstance(answer, asyncpg.PostgresError) for answer in heard.values()):  # it is no SQL any more
            found += [f"{call} answers otherwise" for call in heard if repr(heard[call]) != repr(honest[call])]
        found += [
            f"{table} of the other was changed" for table, rows in filled.rows(EAST).items() if rows != before[table]
        ]
        own = {**filled.rows(NORTH), **{f"platform {table}": rows for table, rows in filled.rows("").items()}}
        return found + [f"{table} holds what is the other's" for table, rows in own.items() if CANARY in str(rows)]
    finally:
        filled.restore()


@pytest.mark.parametrize("mutant", MUTANTS)
def test_row_security_holds_where_a_query_forgets_the_store(
    filled: Filled, honest: dict[str, Any], mutant: str
) -> None:
    assert leaks(filled, honest, mutant) == []


def test_without_row_security_the_same_mutants_leak(postgres_estate: Estate) -> None:
    """Most of them: some look their rows up by the store once more, or are asked by the platform only."""
    with postgres_estate.copy() as house, a_filled(house) as filled:
        with psycopg.connect(house.admin) as admin:
            for table in filled.tables:
                admin.execute(f"CREATE POLICY anybody ON {table} USING (true)")
        honest = listened(filled, [])
        leaking = [mutant for mutant in MUTANTS if leaks(filled, honest, mutant)]
        print(
            f"{len(leaking)} of {len(MUTANTS)} mutants leak without row security; not:",
            *sorted(MUTANTS.keys() - leaking),
        )
        assert len(leaking) > len(MUTANTS) / 2
