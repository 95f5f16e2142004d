"""Where the engine's work on the file runs: on threads of its own, or in the event loop itself.

SQLite waits for the disk. A process that serves leaves that to threads (`Threads`), so that its loop never waits. A
simulated world has no threads and a disk that answers at once: there the same work runs in the loop (`Inline`), in the
order in which it was asked for, so that the same seed gives the same run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Turn = Callable[[], bool]
"""One turn of a worker's work; False when it was the last. It may wait for work, and is not called without any."""


class Worker(Protocol):
    """Takes one turn after another, never two at once."""

    def wake(self) -> None:
        """There is work for a turn. Called once for each piece of it."""
        ...

    def tell(self, callback: Callable[..., None], *values: Any) -> None:
        """Called from a turn: calls back on the loop, soon, in the order of these calls."""
        ...

    async def ended(self) -> None:
        """Returns after the last turn."""
        ...


class Pool(Protocol):
    """Runs pieces of work that wait for nobody, several at once where it can."""

    async def run(self, work: Callable[[], T]) -> T: ...

    async def close(self) -> None: ...


class Executor(Protocol):
    async def run(self, work: Callable[[], T]) -> T:
        """For what happens once: opening the file."""
        ...

    def pool(self, size: int) -> Pool: ...

    def worker(self, turn: Turn, idle: Callable[[], bool]) -> Worker:
        """`idle`: whether no work waits for a turn."""
        ...


class Threads:
    """`Executor` of a process that serves."""

    async def run(self, work: Callable[[], T]) -> T:
        return await asyncio.to_thread(work)

    def pool(self, size: int) -> Pool:
        return ThreadPool(size)

    def worker(self, turn: Turn, idle: Callable[[], bool]) -> Worker:
        return ThreadWorker(turn)


class ThreadPool:
    def __init__(self, size: int) -> None:
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="crossdock-reader")

    async def run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def close(self) -> None:
        await asyncio.to_thread(self._threads.shutdown)


class ThreadWorker:
    """A turn waits for its work by itself, so that there is nobody to wake."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="crossdock-writer")
        self._thread.start()

    def _run(self) -> None:
        while self._turn():
            pass

    def wake(self) -> None:
        return

    def tell(self, callback: Callable[..., None], *values: Any) -> None:
        self._loop.call_soon_threadsafe(callback, *values)

    async def ended(self) -> None:
        await asyncio.to_thread(self._thread.join)


class Inline:
    """`Executor` of a simulated world, without threads. What is asked for in one step of the loop is written in the
    next, in one group."""

    async def run(self, work: Callable[[], T]) -> T:
        await asyncio.sleep(0)
        return work()

    def pool(self, size: int) -> Pool:
        return InlinePool()

    def worker(self, turn: Turn, idle: Callable[[], bool]) -> Worker:
        return InlineWorker(turn, idle)


class InlinePool:
    async def run(self, work: Callable[[], T]) -> T:
        # As with threads, others run between the asking and the reading.
        await asyncio.sleep(0)
        return work()

    async def close(self) -> None:
        return


class InlineWorker:
    def __init__(self, turn: Turn, idle: Callable[[], bool]) -> None:
        self._turn = turn
        self._idle = idle
        self._loop = asyncio.get_running_loop()
        self._awake = False
        self._end = asyncio.Event()

    def wake(self) -> None:
        if not self._awake:
            self._awake = True
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        self._awake = False
        going = False
        try:
            going = self._turn()
        finally:
            if not going:
                self._end.set()  # also after a turn that failed, as with a thread
        if going and not self._idle():
            self.wake()

    def tell(self, callback: Callable[..., None], *values: Any) -> None:
        self._loop.call_soon(callback, *values)

    async def ended(self) -> None:
        await self._end.wait()
