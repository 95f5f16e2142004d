"""What a process knows of where stores are: homes that it remembers, cells that answer, and one more try where a store
has moved meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import TypeVar

from crossdock.engines.cells.directory import Directory, Home
from crossdock.engines.postgres.engine import PostgresEngine
from crossdock.model.errors import Bug, Unavailable
from crossdock.model.ids import StoreId

REACH_SECONDS_MAX = 2.0
HOMES_KNOWN_MAX = 50_000  # some hundred bytes each; a store that is forgotten costs a look at the directory
MOVING = "CD5024"
AWAY = frozenset({"CD5002", "CD5009", "CD5021", "CD5040"})
"""What a cell says, or is said of it, that does not answer or must not be used now."""
T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


class Remembered(dict[K, V]):
    """At most so many; what was learned first is forgotten first."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def learn(self, key: K, value: V) -> None:
        self.pop(key, None)
        self[key] = value
        if len(self) > self._most:
            del self[next(iter(self))]


def of_cell(cell: str, error: Unavailable) -> Unavailable:
    """The same, with the name of the cell that it comes from."""
    return Unavailable(
        error.code, f"Cell {cell}: {error.message}", remedy=error.remedy, retry_after_ms=error.retry_after_ms
    )


class Homes:
    """`first` is the cell of what has no home: the platform's own rows, and stores that nobody has placed."""

    def __init__(self, cells: Mapping[str, PostgresEngine], directory: Directory, place: str = "") -> None:
        self.cells = cells
        self.first = next(iter(cells))
        self.directory = directory
        self._places = [place] if place else list(cells)
        self._known: Remembered[StoreId, Home] = Remembered(HOMES_KNOWN_MAX)

    def known(self, store: StoreId) -> Home | None:
        """As far as this process remembers."""
        return self._known.get(store)

    def forget(self, stores: Iterable[StoreId]) -> None:
        for store in stores:
            self._known.pop(store, None)

    async def of(self, store: StoreId) -> Home | None:
        """None for a store that the directory does not have."""
        return self._known.get(store) or await self.anew(store)

    async def anew(self, store: StoreId) -> Home | None:
        """As the directory says now."""
        return (await self.learn([store])).get(store)

    async def learn(self, stores: Collection[StoreId]) -> dict[StoreId, Home]:
        found = await self.directory.homes(stores)
        for store, home in found.items():
            self._known.learn(store, home)
        return found

    async def among(self, stores: Collection[StoreId]) -> dict[StoreId, Home]:
        """The homes of those that have one; those that are not remembered in one look."""
        unknown = [store for store in stores if store not in self._known]
        found = await self.learn(unknown) if unknown else {}
        return {store: home for store in stores if (home := found.get(store) or self._known.get(store)) is not None}

    async def place(self, store: StoreId) -> Home:
        """The home of a store that is being made."""
        home = await self.directory.place(store, self._places)
        self._known.learn(store, home)
        return home

    def engine(self, home: Home | None) -> PostgresEngine:
        """Unavailable (CD5028) for a cell that this process has not been told of."""
        name = self.first if home is None else home.cell
        if name not in self.cells:
            raise Unavailable(
                "CD5028",
                f"The directory names the cell {name}, which is not among this process's cells.",
                remedy="Add it to CROSSDOCK_CELLS, and start the process again.",
            )
        return self.cells[name]

    async def at_home(self, store: StoreId, call: Callable[[PostgresEngine, Home | None], Awaitable[T]]) -> T:
        """The call at the store's home; once more where the store has moved since it was looked up."""
        home = await self.of(store)
        try:
            return await self._call(call, home)
        except Unavailable as error:
            if error.code != MOVING:
                raise
            fresh = await self.anew(store)
            if fresh == home:
                raise
        return await self._call(call, fresh)

    async def _call(self, call: Callable[[PostgresEngine, Home | None], Awaitable[T]], home: Home | None) -> T:
        engine = self.engine(home)
        try:
            return await call(engine, home)
        except Unavailable as error:
            if error.code not in AWAY:
                raise
            raise of_cell(self.first if home is None else home.cell, error) from error

    async def by_cell(self, stores: Collection[StoreId]) -> dict[str, set[StoreId]]:
        homes = await self.among(stores)
        found: dict[str, set[StoreId]] = {}
        for store in stores:
            home = homes.get(store)
            self.engine(home)
            found.setdefault(self.first if home is None else home.cell, set()).add(store)
        return found

    async def one_cell(self, stores: Collection[StoreId]) -> str:
        """The cell that all of them are in. Bug (CD5027) for stores of several cells: no transaction crosses cells."""
        cells = await self.by_cell(stores)
        if len(cells) > 1:
            raise Bug("CD5027", f"One call names stores of {len(cells)} cells: {', '.join(sorted(cells))}.")
        return next(iter(cells), self.first)

    async def lives_in(self, cell: str, stores: Collection[StoreId]) -> set[StoreId]:
        """Those of the stores that are at home in the cell; a store without a home is where it was found."""
        homes = await self.among(stores)
        return {store for store in stores if store not in homes or homes[store].cell == cell}

    async def everywhere(self, call: Callable[[str, PostgresEngine], Awaitable[T]]) -> dict[str, T]:
        """The answer of each cell, asked at once. Raises what a cell raises: a list with a hole must not look whole."""

        async def one(name: str) -> T:
            try:
                return await call(name, self.cells[name])
            except Unavailable as error:
                raise of_cell(name, error) from error

        names = list(self.cells)
        answers = await asyncio.gather(*(one(name) for name in names))
        return dict(zip(names, answers, strict=True))

    async def reachable(self, call: Callable[[str, PostgresEngine], Awaitable[T]]) -> dict[str, T]:
        """The answers of the cells that answer in time: one that hangs must not hold up what the others say."""
        names = list(self.cells)
        calls = (asyncio.wait_for(call(name, self.cells[name]), REACH_SECONDS_MAX) for name in names)
        answers = await asyncio.gather(*calls, return_exceptions=True)
        found: dict[str, T] = {}
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, BaseException):
                if not isinstance(answer, Unavailable | TimeoutError):
                    raise answer
            else:
                found[name] = answer
        return found


