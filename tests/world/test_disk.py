"""The simulated disk: what a cut, a crash and a failed sync leave, and that it does the same again."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import astuple

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.testing.samples import NOW
from crossdock.testing.world.disk import PATH, Disk
from crossdock.testing.world.platter import Change, Directory, Fate, File, Manner, Truncated, Written, make, survivors

LENGTH = 9_000
writes = st.builds(
    lambda offset, size, fill: Written(offset, bytes([fill]) * size),
    st.integers(0, LENGTH - 1),
    st.integers(1, LENGTH),
    st.integers(1, 255),
)
changes = st.lists(st.one_of(writes, writes, st.builds(Truncated, st.integers(0, LENGTH))), max_size=6)
seeds = st.integers(0, 10_000)


def content(*made: Change) -> bytearray:
    found = bytearray()
    for change in made:
        make(found, change)
    return found


@given(changes, changes, seeds)
def test_what_was_synced_survives_where_nothing_was_written_since(
    synced: list[Change], since: list[Change], seed: int
) -> None:
    file, touched = File(), set[int]()
    for change in synced:
        file.change(change)
    file.sync()
    before = bytes(file.view)
    for change in since:
        file.change(change)
        offset, rest = astuple(change) if isinstance(change, Written) else (change.size, b"x" * 2 * LENGTH)
        touched.update(range(offset, offset + len(rest)))
    file.cut(random.Random(seed))
    kept = [(place, byte) for place, byte in enumerate(before) if place not in touched]
    assert all(file.view[place] == byte for place, byte in kept)


@given(changes, seeds)
def test_a_cut_leaves_nothing_that_waits_and_a_second_cut_changes_nothing(since: list[Change], seed: int) -> None:
    file = File()
    for change in since:
        file.change(change)
    file.cut(random.Random(seed))
    left = bytes(file.view)
    file.cut(random.Random(seed + 1))
    assert bytes(file.view) == left


@given(changes)
def test_all_and_nothing_are_what_they_say(since: list[Change]) -> None:
    assert survivors(since, Manner.ALL, random.Random(1)) == since
    assert survivors(since, Manner.NOTHING, random.Random(1)) == []


def test_cuts_keep_lose_tear_and_reorder() -> None:
    """Two writes to the same place and one beside it: every mix of what the disk may hold comes up."""
    first, second, beside = Written(0, b"1" * 8_192), Written(0, b"2" * 8_192), Written(8_192, b"3" * 8_192)
    seen: set[str] = set()
    for seed in range(400):
        file = File()
        for change in (first, second, beside):
            file.change(change)
        file.cut(random.Random(seed))
        held, tail = bytes(file.view[:8_192]), bytes(file.view[8_192:])
        whole = {b"": "lost", first.data: "the earlier", second.data: "the later"}.get(held, "torn")
        seen.add(f"{whole}, then {'kept' if tail == beside.data else 'lost' if not tail.strip(bytes(1)) else 'torn'}")
        seen.add("noise" if set(held + tail) - set(b"123\0") else "no noise")
    assert {"lost, then lost", "the later, then kept", "torn, then torn", "noise", "no noise"} <= seen
    assert {"the earlier, then lost", "the earlier, then kept", "the later, then torn"} <= seen


@pytest.mark.parametrize("fate", Fate)
def test_a_failed_sync_may_lose_what_a_later_one_says_it_wrote(fate: Fate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossdock.testing.world.platter.FATES", (fate,) if fate is not Fate.MIXED else tuple(Fate))
    ends: set[tuple[bytes, bytes]] = set()
    for seed in range(60):
        file = File()
        file.change(Written(0, b"new"))
        file.sync_failed(random.Random(seed))
        shown = bytes(file.view)
        file.sync()
        file.cut(random.Random(0))
        ends.add((shown, bytes(file.view)))
    expected = {
        Fate.DIRTY: {(b"new", b"new")},
        Fate.SHOWN: {(b"new", b"")},
        Fate.DROPPED: {(b"", b"")},
        Fate.MIXED: {(b"new", b"new"), (b"new", b""), (b"", b"")},
    }
    assert ends == expected[fate]


def test_a_name_is_kept_or_lost_until_its_directory_is_synced() -> None:
    made, removed = set(), set()
    for seed in range(60):
        directory = Directory()
        directory.link("old").change(Written(0, b"x"))
        directory.files["old"].sync()
        directory.sync()
        directory.link("new")
        directory.unlink("old")
        directory.cut(random.Random(seed))
        made.add("new" in directory.files)
        removed.add("old" not in directory.files)
        if "old" in directory.files:
            assert directory.files["old"].view == b"x"
    assert made == removed == {True, False}


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk(3)
    yield disk
    disk.close()


async def test_two_connections_of_one_process_lock_each_other_out(disk: Disk) -> None:
    await disk.open_engine(lambda: NOW).start()
    one, two = disk.connection(), disk.connection()
    one.execute("BEGIN IMMEDIATE")
    with pytest.raises(apsw.BusyError):
        two.execute("BEGIN IMMEDIATE")
    one.execute("ROLLBACK")
    two.execute("BEGIN IMMEDIATE")
    two.execute("ROLLBACK")


async def test_the_engine_has_the_products_modes_there(disk: Disk) -> None:
    engine = disk.open_engine(lambda: NOW)
    await engine.start()
    assert [one.code for one in await engine.findings() if not one.ok] == []
    assert (await engine._writer.do(lambda one: one.pragma("journal_mode"))) == "wal"  # type: ignore[union-attr]
    assert (await engine._writer.do(lambda one: one.pragma("synchronous"))) == 2  # type: ignore[union-attr]


async def test_sqlite_reads_the_worlds_clock(disk: Disk) -> None:
    await disk.open_engine(lambda: NOW).start()
    assert disk.connection().execute("SELECT unixepoch('subsec')").fetchall() == [(NOW / 1_000,)]


@pytest.mark.parametrize(
    ("kind", "error", "raised"),
    [
        ("write", errno.EIO, apsw.IOError),
        ("write", errno.ENOSPC, apsw.FullError),
        ("sync", errno.EIO, apsw.IOError),
        ("sync", errno.ENOSPC, apsw.IOError),
    ],
)
async def test_a_fault_comes_at_its_call_and_no_other(
    disk: Disk, kind: str, error: int, raised: type[apsw.Error]
) -> None:
    await disk.open_engine(lambda: NOW).start()
    one = disk.connection()
    one.execute("PRAGMA synchronous = FULL")
    disk.fail(kind, at=2, error=error)  # type: ignore[arg-type]
    with pytest.raises(raised):
        one.execute("; ".join(f"CREATE TABLE t{number} (a)" for number in range(3)))
    one.execute("CREATE TABLE after (a)")


async def test_a_dead_process_does_nothing_any_more(disk: Disk) -> None:
    engine = disk.open_engine(lambda: NOW)
    await engine.start()
    down: list[int] = []
    disk.on_down = lambda: down.append(disk.calls)
    from_then = disk.calls
    asking = asyncio.ensure_future(engine.writable())
    await asyncio.sleep(0)
    disk.crash()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not asking.done()
    assert (down, disk.calls) == ([from_then], from_then)
    asking.cancel()


RUN = """
import asyncio
from crossdock.model.ids import StoreId
from crossdock.stores.port import Change
from crossdock.testing.samples import NOW, audit, draft
from crossdock.testing.world.disk import Disk

