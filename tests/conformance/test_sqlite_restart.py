"""What a restarted engine found in the file is durable before anybody is told of it."""

from __future__ import annotations

import asyncio
import errno
from contextlib import suppress
from pathlib import Path

import apsw
import pytest

from crossdock.engines.sqlite.database import open_writer
from crossdock.engines.sqlite.files import LOCAL, prepare, write_wal_anew
from crossdock.model.entry import Duplicate, Kept
from crossdock.model.errors import Unavailable
from crossdock.model.ids import START, Position
from crossdock.testing.samples import NORTH, NOW, draft, drafts, raised
from crossdock.testing.world.disk import PATH, Disk
from crossdock.testing.world.platter import Fate, Manner


async def left_unsynced(disk: Disk) -> None:
    """An append that the process wrote whole, and died before its sync: nobody was answered."""
    engine = disk.open_engine(lambda: NOW)
    await engine.start()
    await engine.journal.append([draft("a")])
    disk.crash(after=1, during="sync")
    asking = asyncio.ensure_future(engine.journal.append([draft("b")]))
    while disk.up:
        await asyncio.sleep(0)
    asking.cancel()


@pytest.fixture
def worst(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cut loses what was not synced; what a failed sync should have written is read, and never written."""
    monkeypatch.setattr("crossdock.testing.world.platter.MANNERS", (Manner.NOTHING,))
    monkeypatch.setattr("crossdock.testing.world.platter.FATES", (Fate.SHOWN,))


@pytest.mark.usefixtures("worst")
@pytest.mark.parametrize("seed", range(4))
async def test_a_repeat_that_is_answered_as_one_is_durable(seed: int) -> None:
    """The sender of an event whose process died asks again, and is told that it is there: then it stays."""
    disk = Disk(seed)
    await left_unsynced(disk)
    again = disk.open_engine(lambda: NOW)
    await again.start()
    (answer,) = await again.journal.append([draft("b")])
    assert isinstance(answer, Duplicate)
    disk.power_cut()
    last = disk.open_engine(lambda: NOW)
    await last.start()
    assert [entry.event_id for entry in await last.journal.read(NORTH, START, 9)] == ["a", "b"]
    await last.close()
    disk.close()


@pytest.mark.parametrize("seed", range(60))
async def test_a_restart_that_is_cut_short_anywhere_loses_nothing(seed: int) -> None:
    """The WAL is written anew in place: a cut in the midst of it, and of the next try, leaves it or its copy whole."""
    disk = Disk(seed)
    engine = disk.open_engine(lambda: NOW)
    await engine.start()
    await engine.journal.append(drafts(3))
    disk.crash()
    for _ in range(2):
        again = disk.open_engine(lambda: NOW)
        disk.power_cut(after=disk.dice.randint(1, 35))
        with suppress(Unavailable):
            await again.start()
        disk.crash()
    last = disk.open_engine(lambda: NOW)
    await last.start()
    assert [entry.position for entry in await last.journal.read(NORTH, START, 9)] == [1, 2, 3]
    assert disk.integrity() == ["ok"]
    await last.close()
    assert list(disk.directory.files) in (["/world/journal.db"], ["/world/journal.db", "/world/journal.db-wal.half"])
    disk.close()


async def test_the_wal_of_a_killed_process_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    wal = path.with_name("journal.db-wal")
    prepare(path)
    connection = open_writer(path)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.close()
    before, place = wal.read_bytes(), wal.stat().st_ino
    assert before
    write_wal_anew(LOCAL, path)
    assert (wal.read_bytes(), wal.stat().st_ino) == (before, place)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["journal.db", "journal.db-shm", "journal.db-wal"]
    wal.with_name("journal.db-wal.spare").write_bytes(before)
    wal.write_bytes(b"cut short" + before[9:])
    write_wal_anew(LOCAL, path)
    assert (wal.read_bytes(), wal.stat().st_mode & 0o777) == (before, 0o600)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["journal.db", "journal.db-shm", "journal.db-wal"]


@pytest.mark.usefixtures("worst")
@pytest.mark.parametrize("seed", range(4))
async def test_what_a_failed_sync_left_readable_is_durable_once_it_is_told(seed: int) -> None:
    """The system shows pages that it could not write, and writes them never: the file must not lean on them."""
    disk = Disk(seed)
    engine = disk.open_engine(lambda: NOW)
    await engine.start()
    assert await engine.journal.append([draft("a")]) == [Kept(Position(1))]
    disk.fail("sync")
    await raised(Unavailable, engine.journal.append([draft("b")]))
    again = disk.open_engine(lambda: NOW)
    await again.start()
    (answer,) = await again.journal.append([draft("b")])
    disk.power_cut()
    last = disk.open_engine(lambda: NOW)
    await last.start()
    assert isinstance(answer, Duplicate | Kept)
    assert [entry.event_id for entry in await last.journal.read(NORTH, START, 9)] == ["a", "b"]
    await last.close()
    disk.close()


async def test_after_a_failed_sync_nothing_is_synced_or_written_any_more() -> None:
    """Neither by the next calls nor at the close: a second sync would say that all is well."""
    disk = Disk(1)
    engine = disk.open_engine(lambda: NOW)
    await engine.start()
    await engine.journal.append([draft("a")])
    disk.fail("sync")
    await raised(Unavailable, engine.journal.append([draft("b")]))
    done = disk.calls
    for key in "bc":
        assert (await raised(Unavailable, engine.journal.append([draft(key)]))).code == "CD5009"
    assert (await raised(Unavailable, engine.writable())).code == "CD5009"
    await engine.close()
    assert disk.calls == done
    disk.close()


async def test_after_a_failed_checkpoint_too() -> None:
    disk = Disk(1, checkpoint_pages=1)
    engine = disk.open_engine(lambda: NOW)
    await engine.start()
    disk.fail("sync", at=3)  # the commit's, the checkpoint's of the WAL, its of the file
    await engine.journal.append([draft("a")])
    done = disk.calls
    assert (await raised(Unavailable, engine.journal.append([draft("b")]))).code == "CD5009"
    await engine.close()
    assert disk.calls == done
    disk.close()


@pytest.mark.parametrize("at", range(1, 8))
async def test_a_start_that_meets_a_failed_sync_syncs_nothing_more(at: int) -> None:
    """On a file whose process died: its WAL is written anew, and then read."""
    disk = Disk(at)
    first = disk.open_engine(lambda: NOW)
    await first.start()
    await first.journal.append(drafts(3))
    engine = disk.open_engine(lambda: NOW)
    disk.fail("sync", at)
    before = disk.syncs
    with suppress(Unavailable):
        await engine.start()
    failed = disk.syncs - before >= at
    assert disk.syncs == before + at if failed else disk.syncs == before + 4
    assert failed == (at <= 4)
    last = disk.open_engine(lambda: NOW)
    await last.start()
    assert await last.journal.head(NORTH) == 3
    disk.close()


@pytest.mark.parametrize("at", range(1, 8))
async def test_a_file_whose_making_met_a_failed_sync_is_made_by_the_next_start(at: int) -> None:
    disk = Disk(at)
    engine = disk.open_engine(lambda: NOW)
    disk.fail("sync", at)
    with suppress(Unavailable):
        await engine.start()
    if at % 2:
        disk.power_cut()
    again = disk.open_engine(lambda: NOW)
    await again.start()
    assert await again.journal.append([draft("a")]) == [Kept(Position(1))]
    assert disk.integrity() == ["ok"]
    disk.close()


async def test_a_disk_that_is_full_at_a_checkpoint_stops_nothing() -> None:
    """The WAL holds all of it: what was kept stays kept, and the next commit tries again."""
    disk = Disk(1, checkpoint_pages=10)
    engine = disk.open_engine(lambda: NOW)
    await engine.start()
    await engine.journal.append([draft("a")])
    for number in range(40):
        disk.fail("write", error=errno.ENOSPC, on=str(PATH))
        await engine.journal.append([draft(f"k{number}")])
    disk.mend()
    await engine.journal.append([draft("z")])
    grown = len(disk.directory.files[f"{PATH}-wal"].view)
    await engine.journal.append([draft("y")])
    assert len(disk.directory.files[f"{PATH}-wal"].view) == grown
    disk.power_cut()
    last = disk.open_engine(lambda: NOW)
    await last.start()
    assert await last.journal.head(NORTH) == 43
    assert disk.integrity() == ["ok"]
    disk.close()
