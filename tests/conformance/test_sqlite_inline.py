"""The embedded engine without threads: the same groups, in the order of the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from crossdock.engines.sqlite.engine import Machine, SqliteEngine
from crossdock.engines.sqlite.executor import Inline
from crossdock.model.entry import Kept
from crossdock.model.errors import Unavailable
from crossdock.model.ids import Position
from crossdock.testing.samples import NOW, draft, raised


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[SqliteEngine]:
    engine = SqliteEngine(tmp_path / "journal.db", lambda: NOW, Machine(Inline()))
    await engine.start()
    yield engine
    await engine.close()


async def test_no_thread_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise AssertionError(f"{thread.name} was started")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    engine = SqliteEngine(tmp_path / "journal.db", lambda: NOW, Machine(Inline()))
    await engine.start()
    await engine.journal.append([draft("a")])
    assert await engine.journal.head(draft("a").store) == 1
    await engine.close()


async def test_what_comes_in_one_step_is_one_commit(engine: SqliteEngine) -> None:
    commits: list[int] = []
    await engine._writer.do(lambda connection: connection.set_commit_hook(lambda: bool(commits.append(1))))  # type: ignore[union-attr]
    commits.clear()
    answers = await asyncio.gather(*(engine.journal.append([draft(f"k{n}")]) for n in range(50)))
    assert [one for (one,) in answers] == [Kept(Position(n)) for n in range(1, 51)]
    assert len(commits) == 1


async def test_what_waits_at_the_close_is_written(engine: SqliteEngine, tmp_path: Path) -> None:
    waiting = asyncio.ensure_future(engine.journal.append([draft("a")]))
    await asyncio.sleep(0)
    await engine.close()
    assert await waiting == [Kept(Position(1))]
    assert (await raised(Unavailable, engine.journal.append([draft("b")]))).code == "CD5009"
    await engine.close()
