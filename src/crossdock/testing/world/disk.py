"""A disk in memory under SQLite, whose power can be cut at any call, by a seed.

    disk = Disk(seed)
    engine = disk.open_engine(clock)      # a SqliteEngine; await engine.start()
    disk.power_cut(after=17)              # during the 17th call from now that changes the disk; or power_cut() now
    disk.crash()                          # the process alone: what it wrote is there, synced or not
    disk.fail("sync", at=3)               # the third sync from now answers EIO; the data may be gone
    engine = disk.open_engine(clock)      # power and process are back; the former engine's process is dead
    disk.close()

Making and closing a Disk makes and removes a real temporary directory: do that outside of whatever keeps the real world
away from a simulated one. Opening an engine uses nothing of Python's that is real.

A process that crashed or lost its power does nothing any more: its calls to the disk fail, and what its engine had not
answered is never answered. Whoever waited for it must be cancelled (`on_down` says when). `trace` is a hash of every
call in its order: the same seed and the same calls of the engine give the same trace, in any process.

What is real: SQLite with its own pages, WAL, recovery, checkpoints and locks between connections, the engine's settings
(WAL, synchronous FULL, page size), its SQL, its group commit. What is not:

- Work runs in the event loop (`executor.Inline`), so that no two calls to the disk overlap, and nobody waits for a
  lock: SQLite's pauses end at once.
- APSW offers no xShmMap to Python files. The main file stands on a real, empty file of SQLite's `unix-excl` VFS, which
  keeps the WAL's index in memory and the locks in the process; a crash loses both, as the last connection closes.
- The owner's lock is a flag, and the file's type and rights are not looked at.
- A full disk is an answer (`fail`), not a size.
- SQLite has one random generator for the process. A Disk seeds it whenever it opens an engine, so that the runs of two
  disks must not be mixed in one process where their traces are to be the same.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from crossdock.engines.sqlite.engine import Machine, SqliteEngine
from crossdock.engines.sqlite.executor import Inline, InlineWorker, Turn, Worker
from crossdock.engines.sqlite.files import Lock
from crossdock.engines.sqlite.writer import CHECKPOINT_PAGES
from crossdock.model.errors import Unavailable
from crossdock.model.ids import Instant
from crossdock.testing.world.device import Device, DiskVfs, seed_sqlite

PATH = Path("/world/journal.db")
CREATE = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
COPY_BYTES = 32_768  # small, so that a cut comes between

_numbers = itertools.count()


class Disk(Device):
    """See above. `checkpoint_pages`: a short WAL makes checkpoints come often."""

    def __init__(self, seed: int | str, checkpoint_pages: int = CHECKPOINT_PAGES) -> None:
        self._ground = Path(tempfile.mkdtemp(prefix="crossdock-disk-"))
        super().__init__(seed, str(self._ground / "anchor"))
        self.owned = False
        self._left: list[apsw.Connection] = []
        self._checkpoint_pages = checkpoint_pages
        self.vfs = DiskVfs(self, f"crossdock-disk-{next(_numbers)}")

    def open_engine(self, clock: Callable[[], Instant]) -> SqliteEngine:
        """An engine on the disk as it is now, in a process of its own, not started. Whoever used the disk is dead."""
        self.crash()
        self.reap()
        self.life += 1
        self.up = True
        self.owned = False
        self.clock = clock
        seed_sqlite(self.dice, self.anchor)
        return SqliteEngine(PATH, clock, Machine(Mortal(self), DiskFiles(self), self._checkpoint_pages))

    def connection(self) -> apsw.Connection:
        """Another connection of the living process, to look with."""
        return apsw.Connection(str(PATH), flags=apsw.SQLITE_OPEN_READWRITE, vfs=self.vfs.vfs_name)

    def integrity(self) -> list[str]:
        """What SQLite's full check says: ["ok"], or what is wrong."""
        connection = self.connection()
        try:
            return [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
        finally:
            connection.close()

    def close(self) -> None:
        self.crash()
        self.reap()
        self.vfs.unregister()
        shutil.rmtree(self._ground, ignore_errors=True)

    def reap(self) -> None:
        """Closes what dead processes left open; the disk hears nothing of it."""
        for connection in self._connections():
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.close(True)
        self._left.clear()

    def _connections(self) -> list[apsw.Connection]:
        return [one for one in apsw.connections() if one.open_vfs == self.vfs.vfs_name]

    def _down(self) -> None:
        # Held until they are reaped: one that Python threw away would try to write at its close.
        self._left += self._connections()
        super()._down()


class Mortal(Inline):
    """Work in the loop while the process lives."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def worker(self, turn: Turn, idle: Callable[[], bool]) -> Worker:
        return MortalWorker(self._disk, turn, idle)


class MortalWorker(InlineWorker):
    def __init__(self, disk: Disk, turn: Turn, idle: Callable[[], bool]) -> None:
        super().__init__(turn, idle)
        self._disk = disk
        self._life = disk.life

    def _run(self) -> None:
        if self._disk.life != self._life:
            return
        try:
            super()._run()
        except apsw.Error:
            # The end came while the connection was being closed. An error of a living process is nobody's to hide.
            if self._disk.life == self._life:
                raise

    def tell(self, callback: Callable[..., None], *values: Any) -> None:
        super().tell(self._tell, callback, values)

    def _tell(self, callback: Callable[..., None], values: tuple[Any, ...]) -> None:
        if self._disk.life == self._life:
            callback(*values)


class DiskFiles:
    """`files.FileSystem` of a simulated disk."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.vfs = disk.vfs.vfs_name

    def prepare(self, path: Path) -> None:
        if str(path) not in self._disk.directory.files:
            self._disk.directory.link(str(path))

    def lock(self, path: Path) -> Lock:
        return Owned(self._disk)

    def kind(self, path: Path) -> str:
        return "simulated"

    def open_to_others(self, path: Path) -> bool:
        return False

    def size(self, path: Path) -> int:
        file = self._disk.directory.files.get(str(path))
        return len(file.view) if file else 0

    def copy(self, source: Path, target: Path) -> None:
        with failing_as_the_system_does():
            writing = self._disk.vfs.xOpen(str(target), [CREATE, 0])
            data = bytes(self._disk.directory.files[str(source)].view)
            for offset in range(0, len(data), COPY_BYTES):
                writing.xWrite(data[offset : offset + COPY_BYTES], offset)
            writing.xTruncate(len(data))
            writing.xSync(0)

    def rename(self, source: Path, target: Path) -> None:
        with failing_as_the_system_does():
            self._disk.directory.rename(str(source), str(target))
            self._disk.changes("rename", str(target))
            self._disk.sync_directory()

    def remove(self, path: Path) -> None:
        with failing_as_the_system_does():
            self._disk.vfs.xDelete(str(path), False)
            self._disk.sync_directory()


@contextmanager
def failing_as_the_system_does() -> Iterator[None]:
    try:
        yield
    except apsw.Error as error:
        raise OSError(errno.EIO, os.strerror(errno.EIO)) from error


class Owned:
    """The owner's lock. It goes with the process that took it."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._mine = False

    def take(self) -> None:
        if self._disk.owned:
            raise Unavailable("CD5005", "Another process has this database open.", remedy="Stop it first.")
        self._disk.owned = self._mine = True

    def give_up(self) -> None:
        if self._mine:
            self._disk.owned = self._mine = False
