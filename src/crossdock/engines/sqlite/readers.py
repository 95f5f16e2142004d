"""Reads run on a few threads, each with a connection of its own, so that the event loop never waits for the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import apsw

from crossdock.engines.sqlite.database import open_reader
from crossdock.engines.sqlite.executor import Executor
from crossdock.model.errors import Unavailable

READERS = 2  # more would only fight over the interpreter lock
T = TypeVar("T")


class Readers:
    """`read` gives the work one snapshot: everything that it reads belongs to the same moment."""

    def __init__(self, path: Path, executor: Executor, vfs: str = "") -> None:
        self._path = path
        self._vfs = vfs
        self._local = threading.local()
        self._open: list[apsw.Connection] = []
        self._closed = False
        self._pool = executor.pool(READERS)

    async def read(self, work: Callable[[apsw.Connection], T]) -> T:
        """What `work` returns. Unavailable (CD5009) when the disk fails or the engine is closed."""
        if self._closed:
            raise Unavailable("CD5009", "The engine is closed.")
        return await self._pool.run(lambda: self._run(work))

    def _run(self, work: Callable[[apsw.Connection], T]) -> T:
        try:
            connection = self._connection()
            connection.execute("BEGIN")
            try:
                return work(connection)
            finally:
                connection.execute("COMMIT")
        except apsw.Error as error:
            raise Unavailable("CD5009", "The database could not be read.") from error

    def _connection(self) -> apsw.Connection:
        found: apsw.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = open_reader(self._path, self._vfs)
            self._open.append(found)
        return found

    async def close(self) -> None:
        self._closed = True
        await self._pool.close()
        for connection in self._open:
            connection.close()
        self._open.clear()
