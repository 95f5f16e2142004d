"""`crossdock db migrate` on PostgreSQL beside traffic, beside other runners, and with the roles that there are."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import psycopg
import pytest

from crossdock.engines.migrations import Phase, known
from crossdock.engines.postgres import migrate as postgres
from crossdock.engines.postgres.engine import PostgresEngine
from crossdock.engines.postgres.verifier import scram
from crossdock.model.errors import Invalid, Unavailable
from crossdock.testing.samples import NOW, raised
from migrations.steps import catalogue, run, step, with_more
from postgres import Estate, House

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "migrations.md"
INDEX = step(
    9001,
    Phase.PRE,
    "-- no transaction\n-- statement_timeout: 20s\n"
    "DROP INDEX CONCURRENTLY IF EXISTS stores_by_name;\n"
    "CREATE UNIQUE INDEX CONCURRENTLY stores_by_name ON stores (name);\n",
)
VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('crossdock.stores_by_name')"
NOTED = "SELECT count(*) FROM crossdock.migrations WHERE number = 9001"


def asked(house: House, query: str) -> Any:
    """The first value of the first row, as the superuser; None for no row."""
    with psycopg.connect(house.admin, autocommit=True) as admin:
        row = admin.execute(query).fetchone()
    return None if row is None else row[0]


def told(house: House, statement: str) -> None:
    with psycopg.connect(house.admin, autocommit=True) as admin:
        admin.execute(statement)


def add_store(house: House, store: str, name: str) -> None:
    told(house, f"INSERT INTO crossdock.stores VALUES ('{store}', '{name}', 0, '')")


async def until(house: House, query: str) -> None:
    async with asyncio.timeout(20):
        while not asked(house, query):
            await asyncio.sleep(0.01)


def test_a_file_without_a_transaction_runs_statement_by_statement() -> None:
    assert INDEX.alone
    assert [one.splitlines()[-1][:4] for one in INDEX.statements] == ["DROP", "CREA"]
    assert not any(one.alone for one in known(postgres.PACKAGE))


async def test_an_index_is_built_while_others_write(postgres_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    with_more(monkeypatch, INDEX)
    monkeypatch.setattr(postgres, "LOCK_MS_MAX", 100)
    with psycopg.connect(postgres_house.admin) as writer:
        writer.execute("INSERT INTO crossdock.stores VALUES ('open', 'Open', 0, '')")
        migrating = asyncio.create_task(run(postgres_house))
        await until(
            postgres_house,
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE UNIQUE INDEX%' AND wait_event_type = 'Lock'"
            " AND datname = current_database()",
        )
        add_store(postgres_house, "north", "North")  # nobody waits for the index
        assert not migrating.done()
        writer.commit()
        assert "applied 9001_pre" in await migrating
    assert (asked(postgres_house, VALID), asked(postgres_house, NOTED)) == (True, 1)


async def test_two_runners_build_an_index_once(postgres_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    with_more(monkeypatch, INDEX)
    said = await asyncio.gather(*(run(postgres_house) for _ in range(3)))
    assert sum(line == "applied 9001_pre" for lines in said for line in lines) == 1
    assert asked(postgres_house, VALID) is True


async def test_the_example_of_the_guide_runs(postgres_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    (text,) = re.findall(r"^```sql\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    example = step(9001, Phase.PRE, text)
    assert (example.alone, example.statement_ms(0)) == (True, 3_600_000)
    with_more(monkeypatch, example)
    assert "applied 9001_pre" in await run(postgres_house)
    assert asked(postgres_house, VALID.replace("stores_by_name", "entries_by_type")) is True


async def test_an_index_whose_making_was_cut_short_is_made_anew(
    postgres_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_more(monkeypatch, INDEX)
    add_store(postgres_house, "north", "Same")
    add_store(postgres_house, "south", "Same")
    await raised(asyncpg.UniqueViolationError, run(postgres_house))
    assert (asked(postgres_house, VALID), asked(postgres_house, NOTED)) == (False, 0)
    told(postgres_house, "DELETE FROM crossdock.stores WHERE store_id = 'south'")
    assert "applied 9001_pre" in await run(postgres_house)
    assert asked(postgres_house, VALID) is True


@pytest.mark.parametrize("first", ["", "-- no transaction\n"])
async def test_a_statement_that_takes_too_long_is_ended(
    postgres_house: House, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    with_more(monkeypatch, step(9001, Phase.PRE, f"{first}SELECT pg_sleep(600);\n"))
    monkeypatch.setattr(postgres, "STATEMENT_MS_MAX", 200)
    error = await raised(Unavailable, run(postgres_house))
    assert (error.code, "9001_pre" in error.message) == ("CD5038", True)
    assert asked(postgres_house, NOTED) == 0


async def test_whoever_finds_another_at_work_is_told_so(postgres_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "LOCK_MS_MAX", 20)
    monkeypatch.setattr(postgres, "LOCK_PAUSE_SECONDS", 0)
    monkeypatch.setattr(postgres, "LOCK_TRIES_MAX", 2)
    with psycopg.connect(postgres_house.admin) as other:
        other.execute("LOCK TABLE crossdock.migrations IN EXCLUSIVE MODE")
        error = await raised(Unavailable, run(postgres_house))
    assert (error.code, "another `crossdock db migrate`" in error.message) == ("CD5031", True)


async def test_a_migration_goes_on_when_its_lock_is_let_go(
    postgres_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_more(monkeypatch, step(9001, Phase.PRE, "ALTER TABLE entries ADD COLUMN x text"))
    monkeypatch.setattr(postgres, "LOCK_MS_MAX", 20)
    monkeypatch.setattr(postgres, "LOCK_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(postgres, "LOCK_TRIES_MAX", 1_000)
    said: list[str] = []
    with psycopg.connect(postgres_house.admin) as holder:
        holder.execute("SELECT 1 FROM crossdock.entries")

        def say(text: str) -> None:
            said.append(text)
            if "try 3 of" in text:
                holder.rollback()

        await postgres.migrate(postgres_house.owner, postgres.login_of(postgres_house.app), {Phase.PRE}, say)
    assert "applied 9001_pre" in said


async def test_a_database_that_lacks_a_migration_is_not_served(postgres_house: House) -> None:
    told(postgres_house, "DELETE FROM crossdock.migrations")
    error = await raised(Unavailable, PostgresEngine(postgres_house.app, lambda: NOW).start())
    assert (error.code, "0001_pre" in error.message) == ("CD5030", True)


async def test_the_runtime_role_keeps_no_right_beyond_its_own(postgres_house: House) -> None:
    app = postgres.login_of(postgres_house.app).role
    told(postgres_house, f'GRANT ALL ON crossdock.entries, crossdock.migrations TO "{app}"')
    told(postgres_house, f'GRANT CREATE ON SCHEMA crossdock TO "{app}"')
    await run(postgres_house)
    rights = "SELECT string_agg(privilege_type, ' ' ORDER BY privilege_type) FROM information_schema.table_privileges"
    mine = f"{rights} WHERE grantee = '{app}' AND table_schema = 'crossdock' AND table_name = "
    assert asked(postgres_house, f"{mine}'entries'") == "DELETE INSERT SELECT UPDATE"
    assert asked(postgres_house, f"{mine}'migrations'") == "SELECT"
    assert asked(postgres_house, f"{mine}'audit'") == "INSERT SELECT"
    assert asked(postgres_house, f"SELECT has_schema_privilege('{app}', 'crossdock', 'CREATE')") is False


@pytest.fixture
def stranger(postgres_house: House, postgres_estate: Estate) -> Iterator[House]:
    """The house as a role sees it that nobody has let in."""
    role = f"crossdock_stranger_{uuid4().hex}"
    told(postgres_house, f"CREATE ROLE {role} LOGIN PASSWORD 'word-of-{role}'")
    url = postgres_house.app.replace(postgres_estate.app, role)
    yield replace(postgres_house, owner=url, app=url)
    told(postgres_house, f"DROP ROLE {role}")


async def test_a_role_that_was_not_let_in_is_told_so(stranger: House) -> None:
    assert (await raised(Unavailable, PostgresEngine(stranger.app, lambda: NOW).start())).code == "CD5037"


async def test_only_the_tables_owner_may_migrate(stranger: House, postgres_house: House) -> None:
    login = postgres.login_of(postgres_house.app)
    error = await raised(Invalid, postgres.migrate(stranger.owner, login, {Phase.PRE}, lambda _: None))
    assert (error.code, error.where) == ("CD5037", "CROSSDOCK_DATABASE_OWNER")


async def test_an_owner_of_the_schema_need_not_own_the_database(postgres: str, postgres_estate: Estate) -> None:
    with psycopg.connect(postgres, autocommit=True) as admin:
        database = admin.info.dbname
        house = postgres_estate.house(database)
        error = await raised(Invalid, run(house))
        assert (error.code, "CREATE SCHEMA crossdock AUTHORIZATION" in error.remedy) == ("CD5037", True)
        admin.execute(error.remedy.partition(": ")[2])
    assert "applied 0001_pre" in await run(house)
    assert catalogue(house.admin)["tables"]


async def test_a_role_is_made_and_no_statement_has_its_password(
    postgres_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    connect = asyncpg.connect

    async def listening(*given: Any, **terms: Any) -> asyncpg.Connection:
        connection = await connect(*given, **terms)
        connection.add_query_logger(lambda record: heard.append(record.query))
        return connection

    monkeypatch.setattr(asyncpg, "connect", listening)
    login = postgres.Login(f"crossdock_new_{uuid4().hex}", "a secret word")
    try:
        await postgres.migrate(postgres_house.admin, login, {Phase.PRE}, lambda _: None)
        (kept,) = [line for line in heard if line.startswith("CREATE ROLE")]
        assert "NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE PASSWORD 'SCRAM-SHA-256$4096:" in kept
        assert login.password not in "".join(heard) + repr(login)
        role = f"SELECT rolcanlogin AND NOT rolsuper AND NOT rolbypassrls FROM pg_roles WHERE rolname = '{login.role}'"
        assert asked(postgres_house, role) is True
    finally:
        with suppress(psycopg.errors.UndefinedObject):
            told(postgres_house, f"DROP OWNED BY {login.role}; DROP ROLE {login.role}")


async def test_two_databases_of_one_server_may_ask_for_one_role_at_once(postgres_estate: Estate) -> None:
    login = postgres.Login(f"crossdock_new_{uuid4().hex}", "a secret word")
    with postgres_estate.copy() as one, postgres_estate.copy() as other:
        said: list[str] = []
        try:
            await asyncio.gather(
                *(postgres.migrate(house.admin, login, {Phase.PRE}, said.append) for house in (one, other))
            )
            assert said.count(f"{login.role} may use the schema") == 2
        finally:
            for house in (one, other):
                told(house, f"DROP OWNED BY {login.role}")
            told(one, f"DROP ROLE {login.role}")


@pytest.mark.parametrize(
    "password",
    [
        "simple",
        "with ' and \\",
        "pässword",
        "no\u00a0break",
        "\u2168",
        "so\u00adft",
        "\u00ad",
        "\u0661a\u05d0",
        "bell\u0007",
    ],
)
def test_a_verifier_is_what_the_server_makes_of_the_password(postgres_house: House, password: str) -> None:
    role = f"crossdock_verified_{uuid4().hex}"
    with psycopg.connect(postgres_house.admin, autocommit=True) as admin:
        admin.execute("SET password_encryption = 'scram-sha-256'")
        literal = "'" + password.replace("'", "''") + "'"
        admin.execute(f"CREATE ROLE {role} PASSWORD {literal}")
        (kept,) = admin.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [role]).fetchone() or ("",)
        admin.execute(f"DROP ROLE {role}")
    salt = base64.b64decode(kept.split("$")[1].split(":")[1])
    assert scram(password, salt) == kept
