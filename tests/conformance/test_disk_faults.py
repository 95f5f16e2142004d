"""When fsync fails, nothing more is acknowledged: the pages may be lost although a second try says otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from crossdock.engines.sqlite.engine import SqliteEngine
from crossdock.model.entry import Kept
from crossdock.model.errors import Unavailable
from crossdock.model.ids import Instant
from crossdock.testing.samples import NORTH, draft


class FailingFile(apsw.VFSFile):
    def xSync(self, flags: int) -> None:
        if FailingDisk.broken:
            raise apsw.IOError("the disk does not answer")
        super().xSync(flags)


class FailingDisk(apsw.VFS):
    """The ordinary file system, until `broken`."""

    broken = False

    def __init__(self) -> None:
        self.base = apsw.vfs_names()[0]
        super().__init__("failing", self.base, makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> FailingFile:
        return FailingFile(self.base, name, flags)


@pytest.fixture
def disk() -> Iterator[type[FailingDisk]]:
    vfs = FailingDisk()
    yield FailingDisk
    FailingDisk.broken = False
    vfs.unregister()


async def test_a_failed_fsync_is_an_honest_503_and_the_end_of_taking_work(
    tmp_path: Path, disk: type[FailingDisk]
) -> None:
    engine = SqliteEngine(tmp_path / "crossdock.db", lambda: Instant(0))
    await engine.start()
    await engine.writable()
    (kept,) = await engine.journal.append([draft("a")])
    disk.broken = True
    with pytest.raises(Unavailable, match="CD5009"):
        await engine.journal.append([draft("b")])
    disk.broken = False
    with pytest.raises(Unavailable, match="CD5009"):
        await engine.journal.append([draft("c")])
    with pytest.raises(Unavailable, match="CD5009"):
        await engine.writable()
    await engine.close()

    again = SqliteEngine(tmp_path / "crossdock.db", lambda: Instant(0))
    await again.start()
    assert isinstance(kept, Kept)
    assert await again.journal.entry(NORTH, kept.position) is not None
    assert [entry.position for entry in await again.journal.read(NORTH, kept.position, 10)] in ([], [2])
    await again.writable()
    await again.close()
