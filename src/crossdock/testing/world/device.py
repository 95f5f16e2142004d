"""SQLite's way to a disk in memory, an APSW VFS: each call is hashed into a trace, and may fail or be the last one.

Times and chance come from the disk's clock and seed, also SQLite's own."""

from __future__ import annotations

import errno
import hashlib
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import apsw

from crossdock.model.ids import Instant
from crossdock.testing.world.platter import Change, Directory, File, Truncated, Written

BASE = "unix-excl"
JULIAN_MS = 210_866_760_000_000  # the Unix epoch as SQLite counts milliseconds
NEW_JOURNAL = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL
"""Files whose first sync also syncs the directory, as SQLite's Unix VFS does it."""

Kind = Literal["write", "sync", "truncate"]
CODES = {
    ("write", errno.EIO): apsw.SQLITE_IOERR_WRITE,
    ("write", errno.ENOSPC): apsw.SQLITE_FULL,
    ("sync", errno.EIO): apsw.SQLITE_IOERR_FSYNC,
    ("sync", errno.ENOSPC): apsw.SQLITE_IOERR_FSYNC,
    ("truncate", errno.EIO): apsw.SQLITE_IOERR_TRUNCATE,
    ("truncate", errno.ENOSPC): apsw.SQLITE_IOERR_TRUNCATE,
}
"""What SQLite's Unix VFS makes of an errno."""


@dataclass(slots=True)
class Fault:
    code: int
    after: int
    times: int
    on: str | None


@dataclass(slots=True)
class End:
    """When the process is to end, and whether the power goes with it."""

    power: bool
    after: int
    during: Kind | None


class Device:
    """`calls` counts the calls that change the disk, `syncs` those of them that sync; `slept_us` is how long SQLite
    would have paused. `life` changes with each process and each end of one; `up` while one lives, `cut` if the last one
    ended with the power."""

    def __init__(self, seed: int | str, anchor: str) -> None:
        self.calls = 0
        self.syncs = 0
        self.slept_us = 0
        self.up = False
        self.cut = False
        self.life = 0
        self.on_down: Callable[[], object] | None = None
        self.anchor = anchor
        self.directory = Directory()
        self.dice = random.Random(f"disk {seed}")
        self.clock: Callable[[], Instant] = lambda: Instant(0)
        self._trace = hashlib.blake2b(digest_size=16)
        self._end: End | None = None
        self._faults: dict[str, Fault] = {}

    @property
    def trace(self) -> str:
        """A hash of every call so far in its order, with what was written."""
        return self._trace.hexdigest()

    def crash(self, after: int | None = None, during: Kind | None = None) -> None:
        """The process ends. Nothing that it wrote is lost, and nothing of it is made durable. When: as `power_cut`."""
        if after is not None:
            self._end = End(False, after, during)
        elif self.up:
            self._down()
            for file in self.directory.files.values():
                file.forget_by_chance(self.dice)

    def power_cut(self, after: int | None = None, during: Kind | None = None) -> None:
        """Now; or during the `after`th call from now that changes the disk (1 is the next), of that kind if one is
        named. That write may be there, whole or in part; that sync has done nothing yet."""
        if after is not None:
            self._end = End(True, after, during)
            return
        self._down()
        self.cut = True
        self.directory.cut(self.dice)

    def fail(self, kind: Kind, at: int = 1, error: int = errno.EIO, times: int = 1, on: str | None = None) -> None:
        """The `at`th call of that kind from now fails (1 is the next), and those after it up to so many `times`; of
        calls `on` that file, where one is named. A failed write may have written a first part; what a failed sync
        leaves is up to the seed (`platter.Fate`)."""
        self._faults[kind] = Fault(CODES[kind, error], at, times, on)

    @property
    def disturbed(self) -> bool:
        """Whether a fault or an end was ordered, and is still to come."""
        return bool(self._faults) or self._end is not None

    def mend(self) -> None:
        """No fault and no end that was ordered comes any more."""
        self._faults.clear()
        self._end = None

    def note(self, what: str, *numbers: int) -> None:
        self._trace.update(f"{what}{numbers}".encode())

    def changes(self, kind: str, name: str, file: File | None = None, change: Change | None = None) -> None:
        """A call that changes the disk: it fails, or is made; and it may be the process's last."""
        self.calls += 1
        self.note(kind + name)
        if isinstance(change, Written):
            self.note("at", change.offset, len(change.data), zlib.crc32(change.data))
        elif change is not None:
            self.note("to", change.size)
        code = self._fault(kind, name)
        if code and file is not None and isinstance(change, Written):
            self._part(file, change)
        if code:
            raise apsw.exception_for(code)
        if file is not None and change is not None:
            file.change(change)
        if self._ends(kind):
            raise dead()

    def sync_directory(self) -> None:
        self.syncs += 1
        self.changes("sync", "")
        self.directory.sync()

    def _fault(self, kind: str, name: str) -> int:
        """The code with which this call fails, 0 if it does not."""
        fault = self._faults.get(kind)
        if fault is None or fault.on not in (None, name):
            return 0
        fault.after -= 1
        if fault.after > 0:
            return 0
        fault.times -= 1
        if not fault.times:
            del self._faults[kind]
        return fault.code

    def _ends(self, kind: str) -> bool:
        end = self._end
        if end is None or end.during not in (None, kind):
            return False
        end.after -= 1
        if end.after > 0:
            return False
        if end.power:
            self.power_cut()
        else:
            self.crash()
        return True

    def _part(self, file: File, change: Written) -> None:
        kept = self.dice.randint(0, len(change.data) - 1)
        if kept:
            file.change(Written(change.offset, change.data[:kept]))

    def _down(self) -> None:
        self.up = self.cut = False
        self.life += 1
        self.mend()
        if self.on_down is not None:
            self.on_down()