async def main():
    disk = Disk(11, checkpoint_pages=20)
    for life in range(12):
        engine = disk.open_engine(lambda: NOW)
        await engine.start()
        disk.power_cut(after=disk.dice.randint(1, 40))
        for number in range(20):
            added = audit(f"{life}-{number}"), audit(f"{number}", StoreId("s1")), audit(f"{number}", StoreId("s2"))
            drafts = [draft(f"{life}-{number}", store=StoreId(f"s{m}")) for m in range(8)]
            both = engine.journal.append(drafts), engine.registry.commit(Change((), added))
            asking = asyncio.gather(*both)
            while disk.up and not asking.done():
                await asyncio.sleep(0)
            asking.cancel()
    engine = disk.open_engine(lambda: NOW)
    await engine.start()
    print(disk.trace, disk.calls, [await engine.journal.head(StoreId(f"s{m}")) for m in range(8)])
    await engine.close()
    disk.close()

asyncio.run(main())
"""


def test_the_same_seed_gives_the_same_calls_in_another_process() -> None:
    seen = {
        subprocess.run(
            [sys.executable, "-c", RUN],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(3)
    }
    assert len(seen) == 1
    assert int(seen.pop().split()[1]) > 200


async def test_no_real_file_holds_the_data(disk: Disk) -> None:
    engine = disk.open_engine(lambda: NOW)
    await engine.start()
    assert not PATH.exists()
    assert {one.name: one.stat().st_size for one in disk._ground.iterdir()} == {"anchor": 0}
