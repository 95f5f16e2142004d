"""Transactions on a bounded pool of connections: each knows its stores, and none hangs or lies about its commit.

A backend that is cancelled while it waits for the synchronous standby answers the COMMIT with success and a warning
(PostgreSQL source, SyncRepWaitForLSN): so a transaction that takes too long is not cancelled but loses its connection,
and a COMMIT that came with a warning counts as failed. (A caller that is cancelled itself is not told anything.)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from crossdock.engines.postgres.scope import PLATFORM_STORE, READ, WRITE, opening
from crossdock.engines.sql import queries
from crossdock.model.errors import Invalid, Unavailable
from crossdock.model.ids import StoreId

Record: TypeAlias = "asyncpg.Record"
Transaction: TypeAlias = "AbstractAsyncContextManager[Unit]"

TRANSACTION_SECONDS_MAX = 10.0  # a group commit takes milliseconds: what takes this long hangs on a dead server
CONNECT_SECONDS_MAX = 5.0
ACQUIRE_SECONDS_MAX = 5.0  # all connections are busy for this long: refuse, so that what waits stays bounded
PLAN_SECONDS_MAX = 30  # a plan is made anew after that, so that it knows how the tables have grown
RETRY_AFTER_MS = 1_000

SESSION: Mapping[str, str] = {
    "application_name": "crossdock",
    "search_path": "crossdock",
    "timezone": "UTC",
    "standard_conforming_strings": "on",
    "default_transaction_isolation": "read committed",
    # An open transaction holds a store's counter row, or slots: a process that froze in one must have let go of them
    # before its lease ends, which a beat has lengthened less than BEAT_MS ago.
    "idle_in_transaction_session_timeout": "5s",
    "statement_timeout": "10s",
    # Every hot query is a walk along an index that starts with the store. A plan made while a table was small must not
    # be kept when it has grown: forbid the others, and plan once.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
    # And where an order is asked for, an index gives it: a small table's rows are cheaper to sort, until it has grown.
    "enable_sort": "off",
    "enable_incremental_sort": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
}

QUERIES = queries("crossdock.engines.postgres", "queries")

GONE = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.exceptions.OperatorInterventionError,  # shut down, crashed, cancelled
    asyncpg.exceptions.InsufficientResourcesError,  # disk full, too many connections, out of memory
    asyncpg.exceptions.ReadOnlySQLTransactionError,  # a primary that became a standby
    asyncpg.exceptions.LockNotAvailableError,
    asyncpg.exceptions.IdleInTransactionSessionTimeoutError,
    asyncpg.exceptions.PostgresSystemError,
    asyncpg.exceptions.SerializationError,
    asyncpg.exceptions.DeadlockDetectedError,
    asyncpg.exceptions.ObjectNotInPrerequisiteStateError,
    asyncpg.InternalClientError,  # no host is a primary; or a session's end arrived between two uses of it
    ConnectionError,
    OSError,
    TimeoutError,
)
"""The server is away, or cannot now: nobody's input, and worth another try."""


NOT_LET_IN = (
    asyncpg.exceptions.InvalidAuthorizationSpecificationError,
    asyncpg.exceptions.InvalidCatalogNameError,
)


class Plain(asyncpg.Connection):  # type: ignore[misc]
    """A connection that needs no reset between two uses: every setting of ours ends with its transaction."""

    def get_reset_query(self) -> str:
        return ""

    def _check_listeners(self, listeners: Collection[Any], listener_type: str) -> None:
        # A closed connection keeps its listeners, whoever takes them back: that is no oversight to warn of.
        if not self.is_closed():
            super()._check_listeners(listeners, listener_type)


class Unit:
    """One transaction: the queries of `queries/*.sql` by name."""

    def __init__(self, connection: PoolConnectionProxy, named: Mapping[str, str]) -> None:
        self._connection = connection
        self._named = named

    async def rows(self, name: str, *values: Any) -> list[Record]:
        """Every row that the query returns."""
        found: list[Record] = await self._connection.fetch(self._named[name], *values)
        return found

    async def each(self, name: str, rows: Sequence[Sequence[Any]]) -> None:
        """Runs the statement for each row of values, in one round trip."""
        await self._connection.executemany(self._named[name], rows)

    async def run(self, name: str, *values: Any) -> int:
        """How many rows the statement changed."""
        status: str = await self._connection.execute(self._named[name], *values)
        return int(status.rpartition(" ")[2] or 0)