def dead() -> Exception:
    return apsw.exception_for(apsw.SQLITE_IOERR)


class OpenFile:
    """A file as a connection has it open: journals, the WAL, and (with `MainFile`) the database."""

    def __init__(self, disk: Device, name: str, file: File, new_journal: bool = False) -> None:
        self._disk = disk
        self._name = name
        self._file = file
        self._life = disk.life
        self._sync_directory = new_journal

    def _alive(self) -> None:
        if self._life != self._disk.life:
            raise dead()

    def xRead(self, amount: int, offset: int) -> bytes:
        self._alive()
        data = bytes(self._file.view[offset : offset + amount])
        self._disk.note("read" + self._name, offset, amount)
        return data

    def xWrite(self, data: bytes, offset: int) -> None:
        self._alive()
        self._disk.changes("write", self._name, self._file, Written(offset, bytes(data)))

    def xTruncate(self, size: int) -> None:
        self._alive()
        self._disk.changes("truncate", self._name, self._file, Truncated(size))

    def xSync(self, flags: int) -> None:
        self._alive()
        disk = self._disk
        disk.syncs += 1
        try:
            disk.changes("sync", self._name)
        except apsw.Error:
            if disk.up:
                self._file.sync_failed(disk.dice)
            raise
        self._file.sync()
        if self._sync_directory:
            disk.directory.sync()
            self._sync_directory = False

    def xFileSize(self) -> int:
        self._alive()
        return len(self._file.view)

    def xFileControl(self, op: int, pointer: int) -> bool:
        return False

    def xSectorSize(self) -> int:
        return 4_096

    def xDeviceCharacteristics(self) -> int:
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE | apsw.SQLITE_IOCAP_SUBPAGE_READ

    def xLock(self, level: int) -> None:
        return

    def xUnlock(self, level: int) -> None:
        return

    def xCheckReservedLock(self) -> bool:
        return False

    def xClose(self) -> None:
        return


class MainFile(OpenFile, apsw.VFSFile):
    """The database: locks and the WAL's index are those of SQLite's own VFS, on an empty file (the anchor)."""

    def __init__(self, disk: Device, name: str, file: File) -> None:
        apsw.VFSFile.__init__(self, BASE, disk.anchor, [ANCHOR_FLAGS, 0])
        OpenFile.__init__(self, disk, name, file)

    xLock = apsw.VFSFile.xLock
    xUnlock = apsw.VFSFile.xUnlock
    xCheckReservedLock = apsw.VFSFile.xCheckReservedLock
    xClose = apsw.VFSFile.xClose


class DiskVfs(apsw.VFS):
    def __init__(self, disk: Device, name: str) -> None:
        super().__init__(name, base=BASE)
        self._disk = disk
        self.vfs_name = name

    def _alive(self) -> None:
        if not self._disk.up:
            raise dead()

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        self._alive()
        disk, asked = self._disk, flags[0]
        flags[1] = asked
        if name is None:  # a temporary file: nobody meets it again
            return OpenFile(disk, "", File())
        path = str(name.filename() if isinstance(name, apsw.URIFilename) else name)
        disk.note("open" + path, asked)
        file = disk.directory.files.get(path)
        if file is None:
            if not asked & apsw.SQLITE_OPEN_CREATE:
                raise apsw.exception_for(apsw.SQLITE_CANTOPEN)
            file = disk.directory.link(path)
            disk.changes("create", path)
        if asked & apsw.SQLITE_OPEN_MAIN_DB:
            return MainFile(disk, path, file)
        return OpenFile(disk, path, file, bool(asked & NEW_JOURNAL))

    def xDelete(self, name: str, sync_directory: bool) -> None:
        self._alive()
        if name not in self._disk.directory.files:
            raise apsw.exception_for(apsw.SQLITE_IOERR_DELETE_NOENT)
        self._disk.directory.unlink(name)
        self._disk.changes("delete", name)
        if sync_directory:
            self._disk.directory.sync()

    def xAccess(self, name: str, flags: int) -> bool:
        self._alive()
        self._disk.note("access" + name, flags)
        file = self._disk.directory.files.get(name)
        # SQLite's Unix VFS calls an empty file missing.
        return file is not None and (flags != apsw.SQLITE_ACCESS_EXISTS or bool(file.view))

    def xFullPathname(self, name: str) -> str:
        return name

    def xRandomness(self, amount: int) -> bytes:
        return self._disk.dice.randbytes(amount)

    def xSleep(self, microseconds: int) -> int:
        self._disk.note("sleep", microseconds)
        self._disk.slept_us += microseconds
        return microseconds

    def xCurrentTimeInt64(self) -> int:
        return JULIAN_MS + self._disk.clock()

    def xCurrentTime(self) -> float:
        return self.xCurrentTimeInt64() / 86_400_000


class Generator(apsw.VFS):
    """SQLite asks its default VFS for the seed of its generator, at first use."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__("crossdock-generator", base=BASE, makedefault=True)
        self._dice = dice

    def xRandomness(self, amount: int) -> bytes:
        return self._dice.randbytes(amount)


ANCHOR_FLAGS = apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE


def seed_sqlite(dice: random.Random, anchor: str) -> None:
    # The first file that SQLite opens in a process makes it forget its seed: that must have happened.
    apsw.VFSFile(BASE, anchor, [ANCHOR_FLAGS, 0]).xClose()
    generator = Generator(dice)
    apsw.randomness(0)  # forgets the former seed
    apsw.randomness(1)
    generator.unregister()
