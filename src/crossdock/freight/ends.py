"""The two ends of a copy, opened as they must be, and how a process that runs is asked to stop a store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from crossdock.engines.cells.homes import of_cell
from crossdock.engines.postgres.migrate import require
from crossdock.engines.sqlite import files
from crossdock.engines.sqlite.database import open_writer
from crossdock.freight.postgres import PostgresPlace, freight_pool
from crossdock.freight.sqlite import SqliteSource
from crossdock.model.errors import NotFound, Unavailable
from crossdock.model.ids import StoreId
from crossdock.model.lane import Gate


class Gates(Protocol):
    def set_gate(self, store: str, state: str) -> object:
        """Sets the gate of a store at the process that owns its database; durable when it returns."""
        ...


class AskedHold:
    """`standing.Hold` of an installation that runs: it is asked through its API."""

    still = False

    def __init__(self, gates: Gates) -> None:
        self._gates = gates

    async def close(self, store: StoreId) -> None:
        await self._ask(store, Gate.CLOSING)

    async def shut(self, store: StoreId) -> None:
        await self._ask(store, Gate.SHUT)

    async def release(self, store: StoreId) -> None:
        await self._ask(store, Gate.OPEN)

    async def _ask(self, store: StoreId, gate: Gate) -> None:
        await asyncio.to_thread(self._gates.set_gate, store, str(gate))


@asynccontextmanager
async def file_source(path: Path, *, live: bool) -> AsyncIterator[SqliteSource]:
    """NotFound (CD7030) without a file; Unavailable (CD5005) where a process has it open, unless `live`."""
    with _own(path, live):
        source = SqliteSource(path)
        try:
            yield source
        finally:
            await source.close()


@contextmanager
def _own(path: Path, live: bool) -> Iterator[None]:
    if not path.exists():
        raise NotFound("CD7030", "There is no data here.", where=str(path), remedy="Name the SQLite file.")
    if live:
        yield
        return
    lock = files.OwnerLock(path.with_name(path.name + ".lock"))
    try:
        lock.take()
    except Unavailable as error:
        raise Unavailable(
            error.code,
            error.message,
            remedy="Stop it first; or copy store by store while it runs, with --live.",
        ) from error
    try:
        files.write_wal_anew(files.LOCAL, path)
        open_writer(path).close()  # an older file gets what this release adds
        yield
    finally:
        lock.give_up()


@dataclass(slots=True)
class Cells:
    """`moving.Places` over addresses: a cell is opened when it is first needed, and closed with the stack."""

    urls: Mapping[str, str]
    stack: AsyncExitStack
    _open: dict[str, PostgresPlace] = field(default_factory=dict)

    @property
    def names(self) -> Collection[str]:
        return self.urls.keys()

    async def at(self, cell: str) -> PostgresPlace:
        if cell not in self._open:
            try:
                self._open[cell] = await self.stack.enter_async_context(postgres_place(self.urls[cell]))
            except Unavailable as error:
                raise of_cell(cell, error) from error
        return self._open[cell]


@asynccontextmanager
async def postgres_place(url: str) -> AsyncIterator[PostgresPlace]:
    """Unavailable CD5002 if no server answers, CD5030 if its schema is not this release's."""
    pool = freight_pool(url)
    await pool.open()
    try:
        async with pool.connection() as connection:
            await require(connection)
        yield PostgresPlace(pool)
    finally:
        await pool.close()
