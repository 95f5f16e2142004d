"""Every engine passes the same suites, with no skip."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from crossdock.engines.memory.engine import MemoryEngine
from crossdock.engines.sqlite.engine import SqliteEngine
from crossdock.stores.port import Engine
from crossdock.testing.journal_suite import DurableSuite, JournalSuite
from crossdock.testing.lanes_suite import LanesSuite
from crossdock.testing.registry_suite import RegistrySuite
from crossdock.testing.samples import NOW


class TestMemory(JournalSuite, LanesSuite, RegistrySuite):
    @pytest.fixture
    async def engine(self) -> Engine:
        return MemoryEngine(lambda: NOW)


class TestSqlite(JournalSuite, LanesSuite, RegistrySuite, DurableSuite):
    @pytest.fixture
    async def engine(self, tmp_path: Path) -> AsyncIterator[Engine]:
        engine = SqliteEngine(tmp_path / "data" / "journal.db", lambda: NOW)
        await engine.start()
        yield engine
        await engine.close()

    @pytest.fixture
    async def reopen(self, engine: Engine, tmp_path: Path) -> AsyncIterator[Callable[[], Awaitable[Engine]]]:
        opened: list[Engine] = []

        async def again() -> Engine:
            await engine.close()
            opened.append(SqliteEngine(tmp_path / "data" / "journal.db", lambda: NOW))
            await opened[-1].start()
            return opened[-1]

        yield again
        for one in opened:
            await one.close()
