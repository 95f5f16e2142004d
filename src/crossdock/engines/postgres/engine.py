"""The engine of many processes on one PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from crossdock.engines.postgres import server
from crossdock.engines.postgres.journal import PostgresJournal
from crossdock.engines.postgres.lanes import PostgresLanes
from crossdock.engines.postgres.migrate import require
from crossdock.engines.postgres.news import News
from crossdock.engines.postgres.pool import QUERIES, Pool
from crossdock.engines.postgres.registry import PostgresRegistry
from crossdock.engines.postgres.slots import PostgresSlots
from crossdock.model.ids import Instant
from crossdock.stores.port import Finding

CONNECTIONS_MAX = 8  # a group each of appends, reads and settles, one that listens, and the control plane
T = TypeVar("T")


class PostgresEngine:
    """`stores.port.Engine` on the PostgreSQL at `url` (several hosts may stand in it). It may be started once, and
    closed more than once. `named` are its queries."""

    name = "postgres"

    def __init__(
        self,
        url: str,
        clock: Callable[[], Instant],
        connections_max: int = CONNECTIONS_MAX,
        named: Mapping[str, str] = QUERIES,
    ) -> None:
        self.pool = Pool(url, connections_max, named)
        self._news = News(self.pool)
        self._journal = PostgresJournal(self.pool, self._news)
        self._lanes = PostgresLanes(self.pool)
        self._registry = PostgresRegistry(self.pool, clock, self._news.cry)
        self._slots = PostgresSlots(self.pool)
        self._talk: asyncio.Task[None] | None = None

    @property
    def journal(self) -> PostgresJournal:
        return self._journal

    @property
    def lanes(self) -> PostgresLanes:
        return self._lanes

    @property
    def registry(self) -> PostgresRegistry:
        return self._registry

    @property
    def slots(self) -> PostgresSlots:
        return self._slots

    async def start(self) -> None:
        """Unavailable CD5002 if no server answers, CD5004 if it cannot be served safely."""
        await self.pool.open()
        try:
            async with self.pool.connection() as connection:
                await server.require_safe(connection)
                await require(connection)
            self.pool.vet = server.vet
        except BaseException:
            await self.pool.close()
            raise
        self._talk = asyncio.create_task(self._news.serve(), name="crossdock news")

    async def close(self) -> None:
        """Writes what waits, and lets go of the server."""
        try:
            await self._journal.close()
            await self._lanes.close()
            if self._talk is not None:
                self._talk.cancel()
                await asyncio.wait({self._talk})
                self._talk = None
        finally:
            await self.pool.close()

    async def writable(self) -> None:
        """A transaction that may write goes through; a standby refuses it. And it would be kept: settings may have been
        changed since the start."""
        async with self.pool.connection() as connection:
            await server.vet(connection)
        async with self.pool.writes(()) as unit:
            await unit.rows("writable")

    async def findings(self) -> Sequence[Finding]:
        async with self.pool.connection() as connection:
            return [*await server.findings(connection), await server.takes_writes(connection)]
