"""The embedded engine: one process, one file, one writer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import apsw

from crossdock.engines.sqlite import database, files
from crossdock.engines.sqlite.executor import Executor, Threads
from crossdock.engines.sqlite.journal import SqliteJournal, append_all
from crossdock.engines.sqlite.lanes import SqliteLanes
from crossdock.engines.sqlite.readers import Readers
from crossdock.engines.sqlite.registry import SqliteRegistry
from crossdock.engines.sqlite.writer import CHECKPOINT_PAGES, Writer
from crossdock.journal.slots import Slots, WholeSlots
from crossdock.model.errors import Unavailable
from crossdock.model.ids import Instant
from crossdock.stores.port import Finding

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Machine:
    """What the engine runs on: threads and the local file system, unless somebody simulates them."""

    executor: Executor = field(default_factory=Threads)
    files: files.FileSystem = files.LOCAL
    checkpoint_pages: int = CHECKPOINT_PAGES


class SqliteEngine:
    """`stores.port.Engine` on the SQLite database at `path`. It may be started once, and closed more than once.

    `path`'s directory is made with mode 0700 where it is missing, the files with 0600. A lock on `path` + `.lock` keeps
    every other engine away from start to close."""

    name = "sqlite"

    def __init__(self, path: Path, clock: Callable[[], Instant], machine: Machine | None = None) -> None:
        self._path = path
        self._clock = clock
        self._machine = machine or Machine()
        self._lock = self._machine.files.lock(path.with_name(path.name + ".lock"))
        self._writer: Writer | None = None
        self._readers: Readers | None = None
        self._journal: SqliteJournal | None = None
        self._lanes: SqliteLanes | None = None
        self._registry: SqliteRegistry | None = None

    @property
    def journal(self) -> SqliteJournal:
        return started(self._journal)

    @property
    def lanes(self) -> SqliteLanes:
        return started(self._lanes)

    @property
    def registry(self) -> SqliteRegistry:
        return started(self._registry)

    @property
    def slots(self) -> Slots:
        return WholeSlots()

    async def start(self) -> None:
        """Unavailable CD5005 if another process owns the file, CD5004 if it cannot be served safely."""
        machine = self._machine
        connection = await machine.executor.run(self._open)
        self._writer = Writer(connection, append_all, machine.executor, machine.checkpoint_pages)
        self._readers = Readers(self._path, machine.executor, machine.files.vfs)
        self._journal = SqliteJournal(self._writer, self._readers)
        self._lanes = SqliteLanes(self._writer, self._readers)
        self._registry = SqliteRegistry(self._writer, self._readers, self._clock)

    def _open(self) -> apsw.Connection:
        try:
            self._machine.files.prepare(self._path)
            self._lock.take()
            files.write_wal_anew(self._machine.files, self._path)
        except OSError as error:
            self._lock.give_up()
            raise database.unsafe(f"The database file cannot be opened ({error.strerror}).") from error
        try:
            connection = database.open_writer(self._path, vfs=self._machine.files.vfs)
            fatal = [one for one in self._findings(connection) if one.fatal]
            if fatal:
                connection.close()
                raise database.unsafe(" ".join(f"{one.code}: {one.what}" for one in fatal))
        except Unavailable:
            self._lock.give_up()
            raise
        return connection

    def _findings(self, connection: apsw.Connection) -> list[Finding]:
        return database.findings(connection, self._path, self._machine.files)

    async def close(self) -> None:
        """Writes what waits, truncates the WAL and lets go of the file."""
        if self._readers is not None:
            await self._readers.close()
        if self._writer is not None:
            await self._writer.close()
        self._lock.give_up()

    async def writable(self) -> None:
        """An empty transaction goes through the writer as any other."""
        await started(self._writer).do(lambda connection: None)

    async def findings(self) -> Sequence[Finding]:
        """What the doctor wants to know, SQLite's own quick check included (it reads the whole file)."""
        writer = started(self._writer)
        found: list[Finding] = await writer.do(self._findings)
        found.append(await started(self._readers).read(database.integrity))
        ok = not writer.failed
        return [
            *found,
            Finding("CD5009", ok, not ok, writer.failed or "The writer takes work.", "Restart the process."),
        ]


def started(part: T | None) -> T:
    if part is None:
        raise Unavailable("CD5009", "The engine has not been started.")
    return part
