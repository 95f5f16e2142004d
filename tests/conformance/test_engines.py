"""Every engine passes the same suites, with no skip."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from crossdock.engines.memory.engine import MemoryEngine
from crossdock.engines.memory.slots import MemorySlots
from crossdock.engines.sqlite.engine import Machine, SqliteEngine
from crossdock.engines.sqlite.executor import Inline
from crossdock.stores.port import Engine
from crossdock.testing.journal_suite import DurableSuite, JournalSuite
from crossdock.testing.lanes_suite import LanesSuite
from crossdock.testing.registry_suite import RegistrySuite
from crossdock.testing.samples import NOW
from crossdock.testing.slots_suite import SlotsSuite
from crossdock.testing.world.disk import Disk


class TestMemory(JournalSuite, LanesSuite, RegistrySuite):
    @pytest.fixture
    async def engine(self) -> Engine:
        return MemoryEngine(lambda: NOW)


class TestMemoryShared(JournalSuite, LanesSuite, RegistrySuite, SlotsSuite):
    """The in-memory engine as several deliverers share it: with leases that run out."""

    @pytest.fixture
    def slots(self) -> MemorySlots:
        return MemorySlots(lambda: NOW)

    @pytest.fixture
    async def engine(self, slots: MemorySlots) -> Engine:
        return MemoryEngine(lambda: NOW, slots)

    @pytest.fixture
    def lapse(self, slots: MemorySlots) -> Callable[[str], Awaitable[None]]:
        async def lapse(member: str) -> None:
            slots._until[member] = NOW

        return lapse


class TestSqlite(JournalSuite, LanesSuite, RegistrySuite, DurableSuite):
    machine = Machine()

    @pytest.fixture
    async def engine(self, tmp_path: Path) -> AsyncIterator[Engine]:
        engine = SqliteEngine(tmp_path / "data" / "journal.db", lambda: NOW, self.machine)
        await engine.start()
        yield engine
        await engine.close()

    @pytest.fixture
    async def reopen(self, engine: Engine, tmp_path: Path) -> AsyncIterator[Callable[[], Awaitable[Engine]]]:
        opened: list[Engine] = []

        async def again() -> Engine:
            await engine.close()
            opened.append(SqliteEngine(tmp_path / "data" / "journal.db", lambda: NOW, self.machine))
            await opened[-1].start()
            return opened[-1]

        yield again
        for one in opened:
            await one.close()


class TestSqliteInline(TestSqlite):
    """Without threads, as a simulated world runs it."""

    machine = Machine(Inline())


class TestSqliteOnASimulatedDisk(JournalSuite, LanesSuite, RegistrySuite, DurableSuite):
    """Each restart is a power cut: what was answered is there."""

    @pytest.fixture
    def disk(self) -> Iterator[Disk]:
        disk = Disk(7, checkpoint_pages=30)
        yield disk
        disk.close()

    @pytest.fixture
    async def engine(self, disk: Disk) -> Engine:
        engine = disk.open_engine(lambda: NOW)
        await engine.start()
        return engine

    @pytest.fixture
    def reopen(self, disk: Disk) -> Callable[[], Awaitable[Engine]]:
        async def again() -> Engine:
            disk.power_cut()
            engine = disk.open_engine(lambda: NOW)
            await engine.start()
            return engine

        return again
