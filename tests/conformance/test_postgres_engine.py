"""PostgreSQL passes the suites of every engine, and what is its own: groups, restarts of the server, unsafe servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import psycopg
import pytest

from crossdock.engines.postgres.engine import PostgresEngine
from crossdock.engines.postgres.migrate import login_of
from crossdock.engines.postgres.pool import QUERIES
from crossdock.model.entry import Duplicate, Kept
from crossdock.model.errors import Invalid, Unavailable
from crossdock.model.ids import START, EventId, Position, StoreId
from crossdock.stores.port import Engine
from crossdock.testing.journal_suite import DurableSuite, JournalSuite
from crossdock.testing.lanes_suite import LanesSuite
from crossdock.testing.registry_suite import RegistrySuite
from crossdock.testing.samples import NORTH, NOW, draft, drafts, raised
from postgres import House


@pytest.fixture
async def engine(postgres_house: House) -> AsyncIterator[PostgresEngine]:
    engine = PostgresEngine(postgres_house.app, lambda: NOW)
    await engine.start()
    yield engine
    await engine.close()


class TestPostgres(JournalSuite, LanesSuite, RegistrySuite, DurableSuite):
    @pytest.fixture
    async def reopen(self, engine: Engine, postgres_house: House) -> AsyncIterator[Callable[[], Awaitable[Engine]]]:
        opened: list[Engine] = []

        async def again() -> Engine:
            await engine.close()
            opened.append(PostgresEngine(postgres_house.app, lambda: NOW))
            await opened[-1].start()
            return opened[-1]

        yield again
        for one in opened:
            await one.close()


async def other(house: House) -> PostgresEngine:
    """A second process, as far as the database can tell."""
    engine = PostgresEngine(house.app, lambda: NOW)
    await engine.start()
    return engine


async def test_two_processes_share_one_dedupe_and_one_row_of_positions(
    engine: PostgresEngine, postgres_house: House
) -> None:
    second = await other(postgres_house)
    sent = [(one, f"k{number}") for number in range(150) for one in (engine, second)]
    answers = await asyncio.gather(*(one.journal.append([draft(key)]) for one, key in sent))
    kept = [one.position for (one,) in answers if isinstance(one, Kept)]
    assert sorted(kept) == list(range(1, 151))
    assert sum(isinstance(one, Duplicate) for (one,) in answers) == 150
    assert [entry.position for entry in await second.journal.read(NORTH, START, 500)] == list(range(1, 151))
    await second.close()


async def test_a_slow_transaction_hides_what_comes_after_it(engine: PostgresEngine, postgres_house: House) -> None:
    """The late writer: while a transaction that has given positions is open, no reader sees those after them."""
    await engine.journal.append([draft("first")])
    with psycopg.connect(postgres_house.admin) as slow:
        slow.execute("UPDATE crossdock.journals SET head = head + 1 WHERE store_id = 'north'")
        slow.execute(
            "INSERT INTO crossdock.entries SELECT store_id, 2, origin, 'slow', fingerprint, 'slow', type, schema_major,"
            " source, occurred_at, received_at, correlation_id, body, personal, subject_ref, traceparent, caused_by,"
            " hops FROM crossdock.entries WHERE position = 1"
        )
        later = asyncio.ensure_future(engine.journal.append([draft("later")]))
        for _ in range(20):
            assert [one.event_id for one in await engine.journal.read(NORTH, START, 9)] == ["first"]
        assert not later.done()
        slow.commit()
    assert await later == [Kept(Position(3))]
    assert [one.event_id for one in await engine.journal.read(NORTH, Position(1), 9)] == ["slow", "later"]


async def test_other_stores_do_not_wait_for_a_slow_one(engine: PostgresEngine, postgres_house: House) -> None:
    await engine.journal.append([draft("first")])
    second = await other(postgres_house)
    with psycopg.connect(postgres_house.admin) as slow:
        slow.execute("UPDATE crossdock.journals SET head = head WHERE store_id = 'north'")
        held_up = asyncio.ensure_future(engine.journal.append([draft("north waits")]))
        assert await second.journal.append([draft("a", store=StoreId("beside"))]) == [Kept(Position(1))]
        assert not held_up.done()
        slow.commit()
    assert await held_up == [Kept(Position(2))]
    await second.close()


async def test_a_draft_that_cannot_be_written_fails_alone(engine: PostgresEngine) -> None:
    bad = draft("bad")
    object.__setattr__(bad, "schema_major", "two")
    answers = await asyncio.gather(
        engine.journal.append([draft("a")]),
        engine.journal.append([draft("b"), bad]),
        engine.journal.append([draft("c")]),
        return_exceptions=True,
    )
    assert isinstance(answers[1], Exception)
    assert sorted(one.event_id for one in await engine.journal.read(NORTH, START, 9)) == ["a", "c"]
    assert await engine.journal.head(NORTH) == 2


async def test_another_process_hears_of_new_entries(engine: PostgresEngine, postgres_house: House) -> None:
    second = await other(postgres_house)
    heard: asyncio.Queue[frozenset[StoreId]] = asyncio.Queue()
    second.journal.on_news(heard.put_nowait)
    async with asyncio.timeout(30):
        number = 0
        while heard.empty():  # it listens a moment after its start; a hint may be lost
            number += 1
            await engine.journal.append([draft(f"e{number}")])
            await asyncio.sleep(0)
        assert await heard.get() == frozenset({NORTH})
    await second.close()


async def appended(engine: PostgresEngine, key: str) -> object:
    """The answer to a sender that sends again as long as it is told to."""
    async with asyncio.timeout(30):
        while True:
            try:
                (answer,) = await engine.journal.append([draft(key)])
            except Unavailable:
                continue
            return answer


async def test_after_its_sessions_were_ended_it_goes_on_by_itself(
    engine: PostgresEngine, postgres_house: House
) -> None:
    await engine.journal.append(drafts(3))
    with psycopg.connect(postgres_house.admin, autocommit=True) as admin:
        for turn in range(5):
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            assert isinstance(await appended(engine, f"after-{turn}"), Kept | Duplicate)
    assert await engine.journal.head(NORTH) == 8


async def refused_start(url: str) -> str:
    error = await raised(Unavailable, PostgresEngine(url, lambda: NOW).start())
    return f"{error.code} {error.message}"


async def test_the_owner_and_a_superuser_are_refused(postgres_house: House) -> None:
    assert "owns the tables" in await refused_start(postgres_house.owner)
    assert "is a superuser" in await refused_start(postgres_house.admin)


async def test_a_server_that_may_lose_commits_is_refused(postgres_house: House) -> None:
    with psycopg.connect(postgres_house.admin, autocommit=True) as admin:
        database = admin.info.dbname
        admin.execute(f'ALTER DATABASE "{database}" SET synchronous_commit = off')
    assert "synchronous_commit off" in await refused_start(postgres_house.app)


async def test_a_table_without_row_security_is_refused(postgres_house: House) -> None:
    with psycopg.connect(postgres_house.admin, autocommit=True) as admin:
        admin.execute("ALTER TABLE crossdock.entries NO FORCE ROW LEVEL SECURITY")
    assert "not under row security" in await refused_start(postgres_house.app)


@pytest.mark.parametrize(
    ("planted", "named"),
    [
        ("CREATE SCHEMA crossdock_directory CREATE TABLE later (store_id text)", "crossdock_directory.later"),
        ("CREATE TABLE public.later (store_id text); GRANT SELECT ON public.later TO {app}", "public.later"),
        (
            "CREATE TABLE public.later (store_id text, a text); GRANT UPDATE (a) ON public.later TO {app}",
            "public.later",
        ),
        ("CREATE VIEW public.seen AS TABLE crossdock.entries; GRANT SELECT ON public.seen TO {app}", "public.seen"),
    ],
)
async def test_a_table_without_row_security_in_any_schema_is_refused_and_named(
    postgres_house: House, planted: str, named: str
) -> None:
    with psycopg.connect(postgres_house.admin, autocommit=True) as admin:
        admin.execute(planted.format(app=login_of(postgres_house.app).role))
    refused = await refused_start(postgres_house.app)
    assert named in refused
    assert "not under row security" in refused


async def test_tables_of_other_programs_that_the_role_cannot_reach_are_none_of_its_business(
    postgres_house: House,
) -> None:
    with psycopg.connect(postgres_house.admin, autocommit=True) as admin:
        admin.execute("CREATE TABLE public.orders (store_id text)")
    engine = PostgresEngine(postgres_house.app, lambda: NOW)
    await engine.start()
    await engine.close()


async def test_a_database_without_the_schema_is_refused(postgres_house: House) -> None:
    with psycopg.connect(postgres_house.admin, autocommit=True) as admin:
        admin.execute("DROP SCHEMA crossdock CASCADE")
    assert (await refused_start(postgres_house.app)).startswith("CD5030")


async def test_a_role_that_is_not_let_in_is_told_apart_from_a_server_that_is_away(postgres_house: House) -> None:
    parts = postgres_house.app.partition("@")
    assert (await refused_start(f"postgresql://nobody-here@{parts[2]}")).startswith("CD5040")


async def test_an_id_with_a_nul_is_refused_and_no_fault(engine: PostgresEngine) -> None:
    await engine.journal.append(drafts(1))
    error = await raised(Invalid, engine.journal.find(NORTH, EventId("e1\x00")))
    assert error.code == "CD3030"
    assert len(await engine.journal.find(NORTH, EventId("e1"))) == 1


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    assert (await refused_start("postgresql://nobody@127.0.0.1:1/nothing")).startswith("CD5002")


@pytest.mark.parametrize("events", [1, 500])
async def test_a_group_of_appends_is_five_statements_however_many_events_it_holds(
    postgres_house: House, events: int
) -> None:
    """One event alone costs five round trips; five hundred at once cost the same five: a hundredth of one each."""
    heard: list[str] = []
    engine = PostgresEngine(postgres_house.app, lambda: NOW)
    engine.pool.count_queries(heard.append)
    await engine.start()
    await engine.journal.append([draft("first")])  # the journal's row is there, as after a store was created
    heard.clear()
    await asyncio.gather(*(engine.journal.append([draft(f"k{number}")]) for number in range(events)))
    named = {text: name for name, text in QUERIES.items()}
    ours = [named[one] for one in heard if one in named]
    assert ours == ["lock_journals", "known", "add"]
    assert sum("set_config" in one for one in heard) == 1  # with its BEGIN; and there is one COMMIT
    await engine.close()


async def test_settings_that_were_loosened_since_the_start_are_seen_by_readiness_and_by_each_new_connection(
    engine: PostgresEngine, postgres_house: House
) -> None:
    await engine.writable()
    with psycopg.connect(postgres_house.admin, autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{admin.info.dbname}" SET synchronous_commit = off')
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    codes = {(await raised(Unavailable, engine.writable())).code for _ in range(10)}
    assert "CD5021" in codes
    assert codes <= {"CD5021", "CD5002"}  # a session that has just been ended
    assert (await raised(Unavailable, engine.journal.append(drafts(1)))).code == "CD5021"


async def test_a_log_beyond_its_counter_is_a_copy_that_has_not_ended(postgres_house: House) -> None:
    with psycopg.connect(postgres_house.admin, autocommit=True) as admin:
        admin.execute(
            "INSERT INTO crossdock.audit (store_id, store_seq, seq, at, actor, action, object, outcome, correlation_id,"
            " detail) VALUES ('north', 1, 7, 1, 'test', 'test', '', 'done', 'cor', '{}')"
        )
    assert "CD5041" in await refused_start(postgres_house.app)
