"""News on PostgreSQL outlive what the server has against them, and hold nobody up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

import psycopg
import pytest

from crossdock.engines.postgres import news
from crossdock.engines.postgres.engine import PostgresEngine
from crossdock.model.entry import Kept
from crossdock.model.errors import Unavailable
from crossdock.model.ids import Position, StoreId
from crossdock.testing.samples import NORTH, NOW, draft
from postgres import House


class Valve:
    """A socket between a process and its server that can be shut: nothing comes through, and nobody is told."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.writers: list[asyncio.StreamWriter] = []

    async def pump(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                await self.open.wait()
                to.write(data)
                await to.drain()
            to.close()

    async def join(self, server: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_unix_connection(str(server))
        self.writers += (writer, behind_writer)
        for ends in ((reader, behind_writer), (behind_reader, writer)):
            task = asyncio.create_task(self.pump(*ends))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def end(self) -> None:
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in self.writers:
            writer.transport.abort()
        await asyncio.sleep(0)  # the transports close in the next round of the loop


@asynccontextmanager
async def valve_before(url: str) -> AsyncIterator[tuple[Valve, str]]:
    """A valve, and the address through it."""
    parts = urlsplit(url)
    asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
    valve, socket = Valve(), f".s.PGSQL.{asked['port']}"
    with TemporaryDirectory() as folder:

        async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await valve.join(Path(asked["host"]) / socket, reader, writer)

        front = await asyncio.start_unix_server(joined, str(Path(folder) / socket))
        query = f"host={quote(folder, safe='')}&port={asked['port']}"
        try:
            yield valve, urlunsplit(parts._replace(query=query))
        finally:
            front.close()
            await valve.end()


@pytest.fixture
def local(postgres_house: House) -> House:
    if "host=%2F" not in postgres_house.app:
        pytest.skip("the server is not reached through a socket file")
    return postgres_house


def listeners(house: House) -> int:
    with psycopg.connect(house.admin, autocommit=True) as admin:
        found = admin.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"
        ).fetchone()
    return found[0] if found else 0


async def listening(engine: PostgresEngine, house: House) -> asyncio.Queue[frozenset[StoreId]]:
    heard: asyncio.Queue[frozenset[StoreId]] = asyncio.Queue()
    engine.journal.on_news(heard.put_nowait)
    async with asyncio.timeout(30):
        while not listeners(house):
            await asyncio.sleep(0.01)
    return heard


async def test_a_server_that_went_silent_holds_up_no_end(local: House) -> None:
    async with valve_before(local.app) as (valve, url):
        engine = PostgresEngine(url, lambda: NOW)
        await engine.start()
        await listening(engine, local)
        valve.open.clear()
        closing = asyncio.ensure_future(engine.close())
        done, _ = await asyncio.wait({closing}, timeout=60)
        assert done
        await closing


async def test_who_only_listens_notices_that_the_server_went_silent_and_listens_anew(
    local: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news, "QUIET_SECONDS_MAX", 0.1)
    monkeypatch.setattr(news, "ANSWER_SECONDS_MAX", 0.2)
    monkeypatch.setattr(news, "LISTEN_AGAIN_SECONDS", 0.05)
    async with valve_before(local.app) as (valve, url):
        engine, other = PostgresEngine(url, lambda: NOW), PostgresEngine(local.app, lambda: NOW)
        await engine.start()
        await other.start()
        heard = await listening(engine, local)
        first = engine._news._own
        valve.open.clear()
        async with asyncio.timeout(30):
            while engine._news._own == first:
                await asyncio.sleep(0.3)
                valve.open.set()
            number = 0
            while heard.empty():
                number += 1
                await other.journal.append([draft(f"e{number}")])
                await asyncio.sleep(0.05)
        assert await heard.get() == frozenset({NORTH})
        await engine.close()
        await other.close()


async def test_news_that_the_server_refuses_are_lost_and_later_ones_are_not(
    postgres_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news, "LISTEN_AGAIN_SECONDS", 0.01)
    said: list[str] = []
    honest = news.cry

    def once_wrong(notes: list[list[StoreId]]) -> str:
        said.append(honest(notes))
        return "SELECT 1 / 0" if len(said) == 1 else said[-1]

    monkeypatch.setattr(news, "cry", once_wrong)
    one, other = PostgresEngine(postgres_house.app, lambda: NOW), PostgresEngine(postgres_house.app, lambda: NOW)
    await one.start()
    await other.start()
    heard: asyncio.Queue[frozenset[StoreId]] = asyncio.Queue()
    other.journal.on_news(heard.put_nowait)
    async with asyncio.timeout(30):
        number = 0
        while heard.empty():
            number += 1
            await one.journal.append([draft(f"e{number}")])
            await asyncio.sleep(0.02)
    assert len(said) > 1
    await one.close()
    await other.close()


async def test_what_a_listener_makes_of_news_changes_no_answer(postgres_house: House) -> None:
    engine = PostgresEngine(postgres_house.app, lambda: NOW)
    await engine.start()
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))

    def raises(_: frozenset[StoreId]) -> None:
        raise RuntimeError("a listener")

    engine.journal.on_news(raises)
    assert await engine.journal.append([draft("a")]) == [Kept(Position(1))]
    assert [str(fault) for fault in faults] == ["a listener"]
    await engine.close()


async def test_of_calls_that_are_written_apart_each_hears_what_befell_its_own(
    postgres_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = PostgresEngine(postgres_house.app, lambda: NOW)
    await engine.start()
    commit, groups = engine.journal._commit, list[int]()  # type: ignore[attr-defined]

    async def away_for_the_second(calls: object, more: object) -> object:
        groups.append(len(calls))  # type: ignore[arg-type]
        if len(groups) == 3:
            raise Unavailable("CD5002", "a test")
        return await commit(calls, more)

    monkeypatch.setattr(engine.journal, "_commit", away_for_the_second)
    bad = draft("bad")
    object.__setattr__(bad, "schema_major", "two")
    answers = await asyncio.gather(
        *(engine.journal.append([one]) for one in (draft("a"), draft("b"), bad, draft("c"))), return_exceptions=True
    )
    assert groups == [4, 1, 1, 1, 1]
    assert (answers[0], answers[3]) == ([Kept(Position(1))], [Kept(Position(2))])
    assert isinstance(answers[1], Unavailable)
    assert isinstance(answers[2], Exception)
    await engine.close()
