"""A schema is the sum of its migrations; each is applied once, whole, and never in anybody's way for long."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import apsw
import asyncpg
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.engines import migrations
from crossdock.engines.migrations import Migration, Phase, Step, altered, known, to_do, unfit
from crossdock.engines.postgres import migrate as postgres
from crossdock.engines.postgres.engine import PostgresEngine
from crossdock.engines.sqlite import database, statements
from crossdock.engines.sqlite.engine import SqliteEngine
from crossdock.model.errors import Invalid, Unavailable
from crossdock.model.ids import START
from crossdock.stores.port import Engine
from crossdock.testing.journal_suite import DurableSuite, JournalSuite
from crossdock.testing.lanes_suite import LanesSuite
from crossdock.testing.registry_suite import RegistrySuite
from crossdock.testing.samples import NORTH, NOW, drafts, raised
from migrations.steps import LAST, NEXT, catalogue, named, run, step, with_more
from postgres import House

PREVIOUS = Path(__file__).parent / "previous"
"""The statements of the release before, as they were shipped."""


def test_postgresql_schema_is_the_sum_of_its_migrations(postgres: str, postgres_house: House) -> None:
    text = Path(postgres_module_file("schema.sql")).read_text(encoding="utf-8")
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA crossdock")
        connection.execute("SET search_path = crossdock")
        connection.execute(text)
    assert catalogue(postgres) == catalogue(postgres_house.admin)


DRIFTS = (
    "ALTER TABLE crossdock.audit ALTER COLUMN outcome TYPE varchar(20)",
    "ALTER TABLE crossdock.audit ALTER COLUMN outcome SET DEFAULT 'done'",
    "ALTER TABLE crossdock.audit ALTER COLUMN outcome DROP NOT NULL",
    "ALTER TABLE crossdock.audit DROP COLUMN outcome",
    'ALTER TABLE crossdock.stores ALTER COLUMN name TYPE text COLLATE "C"',
    "ALTER TABLE crossdock.held DROP CONSTRAINT held_state_check",
    "ALTER TABLE crossdock.held DROP CONSTRAINT held_store_id_position_fkey",
    "ALTER TABLE crossdock.tokens DROP CONSTRAINT tokens_by_id",
    "ALTER TABLE crossdock.journals RESET (fillfactor)",
    "ALTER TABLE crossdock.entries ALTER COLUMN body SET STORAGE EXTENDED",
    "ALTER TABLE crossdock.entries NO FORCE ROW LEVEL SECURITY",
    "ALTER TABLE crossdock.entries DISABLE ROW LEVEL SECURITY",
    "DROP POLICY own_stores ON crossdock.entries",
    "ALTER POLICY own_stores ON crossdock.entries USING (true)",
    "CREATE POLICY another ON crossdock.entries FOR SELECT USING (true)",
    "DROP INDEX crossdock.lanes_by_slot",
    "CREATE TABLE crossdock.another (id integer)",
    "COMMENT ON TABLE crossdock.entries IS 'what came in'",
    "CREATE FUNCTION crossdock.one() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
)


@pytest.mark.parametrize("drift", DRIFTS)
def test_a_schema_that_differs_in_anything_is_noticed(postgres_house: House, drift: str) -> None:
    before = catalogue(postgres_house.admin)
    with psycopg.connect(postgres_house.admin, autocommit=True) as admin:
        admin.execute(drift)
    assert catalogue(postgres_house.admin) != before


def postgres_module_file(name: str) -> str:
    return str(Path(str(postgres.__file__)).with_name(name))


async def test_migrating_twice_changes_nothing(postgres_house: House) -> None:
    before = catalogue(postgres_house.admin)
    assert [line for line in await run(postgres_house) if line.startswith("applied")] == []
    assert catalogue(postgres_house.admin) == before


async def test_two_runners_at_once_apply_each_migration_once(
    postgres_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_more(monkeypatch, NEXT)
    said = await asyncio.gather(*(run(postgres_house) for _ in range(4)))
    assert sum(line == "applied 9001_pre" for lines in said for line in lines) == 1


async def test_two_runners_meet_on_an_empty_database(postgres_house: House) -> None:
    with psycopg.connect(postgres_house.admin, autocommit=True) as admin:
        admin.execute("DROP SCHEMA crossdock CASCADE")
    said = await asyncio.gather(*(run(postgres_house) for _ in range(3)))
    assert sum(line == "applied 0001_pre" for lines in said for line in lines) == 1


async def test_a_post_migration_waits_until_it_is_asked_for(
    postgres_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_more(monkeypatch, NEXT, LAST)
    assert "applied 9001_post" not in await run(postgres_house)
    assert "applied 9001_post" in await run(postgres_house, set(Phase))


async def test_this_release_runs_on_a_schema_that_the_next_one_has_added_to(
    postgres_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as later:
        with_more(later, NEXT)
        await run(postgres_house)
    engine = PostgresEngine(postgres_house.app, lambda: NOW)
    await engine.start()
    await engine.journal.append(drafts(3))
    assert len(await engine.journal.read(NORTH, START, 9)) == 3
    await engine.close()


async def test_this_release_does_not_serve_where_a_later_one_took_away(
    postgres_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as later:
        with_more(later, NEXT, LAST)
        await run(postgres_house, set(Phase))
    error = await raised(Unavailable, PostgresEngine(postgres_house.app, lambda: NOW).start())
    assert (error.code, "9001_post" in error.message) == ("CD5030", True)
    with_more(monkeypatch, step(9000, Phase.PRE, "CREATE TABLE earlier (id integer)"))
    before = catalogue(postgres_house.admin)
    assert (await raised(Unavailable, run(postgres_house))).code == "CD5030"
    assert catalogue(postgres_house.admin) == before


async def test_a_lock_that_is_not_to_be_had_leaves_nothing_half_done(
    postgres_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_more(
        monkeypatch, step(9001, Phase.PRE, "CREATE TABLE half (id integer); ALTER TABLE entries ADD COLUMN x text")
    )
    monkeypatch.setattr(postgres, "LOCK_MS_MAX", 50)
    monkeypatch.setattr(postgres, "LOCK_PAUSE_SECONDS", 0)
    monkeypatch.setattr(postgres, "LOCK_TRIES_MAX", 2)
    with psycopg.connect(postgres_house.admin) as holder:
        holder.execute("SELECT 1 FROM crossdock.entries")
        error = await raised(Unavailable, run(postgres_house))
        assert error.code == "CD5031"
        holder.rollback()
        assert holder.execute("SELECT to_regclass('crossdock.half')").fetchone() == (None,)
        holder.rollback()
        assert "applied 9001_pre" in await run(postgres_house)


async def test_a_migration_that_fails_is_undone_whole(postgres_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    with_more(monkeypatch, step(9001, Phase.PRE, "CREATE TABLE half (id integer); SELECT 1 / 0"))
    before = catalogue(postgres_house.admin)
    await raised(asyncpg.DivisionByZeroError, run(postgres_house))
    assert catalogue(postgres_house.admin) == before


async def test_the_owner_is_not_let_serve(postgres_house: House) -> None:
    login = postgres.login_of(postgres_house.owner)
    error = await raised(Invalid, postgres.migrate(postgres_house.owner, login, {Phase.PRE}, lambda _: None))
    assert error.code == "CD5034"


async def test_a_role_that_is_not_there_is_asked_for_in_sql(postgres_house: House) -> None:
    login = postgres.Login("nobody-yet", "secret-word")
    error = await raised(Invalid, postgres.migrate(postgres_house.owner, login, {Phase.PRE}, lambda _: None))
    assert (error.code, 'CREATE ROLE "nobody-yet" LOGIN NOSUPERUSER' in error.remedy) == ("CD5032", True)
    assert "secret-word" not in str(error) + error.remedy


def test_a_file_may_ask_for_more_time() -> None:
    assert step(1, Phase.PRE, "-- statement_timeout: 10min\nSELECT 1").statement_ms(60_000) == 600_000
    assert step(1, Phase.PRE, "SELECT 1").statement_ms(60_000) == 60_000


STEPS = st.builds(Step, st.integers(1, 6), st.sampled_from(Phase))


@given(st.frozensets(STEPS), st.frozensets(STEPS))
def test_a_release_serves_with_all_that_it_adds_and_nothing_taken_away(
    ours: frozenset[Step], there: frozenset[Step]
) -> None:
    listed = [Migration(one, str(one)) for one in sorted(ours)]
    lacks = any(one.phase is Phase.PRE and one not in there for one in ours)
    robbed = any(one.phase is Phase.POST and one not in ours for one in there)
    assert bool(unfit(listed, there)) == (lacks or robbed)
    assert {one.step for one in to_do(listed, there, set(Phase))} == ours - there


def test_an_applied_file_that_changed_is_reported() -> None:
    one = step(1, Phase.PRE, "SELECT 1")
    assert altered([one], [(one.step, one.checksum)]) == []
    assert altered([one], [(one.step, "another")]) == [one.step]


@pytest.mark.parametrize("package", [postgres.PACKAGE, database.PACKAGE])
def test_numbers_have_no_gap(package: str) -> None:
    numbers = sorted({one.step.number for one in migrations.known(package)})
    assert numbers == list(range(1, len(numbers) + 1))


TAKES_AWAY = re.compile(
    r"\b(DROP\s+(TABLE|COLUMN|POLICY|CONSTRAINT|SCHEMA|FUNCTION)|RENAME|SET\s+NOT\s+NULL|SET\s+DATA|TRUNCATE"
    r"|(COLUMN\s+)?\w+\s+TYPE|ADD\s+COLUMN\s+\w+\s+(?!.*\bDEFAULT\b)[^,;]*\bNOT\s+NULL)\b",
    re.IGNORECASE,
)
"""What the release before may stumble over. On PostgreSQL alone: SQLite makes a table anew to change it."""


def test_a_pre_migration_of_postgresql_takes_nothing_away() -> None:
    pre = [one for one in known(postgres.PACKAGE) if one.step.phase is Phase.PRE]
    assert [str(one.step) for one in pre if TAKES_AWAY.search(one.text)] == []


@pytest.mark.parametrize(
    "text",
    [
        "ALTER TABLE held DROP COLUMN key",
        "ALTER TABLE held RENAME COLUMN key TO lock",
        "ALTER TABLE held ALTER COLUMN key TYPE bytea",
        "ALTER TABLE held ALTER COLUMN key SET NOT NULL",
        "ALTER TABLE held ADD COLUMN flavour text NOT NULL;",
        "DROP TABLE held",
    ],
)
def test_a_migration_that_takes_away_is_noticed(text: str) -> None:
    assert TAKES_AWAY.search(text)
    assert not TAKES_AWAY.search("ALTER TABLE held ADD COLUMN flavour text NOT NULL DEFAULT 'none'")


def test_only_what_runs_concurrently_goes_without_a_transaction() -> None:
    alone = [one for one in known(postgres.PACKAGE) if one.alone]
    assert [str(one.step) for one in alone if any("CONCURRENTLY" not in part for part in one.statements)] == []


def test_a_file_of_the_first_release_is_taken_up() -> None:
    connection = apsw.Connection(":memory:")
    first, *later = known(database.PACKAGE)
    connection.execute(first.text)
    connection.execute(f"PRAGMA user_version = 1; PRAGMA application_id = {database.APPLICATION_ID}")
    assert database.migrate(connection) == [one.step for one in later if one.step.phase is Phase.PRE]
    assert [one for one, _, _ in database.applied(connection)] == [one.step for one in known(database.PACKAGE)]
    assert database.number(connection, "user_version") == 1
    assert database.migrate(connection) == []


def test_a_file_that_a_later_release_took_from_is_refused() -> None:
    connection = apsw.Connection(":memory:")
    database.migrate(connection)
    connection.execute("INSERT INTO migrations (number, phase, checksum) VALUES (9001, 'post', '')")
    connection.execute("DELETE FROM migrations WHERE number = 2")
    before = database.applied(connection)
    with pytest.raises(Unavailable, match="9001_post"):
        database.migrate(connection)
    assert database.applied(connection) == before


class TestThePreviousReleaseOnSqlite(JournalSuite, LanesSuite, RegistrySuite, DurableSuite):
    """The statements of the release before, wherever it had one of that name, on a file that has every `pre` migration
    of this one: what was added is in nobody's way. The code around the statements is this release's, so that it does
    not show what that code did otherwise."""

    # What it did not know yet.
    test_a_weight_stays_with_its_store_and_the_last_one_counts = None

    @pytest.fixture(autouse=True)
    def _previous(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = named((PREVIOUS / "sqlite_queries.sql").read_text(encoding="utf-8"))
        now = statements._queries()
        assert any(now.get(name) != body for name, body in before.items())
        monkeypatch.setattr(statements, "_queries", lambda: {**now, **before})
        statements._widened.cache_clear()

    @pytest.fixture
    async def engine(self, tmp_path: Path) -> AsyncIterator[Engine]:
        engine = SqliteEngine(tmp_path / "journal.db", lambda: NOW)
        await engine.start()
        yield engine
        await engine.close()
        statements._widened.cache_clear()

    @pytest.fixture
    async def reopen(self, engine: Engine, tmp_path: Path) -> AsyncIterator[Callable[[], Awaitable[Engine]]]:
        opened: list[Engine] = []

        async def again() -> Engine:
            await engine.close()
            opened.append(SqliteEngine(tmp_path / "journal.db", lambda: NOW))
            await opened[-1].start()
            return opened[-1]

        yield again
        for one in opened:
            await one.close()
