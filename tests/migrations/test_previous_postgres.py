"""The promise of `pre` migrations on PostgreSQL: the release before runs on what they leave."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from crossdock.engines.migrations import Phase, known
from crossdock.engines.postgres import migrate as postgres
from crossdock.engines.postgres.engine import PostgresEngine
from crossdock.engines.postgres.pool import QUERIES
from crossdock.stores.port import Engine
from crossdock.testing.journal_suite import DurableSuite, JournalSuite
from crossdock.testing.lanes_suite import LanesSuite
from crossdock.testing.registry_suite import RegistrySuite
from crossdock.testing.samples import NOW
from migrations.steps import named, run, step, with_more
from postgres import House

PREVIOUS = Path(__file__).parent / "previous" / "postgres"
"""The `queries/*.sql` of the release before, as they were shipped."""

ALL_THAT_PRE_MAY_DO = step(
    9001,
    Phase.PRE,
    """
    DO $$
    DECLARE
        name text;
    BEGIN
        FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'crossdock' AND tablename <> 'migrations'
        LOOP
            EXECUTE format('ALTER TABLE %I ADD COLUMN later_empty bigint', name);
            EXECUTE format('ALTER TABLE %I ADD COLUMN later_filled text NOT NULL DEFAULT ''as before''', name);
            EXECUTE format('CREATE INDEX ON %I (later_filled)', name);
        END LOOP;
    END
    $$;
    CREATE TABLE later (
        store_id text COLLATE "C" NOT NULL,
        number bigint NOT NULL,
        PRIMARY KEY (store_id, number),
        FOREIGN KEY (store_id) REFERENCES stores
    );
    ALTER TABLE later ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
    """,
)


def before() -> dict[str, str]:
    return {
        name: body for file in sorted(PREVIOUS.glob("*.sql")) for name, body in named(file.read_text("utf-8")).items()
    }


def test_the_release_before_is_kept_as_soon_as_a_migration_follows_it() -> None:
    assert len(known(postgres.PACKAGE)) == 1 or before(), f"put the queries of the release before into {PREVIOUS}"


class TestTheReleaseBeforeOnPostgresql(JournalSuite, LanesSuite, RegistrySuite, DurableSuite):
    """The queries of the release before, wherever it had one of that name, and this release's where it had none, on a
    schema with every `pre` migration of this release and one more, which adds to every table whatever a `pre`
    migration may add.

    It shows that queries which know nothing of an addition are not disturbed by it. It does not show that the code
    around them was the same, nor that both releases agree on what a new column means: that is for whoever writes the
    migration."""

    # What it did not know yet.
    test_a_weight_stays_with_its_store_and_the_last_one_counts = None

    @pytest.fixture
    async def house(self, postgres_house: House, monkeypatch: pytest.MonkeyPatch) -> House:
        with monkeypatch.context() as later:
            with_more(later, ALL_THAT_PRE_MAY_DO)
            assert "applied 9001_pre" in await run(postgres_house)
        return postgres_house

    @pytest.fixture
    async def opened(self, house: House) -> AsyncIterator[Callable[[], Awaitable[PostgresEngine]]]:
        engines: list[PostgresEngine] = []

        async def another() -> PostgresEngine:
            engines.append(PostgresEngine(house.app, lambda: NOW, named={**QUERIES, **before()}))
            await engines[-1].start()
            return engines[-1]

        yield another
        for one in engines:
            await one.close()

    @pytest.fixture
    async def engine(self, opened: Callable[[], Awaitable[PostgresEngine]]) -> PostgresEngine:
        return await opened()

    @pytest.fixture
    def reopen(
        self, engine: PostgresEngine, opened: Callable[[], Awaitable[PostgresEngine]]
    ) -> Callable[[], Awaitable[Engine]]:
        async def again() -> Engine:
            await engine.close()
            return await opened()

        return again
