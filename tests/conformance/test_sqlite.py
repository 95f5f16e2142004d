"""What only the embedded engine promises: its file, its lock, its one writer, and what a crash leaves."""

from __future__ import annotations

import asyncio
import random
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from crossdock.engines.migrations import known
from crossdock.engines.sqlite import files
from crossdock.engines.sqlite.database import open_writer
from crossdock.engines.sqlite.engine import SqliteEngine
from crossdock.engines.sqlite.files import filesystem
from crossdock.engines.sqlite.journal import append_all
from crossdock.engines.sqlite.statements import text
from crossdock.engines.sqlite.writer import Writer
from crossdock.model.entry import Kept
from crossdock.model.errors import Unavailable
from crossdock.model.ids import START, Position
from crossdock.model.limits import PENDING_APPENDS_MAX
from crossdock.testing.samples import NORTH, NOW, draft, drafts, raised

APPENDER = Path(__file__).with_name("appender.py")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "journal.db"


@pytest.fixture
async def engine(path: Path) -> AsyncIterator[SqliteEngine]:
    engine = SqliteEngine(path, lambda: NOW)
    await engine.start()
    yield engine
    await engine.close()


def shape(scripts: list[str]) -> list[tuple[object, ...]]:
    connection = apsw.Connection(":memory:")
    for script in scripts:
        connection.execute(script)
    rows = connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name").fetchall()
    # A column that was added stands in the text as the migration wrote it: words and signs count, not the lines.
    return [(kind, name, re.findall(r"\w+|[^\w\s]", sql or "")) for kind, name, sql in rows]


def test_the_schema_is_the_sum_of_the_migrations() -> None:
    assert shape([text("schema.sql")]) == shape([one.text for one in known("crossdock.engines.sqlite")])


async def test_the_files_are_for_their_owner_alone(engine: SqliteEngine, path: Path) -> None:
    await engine.journal.append(drafts(1))
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert {one.name: one.stat().st_mode & 0o777 for one in path.parent.iterdir()} == {
        name: 0o600 for name in ("journal.db", "journal.db-wal", "journal.db-shm", "journal.db.lock")
    }


async def test_every_directory_that_was_made_is_synced_into_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(files, "sync_directory", synced.append)
    files.prepare(tmp_path / "a" / "b" / "journal.db")
    assert sorted(synced) == [tmp_path, tmp_path / "a"]
    files.prepare(tmp_path / "a" / "b" / "journal.db")
    assert len(synced) == 2


async def test_two_engines_never_own_one_file(engine: SqliteEngine, path: Path) -> None:
    second = SqliteEngine(path, lambda: NOW)
    assert (await raised(Unavailable, second.start())).code == "CD5005"
    await engine.close()
    await second.start()
    await second.close()


async def test_everything_is_well_with_a_fresh_database(engine: SqliteEngine) -> None:
    assert [one.code for one in await engine.findings() if not one.ok] == []


@pytest.mark.parametrize("script", ["CREATE TABLE other (a)", "PRAGMA application_id = 7", "PRAGMA user_version = 99"])
async def test_a_file_that_is_not_ours_is_refused(path: Path, script: str) -> None:
    path.parent.mkdir()
    if "version" in script:
        open_writer(path).close()
    connection = apsw.Connection(str(path))
    connection.execute(script)
    connection.close()
    engine = SqliteEngine(path, lambda: NOW)
    assert (await raised(Unavailable, engine.start())).code == "CD5004"


def test_the_filesystem_is_that_of_the_innermost_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"none / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n")
    assert filesystem(tmp_path / "a.db", mounts) == "nfs4"
    assert filesystem(Path("/etc/hosts"), mounts) == "ext4"


async def test_the_wal_is_truncated_at_close(engine: SqliteEngine, path: Path) -> None:
    await engine.journal.append(drafts(50))
    await engine.close()
    wal = path.with_name("journal.db-wal")
    assert not wal.exists() or wal.stat().st_size == 0


