"""Two cells and their directory, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

import psycopg

from crossdock.engines.cells.directory import Directory, lay
from crossdock.engines.cells.engine import CellsEngine
from crossdock.engines.postgres.engine import PostgresEngine
from crossdock.engines.postgres.migrate import login_of
from crossdock.model.errors import Unavailable
from crossdock.testing.samples import NOW
from postgres import Estate, House


@dataclass(frozen=True)
class Town:
    """Cells by name; the directory lies beside the first one's tables."""

    cells: dict[str, House]

    @property
    def directory(self) -> House:
        return next(iter(self.cells.values()))

    def clean(self) -> None:
        for house in self.cells.values():
            house.clean()
        self.tell("DELETE FROM crossdock_directory.cells_directory")

    def tell(self, statement: str, *values: object) -> None:
        with psycopg.connect(self.directory.admin, autocommit=True) as admin:
            admin.execute(statement, values)

    def put(self, store: str, cell: str) -> None:
        self.tell("INSERT INTO crossdock_directory.cells_directory (store_id, cell) VALUES (%s, %s)", store, cell)

    @asynccontextmanager
    async def engine(
        self, *cells: str, place: str = "", told: Callable[[str, Unavailable], None] = lambda cell, error: None
    ) -> AsyncIterator[CellsEngine]:
        names = cells or tuple(self.cells)
        engines = {name: PostgresEngine(self.cells[name].app, lambda: NOW) for name in names}
        engine = CellsEngine(engines, Directory(self.directory.app), place, told)
        await engine.start()
        try:
            yield engine
        finally:
            await engine.close()


@contextmanager
def town_of(estate: Estate, *names: str) -> Iterator[Town]:
    with ExitStack() as stack:
        town = Town({name: stack.enter_context(estate.copy()) for name in names})
        house = town.directory
        asyncio.run(lay(house.owner, login_of(house.app), lambda _: None))
        yield town
