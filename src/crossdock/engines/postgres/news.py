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

from crossdock.engines.postgres.pool import Pool
from crossdock.engines.postgres.scope import literal
from crossdock.model.ids import StoreId

CHANNEL = "crossdock"
GATHER_SECONDS = 0.01  # news of that time go out together: a hundred small transactions a second at most
STORES_PER_NOTE = 100  # ids of 63 characters, below PostgreSQL's 8,000 bytes a payload
LISTEN_AGAIN_SECONDS = 1.0
QUIET_SECONDS_MAX = 5.0  # with nothing to say for so long it asks whether the server is still there
ANSWER_SECONDS_MAX = 5.0

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
            except Exception:  # noqa: BLE001  # whatever the server has against it: without news the poll goes on
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
                if await self._stirred():
                    await asyncio.sleep(GATHER_SECONDS)
                    self._stir.clear()
                    await self._say(connection)
                else:
                    await connection.execute("SELECT 1", timeout=ANSWER_SECONDS_MAX)
        finally:
            connection.remove_termination_listener(self._ended)
            # No UNLISTEN: a server that does not answer must hold nobody up, and the session's end says the same.
            connection.terminate()

    async def _stirred(self) -> bool:
        """Whether there is something to do; False after QUIET_SECONDS_MAX without."""
        try:
            async with asyncio.timeout(QUIET_SECONDS_MAX):
                return await self._stir.wait()
        except TimeoutError:
            return False

    async def _say(self, connection: asyncpg.Connection) -> None:
        stores, self._unsaid = sorted(self._unsaid), set()
        notes = [stores[at : at + STORES_PER_NOTE] for at in range(0, len(stores), STORES_PER_NOTE)]
        if notes:
            await connection.execute(cry(notes), timeout=ANSWER_SECONDS_MAX)

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
