from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from crossdock.delivery.rounds import Deliverer
from crossdock.engines.sqlite.engine import SqliteEngine
from crossdock.journal.slots import Standing, WholeSlots
from crossdock.model.errors import Bug, Unavailable
from crossdock.serve import run
from crossdock.settings import read_settings
from crossdock.wiring import App, build

SECONDS_MAX = 30


async def ask(app: App, path: str) -> tuple[int, Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    await app.asgi({"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


def failed(answer: Any) -> list[str]:
    return [one["name"] for one in answer["checks"] if not one["ok"]]


async def test_it_is_ready_from_the_start_until_it_is_told_to_stop(tmp_path: Path) -> None:
    app = await build(read_settings(data_dir=tmp_path))
    assert (await ask(app, "/readyz"))[0] == 503
    await app.start()
    assert await ask(app, "/readyz") == (
        200,
        {
            "ready": True,
            "checks": [{"name": name, "ok": True, "why": ""} for name in ("serving", "engine", "delivering")],
        },
    )
    app.refuse_more("a test")
    status, answer = await ask(app, "/readyz")
    # Delivering may have ended by now, or not.
    assert (status, failed(answer)[:1]) == (503, ["serving"])
    assert (await ask(app, "/healthz"))[0] == 200
    await app.close()


async def test_who_delivers_is_not_ready_without_a_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_answer(_: WholeSlots, __: str) -> Standing:
        raise Unavailable("CD5002", "A test.")

    monkeypatch.setattr(WholeSlots, "beat", no_answer)
    app = await build(read_settings(data_dir=tmp_path))
    await app.start()
    status, answer = await ask(app, "/readyz")
    assert (status, failed(answer)) == (503, ["delivering"])
    await app.close()


async def test_nobody_is_ready_whose_engine_takes_no_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuses(_: SqliteEngine) -> None:
        raise Unavailable("CD5002", "A test.")

    app = await build(read_settings(data_dir=tmp_path))
    await app.start()
    monkeypatch.setattr(SqliteEngine, "writable", refuses)
    status, answer = await ask(app, "/readyz")
    assert (status, failed(answer)) == (503, ["engine"])
    await app.close()


async def test_a_process_whose_delivery_has_failed_ends_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fails(*_: object) -> None:
        raise Bug("CD5001", "A test.")

    monkeypatch.setattr(Deliverer, "run", fails)
    async with asyncio.timeout(SECONDS_MAX):
        with pytest.raises(Unavailable, match="CD5036"):
            await run(read_settings(data_dir=tmp_path, port=0), lambda _: None, asyncio.Event())
    said = capsys.readouterr().err
    assert "engine.failed engine=process code=CD5001" in said
    assert "process.stopped clean=false" in said
