"""The files of the database: who may read them, who owns them while they are open, and what they lie on."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import Protocol

from crossdock.model.errors import Unavailable

NETWORK_FILESYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "ceph", "glusterfs", "lustre", "ncpfs", "sshfs"}
    | {"fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone", "fuse.gcsfuse"}
)
"""Where WAL's shared memory or the locks do not hold (https://sqlite.org/wal.html, https://sqlite.org/howtocorrupt.html)."""
COPY_BYTES = 1 << 20  # held in memory at once


class Lock(Protocol):
    def take(self) -> None:
        """Unavailable (CD5005) if another engine holds it."""
        ...

    def give_up(self) -> None: ...


class FileSystem(Protocol):
    """What the engine asks of the file system beside SQLite, which has `vfs` for its own way to it ('': the usual)."""

    @property
    def vfs(self) -> str: ...

    def prepare(self, path: Path) -> None:
        """Makes the file, and its directory, where they are missing. OSError if that cannot be."""
        ...

    def lock(self, path: Path) -> Lock: ...

    def kind(self, path: Path) -> str:
        """The type of the file system that holds `path`, '' where nobody says."""
        ...

    def open_to_others(self, path: Path) -> bool:
        """Whether others than the owner may read the file or list its directory."""
        ...

    def size(self, path: Path) -> int:
        """In bytes; 0 for a file that is not there."""
        ...

    def copy(self, source: Path, target: Path) -> None:
        """Writes the bytes of `source` over those of `target`, in place, and syncs them."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """As one step, and synced. So is `remove`."""
        ...

    def remove(self, path: Path) -> None: ...


class OwnerLock:
    """An exclusive lock on a file beside the database: two processes never write one journal.

    The kernel gives it up when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1

    def take(self) -> None:
        """Unavailable (CD5005) if another engine holds it."""
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.give_up()
            raise Unavailable(
                "CD5005",
                "Another process has this database open.",
                remedy="Stop it first, or do this through its API.",
            ) from error

    def give_up(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def prepare(path: Path) -> None:
    """The directory (0700 if it is made here) and the file (0600), before SQLite opens it."""
    missing = [one for one in path.parents if not one.exists()]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for made in missing:
        # SQLite syncs the directory of its files, and not what that one lies in.
        sync_directory(made.parent)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    os.chmod(path, 0o600)


def open_to_others(path: Path) -> bool:
    """Whether others than the owner may read the file or list its directory."""
    return bool((path.stat().st_mode & 0o077) or (path.parent.stat().st_mode & 0o077))


def filesystem(path: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """The type of the filesystem that holds `path`, '' where the system does not say."""
    if not mounts.exists():
        return ""
    place, found = str(path.resolve()), ("", "")
    for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
        _, mount, kind, *_ = line.split(" ")
        mount = mount.replace("\\040", " ")
        inside = place == mount or place.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(found[0]):
            found = (mount, kind)
    return found[1]


def write_wal_anew(place: FileSystem, path: Path) -> None:
    """Makes durable what the WAL beside `path` shows, before anything of it is told. For its owner, before SQLite opens
    it. OSError if it cannot be done.

    A process that died before its sync has left frames that the disk may not hold, and after a sync that failed the
    system may show pages that it will never write: another sync would say nothing of them. SQLite reads both as
    committed, and a repeat of such an event would be answered as accepted. So every byte is written and synced again,
    in place, as somebody may be reading; from a copy, so that a power cut leaves one of the two whole."""
    wal, spare, half = (path.with_name(path.name + end) for end in ("-wal", "-wal.spare", "-wal.half"))
    whole = spare if place.size(spare) else wal
    if place.size(whole):
        place.copy(whole, half)
        place.rename(half, spare)
        place.copy(spare, wal)
        place.remove(spare)


def sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class LocalFiles:
    """`FileSystem` of the machine that this runs on."""

    vfs = ""

    def prepare(self, path: Path) -> None:
        prepare(path)

    def lock(self, path: Path) -> Lock:
        return OwnerLock(path)

    def kind(self, path: Path) -> str:
        return filesystem(path)

    def open_to_others(self, path: Path) -> bool:
        return open_to_others(path)

    def size(self, path: Path) -> int:
        return path.stat().st_size if path.exists() else 0

    def copy(self, source: Path, target: Path) -> None:
        handle = os.open(target, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with source.open("rb") as reading, os.fdopen(handle, "r+b") as writing:
            shutil.copyfileobj(reading, writing, COPY_BYTES)
            writing.truncate()
            writing.flush()
            os.fsync(writing.fileno())

    def rename(self, source: Path, target: Path) -> None:
        source.replace(target)
        sync_directory(target.parent)

    def remove(self, path: Path) -> None:
        path.unlink()
        sync_directory(path.parent)


LOCAL = LocalFiles()
