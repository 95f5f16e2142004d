"""News between processes: a NOTIFY that names the stores which got entries. A hint; the poll of the journals is the
truth, and losing every one of them only slows delivery to the poll.

NOTIFY takes a lock of the whole server until its transaction is durable, so it never stands in the transaction of an
append: it goes out after the commit, gathered, in a transaction of its own that waits for no disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import asyncpg
import msgspec

from crossdock.engines.postgres.pool import GONE, Pool
from crossdock.engines.postgres.scope import literal
from crossdock.model.errors import CrossdockError
from crossdock.model.ids import StoreId

CHANNEL = "crossdock"
GATHER_SECONDS = 0.01  # news of that time go out together: a hundred small transactions a second at most
STORES_PER_NOTE = 100  # ids of 63 characters, below PostgreSQL's 8,000 bytes a payload
LISTEN_AGAIN_SECONDS = 1.0

Listener = Callable[[frozenset[StoreId]], None]


class News:
    """`tell` names stores to this process's listeners at once and to the others' soon. `serve` runs both ways, on one
    connection, so that a process does not hear itself."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._listeners: list[Listener] = []
        self._unsaid: set[StoreId] = set()
        self._stir = asyncio.Event()
        self._lost = False
        self._own = 0

    def on_news(self, listener: Listener) -> None:
        self._listeners.append(listener)
        self._stir.set()

    def tell(self, stores: frozenset[StoreId]) -> None:
        self._hear(stores)
        self.cry(stores)

    def cry(self, stores: Iterable[StoreId]) -> None:
        """To the other processes only."""
        self._unsaid.update(stores)
        self._stir.set()

    def _hear(self, stores: frozenset[StoreId]) -> None:
        for listener in self._listeners:
            listener(stores)

    async def serve(self) -> None:
        """Until it is cancelled, also where the server has just gone."""
        while True:
            try:
                async with self._pool.connection() as connection:
                    await self._talk(connection)
            except CrossdockError:
                # Giving a dead connection back can fail in the place of the cancellation.
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise asyncio.CancelledError from None
                await asyncio.sleep(LISTEN_AGAIN_SECONDS)

    async def _talk(self, connection: asyncpg.Connection) -> None:
        """A process that nobody listens in does not LISTEN: the server wakes every backend that does for each note."""
        self._lost, listening = False, False
        self._own = connection.get_server_pid()
        connection.add_termination_listener(self._ended)
        try:
            while not self._lost:
                if self._listeners and not listening:
                    await connection.add_listener(CHANNEL, self._noted)
                    listening = True
                await self._stir.wait()
                await asyncio.sleep(GATHER_SECONDS)
                self._stir.clear()
                await self._say(connection)
        finally:
            await self._part(connection)

    async def _say(self, connection: asyncpg.Connection) -> None:
        stores, self._unsaid = sorted(self._unsaid), set()
        notes = [stores[at : at + STORES_PER_NOTE] for at in range(0, len(stores), STORES_PER_NOTE)]
        if notes:
            await connection.execute(cry(notes))

    async def _part(self, connection: asyncpg.Connection) -> None:
        connection.remove_termination_listener(self._ended)
        try:
            if not connection.is_closed():
                await connection.remove_listener(CHANNEL, self._noted)
        except GONE:
            connection.terminate()

    def _ended(self, _: object) -> None:
        self._lost = True
        self._stir.set()

    def _noted(self, connection: object, pid: int, channel: str, payload: object) -> None:
        if pid == self._own:
            return
        try:
            stores = msgspec.json.decode(str(payload), type=list[str])
        except msgspec.MsgspecError:
            return  # anybody may NOTIFY: what is not ours says nothing
        self._hear(frozenset(StoreId(store) for store in stores))


def cry(notes: Iterable[list[StoreId]]) -> str:
    """One transaction as a simple query: one round trip. (The text of NOTIFY has no parameters.)"""
    said = "; ".join(f"NOTIFY {CHANNEL}, {literal(msgspec.json.encode(note).decode())}" for note in notes)
    return f"BEGIN; SET LOCAL synchronous_commit = off; {said}; COMMIT"