async def test_no_answer_comes_before_the_commit(path: Path) -> None:
    """The commit hook looks at every waiting call: none may have been answered yet."""
    path.parent.mkdir()
    connection = open_writer(path)
    calls: list[asyncio.Task[object]] = []
    early: list[bool] = []
    connection.set_commit_hook(lambda: bool(early.append(any(one.done() for one in calls))))
    writer = Writer(connection, append_all)
    calls.extend(asyncio.ensure_future(writer.append([draft(f"k{n}")], lambda _: None)) for n in range(50))
    await asyncio.gather(*calls)
    await writer.close()
    assert early[0] is False


async def test_a_refused_commit_acknowledges_nobody(path: Path) -> None:
    path.parent.mkdir()
    connection = open_writer(path)
    pages = int(connection.pragma("page_count"))
    connection.pragma("max_page_count", pages + 4)
    writer = Writer(connection, append_all)
    big = [[draft(f"k{n}")] for n in range(2_000)]
    answers = await asyncio.gather(*(writer.append(one, lambda _: None) for one in big), return_exceptions=True)
    kept = [one for one in answers if not isinstance(one, BaseException)]
    refused = [one for one in answers if isinstance(one, Unavailable)]
    assert refused
    assert {one.code for one in refused} == {"CD5002"}
    assert len(kept) + len(refused) == len(big)
    await writer.do(lambda one: one.pragma("max_page_count", 100_000))
    assert isinstance((await writer.append([draft("after")], lambda _: None))[0], Kept)
    count = await writer.do(lambda one: one.execute("SELECT count(*), max(position) FROM entries").fetchall()[0])
    assert count == (len(kept) + 1, len(kept) + 1)
    await writer.close()


async def test_a_draft_that_cannot_be_written_fails_alone(engine: SqliteEngine) -> None:
    bad = draft("bad")
    object.__setattr__(bad, "schema_major", "two")
    answers = await asyncio.gather(
        engine.journal.append([draft("a")]),
        engine.journal.append([draft("b"), bad]),
        engine.journal.append([draft("c")]),
        return_exceptions=True,
    )
    assert isinstance(answers[1], apsw.ConstraintError)
    assert sorted(one.event_id for one in await engine.journal.read(NORTH, START, 9)) == ["a", "c"]
    assert await engine.journal.head(NORTH) == 2


async def test_what_waits_is_bounded(engine: SqliteEngine) -> None:
    first = asyncio.ensure_future(engine.journal.append(drafts(PENDING_APPENDS_MAX)))
    await asyncio.sleep(0)
    error = await raised(Unavailable, engine.journal.append([draft("one more")]))
    assert error.code == "CD5002"
    assert len(await first) == PENDING_APPENDS_MAX
    assert (await engine.journal.append([draft("now")]))[0] == Kept(Position(PENDING_APPENDS_MAX + 1))


async def test_a_slow_transaction_hides_what_comes_after_it(path: Path) -> None:
    """The late writer: while a transaction that has given positions is open, no reader sees those after them."""
    engine = SqliteEngine(path, lambda: NOW)
    await engine.start()
    await engine.journal.append([draft("first")])
    other = open_writer(path)
    other.execute("BEGIN IMMEDIATE")
    append_all(other, [draft("slow")])
    later = asyncio.ensure_future(engine.journal.append([draft("later")]))
    for _ in range(20):
        assert [one.event_id for one in await engine.journal.read(NORTH, START, 9)] == ["first"]
    other.execute("COMMIT")
    other.close()
    assert await later == [Kept(Position(3))]
    assert [one.event_id for one in await engine.journal.read(NORTH, Position(1), 9)] == ["slow", "later"]
    await engine.close()


async def test_what_was_acknowledged_survives_kill_9(path: Path) -> None:
    dice = random.Random(5)
    acknowledged: set[str] = set()
    for run in range(5):
        with subprocess.Popen(
            [sys.executable, str(APPENDER), str(path), str(run)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for _ in range(dice.randrange(50, 800)):
                acknowledged.add(process.stdout.readline().strip())
            process.kill()
            rest = process.stdout.read()
            acknowledged.update(line for line in rest.split("\n")[:-1] if line)
    engine = SqliteEngine(path, lambda: NOW)
    await engine.start()
    entries = await engine.journal.read(NORTH, START, 1_000_000)
    findings = await engine.findings()
    await engine.close()
    assert acknowledged <= {entry.event_id for entry in entries}
    assert [entry.position for entry in entries] == list(range(1, len(entries) + 1))
    assert all(one.ok for one in findings)
