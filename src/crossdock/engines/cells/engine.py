"""The engine over several cells: each is a PostgreSQL that wholly owns its stores, and a directory says which. For
processes that take in, and that manage; one that delivers is pinned to a cell, and uses that cell's own engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NoReturn

from crossdock.engines.cells.directory import Directory
from crossdock.engines.cells.homes import Homes, of_cell
from crossdock.engines.cells.journal import CellsJournal
from crossdock.engines.cells.lanes import CellsLanes
from crossdock.engines.cells.registry import CellsRegistry
from crossdock.engines.postgres.engine import PostgresEngine
from crossdock.journal.slots import Standing
from crossdock.model.errors import Bug, Unavailable
from crossdock.stores.port import Finding

AGAIN_SECONDS = 2.0  # how often a cell that was away at the start is tried again


class CellsEngine:
    """`stores.port.Engine` over named cells. `place` names the cell of new stores; '' takes the one with the fewest.

    A cell that is away, or cannot be served as it is, makes only the calls Unavailable that need it, and is tried again
    until it can. `told` hears which and why. The directory must be there at the start; after that, only for stores that
    this process has not met."""

    name = "cells"

    def __init__(
        self,
        cells: Mapping[str, PostgresEngine],
        directory: Directory,
        place: str = "",
        told: Callable[[str, Unavailable], None] = lambda cell, error: None,
    ) -> None:
        self._told = told
        self._why: dict[str, Unavailable] = {}
        self._cells = dict(cells)
        self._directory = directory
        self._homes = Homes(self._cells, directory, place)
        self._journal = CellsJournal(self._homes)
        self._lanes = CellsLanes(self._homes)
        self._registry = CellsRegistry(self._homes)
        self._late: dict[str, asyncio.Task[None]] = {}

    @property
    def journal(self) -> CellsJournal:
        return self._journal

    @property
    def lanes(self) -> CellsLanes:
        return self._lanes

    @property
    def registry(self) -> CellsRegistry:
        return self._registry

    @property
    def slots(self) -> NoSlots:
        return NoSlots()

    async def start(self) -> None:
        """Unavailable without the directory (CD5002), or where no cell can be served: what the first one says."""
        await self._directory.open()
        try:
            answers = await asyncio.gather(*(one.start() for one in self._cells.values()), return_exceptions=True)
            for name, error in zip(self._cells, answers, strict=True):
                if isinstance(error, Unavailable):
                    self._why[name] = of_cell(name, error)
                elif error is not None:
                    raise error
            if len(self._why) == len(self._cells):
                raise next(iter(self._why.values()))
        except BaseException:
            await self.close()
            raise
        for name, why in self._why.items():
            self._told(name, why)
            self._late[name] = asyncio.create_task(self._start_late(name), name=f"crossdock cell {name}")

    async def _start_late(self, name: str) -> None:
        while name in self._why:
            await asyncio.sleep(AGAIN_SECONDS)
            try:
                await self._cells[name].start()
            except Unavailable as error:
                if error.code != self._why[name].code:
                    self._told(name, of_cell(name, error))
                self._why[name] = of_cell(name, error)
            else:
                del self._why[name]

    async def close(self) -> None:
        for task in self._late.values():
            task.cancel()
        await asyncio.gather(*self._late.values(), return_exceptions=True)
        self._late.clear()
        await asyncio.gather(*(one.close() for one in self._cells.values()))
        await self._directory.close()

    async def writable(self) -> None:
        """Returns when a cell would take a write: one that is away must not take the process from the others."""
        answers = await asyncio.gather(*(one.writable() for one in self._cells.values()), return_exceptions=True)
        if None not in answers:
            raise next(error for error in answers if error is not None)

    async def findings(self) -> Sequence[Finding]:
        """Those of the directory and of each cell, with its name. One that does not answer is none that refuses to
        serve."""
        found: list[Finding] = []
        places = {"The directory": self._directory.findings}
        places |= {f"Cell {name}": engine.findings for name, engine in self._cells.items() if name not in self._why}
        for place, ask in places.items():
            try:
                found += [
                    Finding(one.code, one.ok, one.fatal, f"{place}: {one.what}", one.remedy) for one in await ask()
                ]
            except Unavailable as error:
                found.append(Finding(error.code, False, False, f"{place}: {error.message}", error.remedy))
        return [*found, *(Finding(why.code, False, False, why.message, why.remedy) for why in self._why.values())]


class NoSlots:
    """Slots belong to one cell: whoever wants any here was wired wrongly."""

    async def beat(self, member: str) -> Standing:
        _unpinned()

    async def claim(self, member: str, at_most: int) -> Mapping[int, int]:
        _unpinned()

    async def release(self, member: str, slots: Collection[int]) -> None:
        _unpinned()

    async def leave(self, member: str) -> None:
        _unpinned()


def _unpinned() -> NoReturn:
    raise Bug("CD5027", "A process that is pinned to no cell wants slots.", remedy="Set CROSSDOCK_CELL for it.")
