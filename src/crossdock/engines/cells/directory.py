"""The directory of cells: store → cell, epoch. A few short statements; no transaction of it touches a cell."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from crossdock.engines.migrations import known
from crossdock.engines.postgres import server
from crossdock.engines.postgres.migrate import Login, connected, quoted
from crossdock.engines.postgres.pool import Pool
from crossdock.engines.sql import queries
from crossdock.model.errors import NotFound
from crossdock.model.ids import StoreId
from crossdock.stores.port import Finding

PACKAGE = "crossdock.engines.cells"
CONNECTIONS_MAX = 2  # homes are remembered: the directory is asked when a store is new, or has moved
NAMED = queries(PACKAGE, "queries")
TABLE = "cells_directory"
T = TypeVar("T")
SCOPE_STORES_MAX = 1_000  # of one transaction: row security looks each row's store up in the list of them all

FOUNDATION = """
CREATE SCHEMA IF NOT EXISTS crossdock_directory;
CREATE TABLE IF NOT EXISTS crossdock_directory.migrations (
    number integer NOT NULL,
    phase text NOT NULL,
    checksum text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (number, phase)
);
"""
GRANTS = """
REVOKE ALL ON SCHEMA crossdock_directory FROM :role;
REVOKE ALL ON ALL TABLES IN SCHEMA crossdock_directory FROM :role;
GRANT USAGE ON SCHEMA crossdock_directory TO :role;
GRANT SELECT, INSERT, UPDATE ON crossdock_directory.cells_directory TO :role;
"""


@dataclass(frozen=True, slots=True)
class Home:
    """Where a store is. `epoch` counts the places that it has had."""

    cell: str
    epoch: int


class Directory:
    """On the PostgreSQL at `url`. Every call may raise Unavailable (CD5002). `named` are its queries."""

    def __init__(self, url: str, named: Mapping[str, str] = NAMED) -> None:
        self.pool = Pool(url, CONNECTIONS_MAX, named)

    async def open(self) -> None:
        """Unavailable (CD5004) if its database cannot be trusted with homes, or its role is not bound by the walls."""
        await self.pool.open()
        try:
            async with self.pool.connection() as connection:
                await server.require_safe(connection)
        except BaseException:
            await self.pool.close()
            raise

    async def findings(self) -> Sequence[Finding]:
        async with self.pool.connection() as connection:
            return await server.findings(connection)

    async def close(self) -> None:
        await self.pool.close()

    async def home(self, store: StoreId) -> Home | None:
        return (await self.homes([store])).get(store)

    async def homes(self, stores: Collection[StoreId]) -> dict[StoreId, Home]:
        """Those of the stores that have one."""
        found: dict[StoreId, Home] = {}
        for some in _portions(list(stores)):
            async with self.pool.reads(some) as unit:
                found |= {StoreId(row[0]): Home(row[1], row[2]) for row in await unit.rows("homes", list(some))}
        return found

    async def listed(self, after: str = "", limit: int = 1_000) -> list[tuple[StoreId, Home]]:
        """By store."""
        async with self.pool.reads_across(TABLE) as unit:
            rows = await unit.rows("homes_after", after, limit)
        return [(StoreId(row[0]), Home(row[1], row[2])) for row in rows]

    async def place(self, store: StoreId, cells: Sequence[str]) -> Home:
        """The home of a new store: of these cells, the one with the fewest stores. A store that has one keeps it."""
        async with self.pool.reads_across(TABLE) as unit:
            emptiest = await unit.rows("emptiest", list(cells))
        async with self.pool.writes([store]) as unit:
            for (cell,) in emptiest:
                await unit.run("place", store, cell)
            for _, cell, epoch in await unit.rows("homes", [store]):
                return Home(cell, epoch)
        raise no_home(store)

    async def adopt(self, cell: str, found: Iterable[tuple[StoreId, int]]) -> int:
        """Notes stores that a cell holds already, with the epochs of their journals; those with a home keep it."""
        noted = 0
        for some in _portions(list(found)):
            stores = [store for store, _ in some]
            async with self.pool.writes(stores) as unit:
                noted += await unit.run("adopt", cell, stores, [epoch for _, epoch in some])
        return noted

    async def claim(self, store: StoreId) -> int:
        """The number of a move that begins: above every one before. NotFound (CD3004) without such a store."""
        async with self.pool.writes([store]) as unit:
            for (claimed,) in await unit.rows("claim", store):
                return int(claimed)
        raise no_home(store)

    async def settle(self, store: StoreId, was: str, now: str, epoch: int) -> bool:
        """The store, which was in the one cell, is in the other from now on, at the epoch of the move; False if it is
        not there any more, or a later move has begun."""
        async with self.pool.writes([store]) as unit:
            return bool(await unit.run("settle", store, was, now, epoch))


def _portions(rows: Sequence[T]) -> Iterable[Sequence[T]]:
    return (rows[at : at + SCOPE_STORES_MAX] for at in range(0, len(rows), SCOPE_STORES_MAX))


def no_home(store: StoreId) -> NotFound:
    return NotFound(
        "CD3004", f"The directory has no store {store}.", remedy="`crossdock db directory` notes what the cells hold."
    )


async def lay(owner_url: str, app: Login, say: Callable[[str], None]) -> None:
    """Makes or updates the directory's schema as its owner, and grants the runtime role what it needs. Done twice, the
    second does nothing."""
    async with connected(owner_url) as connection:
        await connection.execute(FOUNDATION)
        for one in known(PACKAGE):
            async with connection.transaction():
                await connection.execute("LOCK TABLE crossdock_directory.migrations IN EXCLUSIVE MODE")
                asked = "SELECT 1 FROM crossdock_directory.migrations WHERE number = $1 AND phase = $2"
                if await connection.fetchval(asked, one.step.number, str(one.step.phase)):
                    continue
                await connection.execute(one.text)
                note = "INSERT INTO crossdock_directory.migrations (number, phase, checksum) VALUES ($1, $2, $3)"
                await connection.execute(note, one.step.number, str(one.step.phase), one.checksum)
            say(f"applied {one.step} of the directory")
        await connection.execute(GRANTS.replace(":role", quoted(app.role)))
