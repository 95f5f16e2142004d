"""The registries of several cells as one: `stores.port.Registry`.

A change lies in one cell: that of the stores that it names. The platform's own tokens and entries lie in the cell of
the change that wrote them; a change that names no store is written in the first cell. Tokens and connections are looked
up wherever they are.
"""

from __future__ import annotations

from collections.abc import Callable

from crossdock.engines.cells.homes import Finder, Homes
from crossdock.engines.cells.marks import Marks
from crossdock.engines.postgres.engine import PostgresEngine
from crossdock.engines.refusals import stores_of_change
from crossdock.model.connection import AuditEntry, Connection, CoreEndpoint, Credential, Revision, Store, Token
from crossdock.model.errors import Bug, Unavailable
from crossdock.model.ids import ConnectionId, StoreId, TokenId
from crossdock.stores.port import AddStore, Change, Changes, RevokeToken


class CellsRegistry:
    def __init__(self, homes: Homes) -> None:
        self._homes = homes
        self._connections = Finder(homes)
        self._tokens = Finder(homes)
        self._marks = Marks()

    async def commit(self, change: Change) -> None:
        """Bug (CD5027) for a change that names stores of several cells."""
        for write in change.writes:
            if isinstance(write, AddStore):
                await self._homes.place(write.store.id)
        stores = stores_of_change(change)
        try:
            await (await self._place_of(change, stores)).registry.commit(change)
        except Unavailable as error:
            if error.code != "CD5024":
                raise
            before = await self._homes.among(stores)
            if await self._homes.learn(stores) == before:
                raise
            await (await self._place_of(change, stores)).registry.commit(change)

    async def _place_of(self, change: Change, stores: set[StoreId]) -> PostgresEngine:
        cells = set(await self._homes.by_cell(stores))
        for write in change.writes:
            if isinstance(write, RevokeToken) and await self.token(write.token) is not None:
                cells.add(self._tokens[write.token])
        if len(cells) > 1:
            raise Bug("CD5027", f"One change names rows of {len(cells)} cells: {', '.join(sorted(cells))}.")
        return self._homes.cells[next(iter(cells), self._homes.first)]

    async def stores(self, after: str = "", limit: int = 200) -> list[Store]:
        """Of all cells, by id. Unavailable (CD5002) while one of them does not answer."""
        pages = await self._homes.everywhere(lambda name, engine: self._page(name, engine, after, limit))
        return sorted((store for page in pages.values() for store in page), key=lambda one: one.id)[:limit]

    async def _page(self, cell: str, engine: PostgresEngine, after: str, limit: int) -> list[Store]:
        """The cell's own: a store that has left it may still lie there."""
        found: list[Store] = []
        while len(found) < limit:
            page = await engine.registry.stores(after, limit)
            here = await self._homes.lives_in(cell, [one.id for one in page])
            found += [one for one in page if one.id in here]
            if len(page) < limit:
                break
            after = page[-1].id
        return found

    async def store(self, store: StoreId) -> Store | None:
        return await self._homes.at_home(store, lambda engine, _: engine.registry.store(store))

    async def connections(self, store: StoreId) -> list[Connection]:
        return await self._homes.at_home(store, lambda engine, _: engine.registry.connections(store))

    async def connection(self, connection: ConnectionId) -> Connection | None:
        """Unavailable (CD5002) if no cell has it, and one that does not answer may."""
        return await self._connections.find(
            connection, lambda engine: engine.registry.connection(connection), lambda found: found.store
        )

    async def revisions(self, store: StoreId, connection: ConnectionId) -> list[Revision]:
        return await self._homes.at_home(store, lambda engine, _: engine.registry.revisions(store, connection))

    async def revision(self, store: StoreId, connection: ConnectionId, number: int) -> Revision | None:
        return await self._homes.at_home(store, lambda engine, _: engine.registry.revision(store, connection, number))

    async def credentials(self, store: StoreId, connection: ConnectionId) -> list[Credential]:
        return await self._homes.at_home(store, lambda engine, _: engine.registry.credentials(store, connection))

    async def core_endpoint(self, store: StoreId) -> CoreEndpoint | None:
        return await self._homes.at_home(store, lambda engine, _: engine.registry.core_endpoint(store))

    async def token(self, token: TokenId) -> Token | None:
        """Unavailable (CD5002) if no cell has it, and one that does not answer may."""
        return await self._tokens.find(token, lambda engine: engine.registry.token(token), lambda found: found.store)

    async def tokens(self, store: StoreId | None = None) -> list[Token]:
        """All tokens: Unavailable (CD5002) while one of the cells does not answer."""
        if store is not None:
            return await self._homes.at_home(store, lambda engine, _: engine.registry.tokens(store))
        lists = await self._homes.everywhere(lambda _, engine: engine.registry.tokens())
        found: dict[TokenId, Token] = {}
        for name, tokens in lists.items():
            here = await self._homes.lives_in(name, {one.store for one in tokens if one.store is not None})
            found |= {one.id: one for one in tokens if one.store is None or one.store in here}
        return [found[id] for id in sorted(found)]

    async def audit(self, store: StoreId | None, after: int, limit: int) -> list[AuditEntry]:
        """Each cell has an installation's log of its own: no counter crosses cells. With None it is the first cell's;
        that of another is read by a process which is pinned to it."""
        if store is not None:
            return await self._homes.at_home(store, lambda engine, _: engine.registry.audit(store, after, limit))
        return await self._homes.cells[self._homes.first].registry.audit(None, after, limit)

    def on_change(self, listener: Callable[[Change], None]) -> None:
        for engine in self._homes.cells.values():
            engine.registry.on_change(listener)

    async def changes(self, after: int | None) -> Changes:
        """Of the cells that answer; one that did not is caught up with when it does. A store that is named by a cell
        where it was not remembered to be is looked up anew."""
        async with self._marks.turn:
            before = {} if after is None else self._marks.places(after)
            found = await self._homes.reachable(lambda name, engine: engine.registry.changes(before.get(name)))
            stores: set[StoreId] = set()
            platform = False
            for name, one in found.items():
                stores |= one.stores
                platform |= one.platform
                self._forget_moved(name, one.stores)
                if after is not None and name not in before:
                    # It was never heard since somebody asked: whatever is in it may have changed.
                    stores |= {store.id for store in await self._homes.cells[name].registry.stores(limit=10_000)}
                    platform = True
            places = {**before, **{name: one.seq for name, one in found.items()}}
            return Changes(self._marks.number(places), frozenset(stores), platform)

    def _forget_moved(self, cell: str, stores: frozenset[StoreId]) -> None:
        for store in stores:
            home = self._homes.known(store)
            if home is not None and home.cell != cell:
                self._homes.forget([store])
