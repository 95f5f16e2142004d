from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from crossdock import workers
from crossdock.model.errors import Invalid
from crossdock.observe.lines import Lines
from crossdock.serve import listening
from crossdock.settings import read_settings
from crossdock.workers import Supervisor, told_to_serve

SECONDS_MAX = 30
SERVES = """
import json, signal, socket, sys, time
orders = json.loads(sys.argv[1])
line = socket.socket(fileno=orders["line"])
"""
SAYS_SO = SERVES + 'line.send(b"s")\n'
WAITS = SAYS_SO + "line.recv(1)\n"  # the end of the supervisor, which here does not come


class Watched:
    """A supervisor of workers that are this script, and what it has said."""

    def __init__(self, script: str, count: int, directory: Path) -> None:
        settings = read_settings(
            data_dir=directory, port=0, database="postgresql://app@127.0.0.1/none", workers=count, drain_seconds=0
        )
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.changed = asyncio.Event()
        program = (sys.executable, "-c", script)
        self.one = Supervisor(settings, {}, listening(settings), Lines(self._hear), self._begun, program)

    def _hear(self, name: str, fields: dict[str, Any]) -> None:
        self.said.append((name, fields))
        self.changed.set()

    def _begun(self) -> None:
        self._hear("begun", {})

    async def until(self, count: int) -> None:
        async with asyncio.timeout(SECONDS_MAX):
            while len(self.said) < count:
                self.changed.clear()
                await self.changed.wait()


async def test_it_has_begun_when_every_worker_serves_and_says_so_once(tmp_path: Path) -> None:
    watched = Watched(WAITS, 3, tmp_path)
    running = asyncio.create_task(watched.one.run())
    await watched.until(1)
    assert watched.said == [("begun", {})]
    watched.one.stop.set()
    # SIGTERM ends such a worker without a drain: that is not clean.
    assert await running == 15


async def test_a_worker_that_ends_again_and_again_is_started_less_and_less_often(tmp_path: Path) -> None:
    watched = Watched(SAYS_SO + "sys.exit(7)", 1, tmp_path)
    running = asyncio.create_task(watched.one.run())
    await watched.until(5)
    watched.one.stop.set()
    assert await running in (0, 7)
    deaths = [fields for name, fields in watched.said if name == "worker.died"]
    assert [one["again_in_ms"] for one in deaths[:3]] == [100, 200, 400]
    assert {one["status"] for one in deaths} == {7}
    assert len({one["pid"] for one in deaths}) == len(deaths)


async def test_a_worker_that_cannot_start_ends_the_start_with_its_status(tmp_path: Path) -> None:
    watched = Watched(SERVES + "sys.exit(3)", 2, tmp_path)
    async with asyncio.timeout(SECONDS_MAX):
        assert await watched.one.run() == 3
    assert "begun" not in [name for name, _ in watched.said]


async def test_a_worker_that_does_not_end_is_killed_and_the_end_is_not_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "GRACE_SECONDS", 0)
    deaf = SERVES + 'signal.signal(signal.SIGTERM, signal.SIG_IGN)\nline.send(b"s")\ntime.sleep(600)\n'
    watched = Watched(deaf, 2, tmp_path)
    running = asyncio.create_task(watched.one.run())
    await watched.until(1)
    watched.one.stop.set()
    async with asyncio.timeout(SECONDS_MAX):
        assert await running == 9


async def test_workers_that_end_as_they_should_end_it_clean(tmp_path: Path) -> None:
    polite = SERVES + 'signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\nline.send(b"s")\ntime.sleep(600)\n'
    watched = Watched(polite, 2, tmp_path)
    running = asyncio.create_task(watched.one.run())
    await watched.until(1)
    watched.one.stop.set()
    async with asyncio.timeout(SECONDS_MAX):
        assert await running == 0


@pytest.mark.parametrize("text", ["", "{}", "[]", "x", '{"given": {}, "worker": 1}'])
def test_a_worker_without_orders_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="CD7009"):
        told_to_serve(text)