class Pool:
    """Connections to one PostgreSQL, at most `connections_max` of them. `named` are the queries that units run. `vet`
    looks at each that is opened from now on, and raises where it must not be used."""

    def __init__(self, url: str, connections_max: int, named: Mapping[str, str] = QUERIES) -> None:
        self._url = url
        self._max = connections_max
        self._named = named
        self._pool: asyncpg.Pool | None = None
        self._on_query: Callable[[str], None] | None = None
        self.vet: Callable[[asyncpg.Connection], Awaitable[None]] | None = None

    async def open(self) -> None:
        """Unavailable (CD5002) if no server answers."""
        async with reached():
            self._pool = await asyncpg.create_pool(
                self._url,
                min_size=1,
                max_size=self._max,
                timeout=CONNECT_SECONDS_MAX,
                connection_class=Plain,
                init=self._init,
                max_cached_statement_lifetime=PLAN_SECONDS_MAX,
                server_settings=dict(SESSION),
            )

    async def close(self) -> None:
        """Closes what is idle, and what is not within a second."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            await asyncio.wait_for(pool.close(), 1.0)
        except (TimeoutError, *GONE):
            pool.terminate()

    def count_queries(self, listener: Callable[[str], None]) -> None:
        """`listener` hears every statement that goes to the server from now on, on connections opened after this."""
        self._on_query = listener

    async def _init(self, connection: asyncpg.Connection) -> None:
        # The driver looks array types up once a connection: now, and not while a transaction holds a lock.
        await connection.fetch("SELECT $1::text[], $2::bigint[], $3::integer[], $4::bytea[], $5::boolean[]", *[[]] * 5)
        if self.vet is not None:
            await self.vet(connection)
        if self._on_query is not None:
            hear = self._on_query
            connection.add_query_logger(lambda record: hear(record.query))

    def writes(self, stores: Iterable[StoreId]) -> Transaction:
        """A transaction that may read and write what belongs to these stores. READ COMMITTED."""
        return self._transaction(opening(WRITE, named(stores)))

    def writes_with_platform(self, stores: Iterable[StoreId]) -> Transaction:
        """For changes of the control plane that also write the platform's own rows. No reads across stores."""
        return self._transaction(opening(WRITE, {*stores, PLATFORM_STORE}))

    def reads(self, stores: Iterable[StoreId]) -> Transaction:
        """One snapshot of what belongs to these stores."""
        return self._looks(opening(READ, named(stores)))

    def reads_of_platform(self) -> Transaction:
        """One snapshot of what belongs to no store."""
        return self._looks(opening(READ, {PLATFORM_STORE}))

    def reads_across(self, *tables: str) -> Transaction:
        """One snapshot of these tables over all stores; those of `walls.READ_ACROSS` can be read so."""
        return self._looks(opening(READ, (), tables))

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection of the pool without a transaction: for LISTEN and for what the doctor asks."""
        if self._pool is None:
            raise Unavailable("CD5009", "The engine is closed, or has not been started.")
        async with reached(), self._pool.acquire(timeout=ACQUIRE_SECONDS_MAX) as connection:
            yield connection

    @asynccontextmanager
    async def _looks(self, begin: str) -> AsyncIterator[Unit]:
        """Invalid (CD3030) where what is asked for has a form that no row can have: a text with a NUL."""
        try:
            async with self._transaction(begin) as unit:
                yield unit
        except asyncpg.DataError:
            raise Invalid(
                "CD3030",
                "A value has a form that the database does not keep, such as a text with a NUL.",
                remedy="Leave control characters out.",
            ) from None  # the driver's own message may quote the value

    @asynccontextmanager
    async def _transaction(self, begin: str) -> AsyncIterator[Unit]:
        async with self.connection() as connection:
            warnings: list[str] = []
            hear = _collect(warnings)
            connection.add_log_listener(hear)
            overdue = asyncio.get_running_loop().call_later(TRANSACTION_SECONDS_MAX, connection.terminate)
            try:
                await connection.execute(begin)
                yield Unit(connection, self._named)
                await _commit(connection, warnings)
            except BaseException as error:
                await _undo(connection, error)
                raise
            finally:
                overdue.cancel()
                if not connection.is_closed():
                    connection.remove_log_listener(hear)


def named(stores: Iterable[StoreId]) -> set[str]:
    """Store ids as a scope; '' is nobody's."""
    return {store for store in stores if store != PLATFORM_STORE}


def _collect(warnings: list[str]) -> Callable[[Any, Any], None]:
    def hear(_: Any, message: Any) -> None:
        warnings.append(str(message))

    return hear


async def _commit(connection: asyncpg.Connection, warnings: list[str]) -> None:
    warnings.clear()
    status = await connection.execute("COMMIT")
    if status != "COMMIT":
        raise Unavailable("CD5002", "The database undid the transaction.", retry_after_ms=RETRY_AFTER_MS)
    if warnings:
        # The commit stands on this server, but may not on its standby: whoever asked must not count on it.
        raise Unavailable("CD5023", "The commit was not confirmed as durable.", retry_after_ms=RETRY_AFTER_MS)


async def _undo(connection: asyncpg.Connection, error: BaseException) -> None:
    if isinstance(error, asyncpg.InternalClientError):
        connection.terminate()
    try:
        if connection.is_closed() or not connection.is_in_transaction():
            return
        await connection.execute("ROLLBACK")
    except asyncpg.InterfaceError:
        return  # given back to the pool already: what has failed must be heard, not this
    except GONE:
        connection.terminate()


@asynccontextmanager
async def reached() -> AsyncIterator[None]:
    """Unavailable (CD5002) for whatever says that the server is away or cannot now."""
    try:
        yield
    except NOT_LET_IN as error:
        raise Unavailable(
            "CD5040",
            "The database server does not let this role in, or has no such database.",
            remedy="Look at the address; `crossdock db migrate` makes the role, and pg_hba.conf says who may come in.",
        ) from error
    except GONE as error:
        raise Unavailable(
            "CD5002",
            "The database does not answer, or cannot take it now.",
            remedy="Try again; `crossdock doctor` says more.",
            retry_after_ms=RETRY_AFTER_MS,
        ) from error