class Finder(Remembered[str, str]):
    """Looks an id up that does not say its store: in the cell where it was last, else in every cell at once.

    A cell that does not answer may have it, so that such a look-up is Unavailable, never "unknown", unless another cell
    has it. A copy that a store left behind where it was does not count."""

    def __init__(self, homes: Homes) -> None:
        super().__init__(HOMES_KNOWN_MAX)
        self._homes = homes
        self._asking: set[asyncio.Task[object]] = set()

    async def find(
        self, id: str, ask: Callable[[PostgresEngine], Awaitable[V | None]], store_of: Callable[[V], StoreId | None]
    ) -> V | None:
        known = self.get(id)
        if known is not None:
            with suppress(Unavailable):  # it may have moved to another cell
                found = await ask(self._homes.cells[known])
                if found is not None and await self._at_home(known, store_of(found)):
                    return found
        return await self._everywhere(id, ask, store_of)

    async def _everywhere(
        self, id: str, ask: Callable[[PostgresEngine], Awaitable[V | None]], store_of: Callable[[V], StoreId | None]
    ) -> V | None:
        async def one(name: str) -> tuple[str, V | None]:
            try:
                return name, await ask(self._homes.cells[name])
            except Unavailable as error:
                raise of_cell(name, error) from error

        # Those that are left when one has it end by themselves: nothing is cancelled on a server.
        asked = {asyncio.create_task(one(name)) for name in self._homes.cells}
        for task in asked:
            self._asking.add(task)
            task.add_done_callback(self._heard)
        silent: Unavailable | None = None
        for answer in asyncio.as_completed(asked):
            try:
                name, found = await answer
            except Unavailable as error:
                silent = error
                continue
            if found is not None and await self._at_home(name, store_of(found)):
                self.learn(id, name)
                return found
        if silent is not None:
            raise silent
        return None

    def _heard(self, task: asyncio.Task[object]) -> None:
        self._asking.discard(task)
        if not task.cancelled():
            task.exception()

    async def _at_home(self, cell: str, store: StoreId | None) -> bool:
        return store is None or store in await self._homes.lives_in(cell, [store])
