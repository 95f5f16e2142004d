"""One event loop for a whole world: its time is virtual, its order is drawn, its processes can freeze and die.

Nothing waits. When no callback is ready, the time jumps to the next timer. A callback belongs to the process in whose
context it was scheduled: a frozen process's callbacks wait for its thaw, those of a dead one never run.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
import socket
import ssl
from asyncio.base_events import BaseEventLoop
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol

BEGIN_SECONDS = 1_000.0
STEPS_MAX = 2_000_000  # far above any scenario: a world that only spins is stopped, and says so


class Unreal(RuntimeError):
    """Something reached for the real clock, dice, network or threads."""


class Stuck(RuntimeError):
    """Nothing would ever happen again, or something happens without end."""


class Body(Protocol):
    """What a loop needs to know of a process. `withholds` takes a callback that must not run now."""

    def withholds(self, handle: asyncio.Handle) -> bool: ...

    def adopt(self, task: asyncio.Task[Any]) -> None: ...


class Wires(Protocol):
    """What a loop needs to know of the network."""

    async def connect(self, sock: socket.socket, address: tuple[str, int]) -> None: ...

    async def open(
        self, factory: Callable[[], asyncio.BaseProtocol], sock: socket.socket, server_hostname: str | None
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]: ...


OWNER: ContextVar[Body | None] = ContextVar("crossdock_world_process", default=None)


class NumberedTask(asyncio.Task[Any]):
    """A task whose hash is its number, so that a set of tasks has the same order in every run."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class VirtualLoop(BaseEventLoop):
    """`dice` shuffles what is ready at the same moment; None keeps the order of asyncio."""

    _ready: Any
    _scheduled: Any

    def __init__(self, wires: Wires | None = None, dice: random.Random | None = None) -> None:
        super().__init__()
        self.wires = wires
        self.steps = 0
        self.broken: BaseException | None = None
        self._dice = dice
        self._now = BEGIN_SECONDS
        self._numbers = 0
        self.set_task_factory(self._numbered)
        self.set_exception_handler(self._unhandled)

    def time(self) -> float:
        return self._now

    def _numbered(self, loop: asyncio.AbstractEventLoop, coro: Any, context: Any = None) -> asyncio.Task[Any]:
        self._numbers += 1
        task = NumberedTask.__new__(NumberedTask)
        task.number = self._numbers
        NumberedTask.__init__(task, coro, loop=loop, context=context)
        owner = OWNER.get() if context is None else context.get(OWNER)
        if owner is not None:
            owner.adopt(task)
        return task

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.fail(error if isinstance(error, BaseException) else Stuck(str(context.get("message"))))

    def fail(self, error: BaseException) -> None:
        """Ends the run with this error, once the present callback is over."""
        self.broken = self.broken or error

    def fail_if_broken(self) -> None:
        if self.broken is not None:
            raise self.broken

    def _run_once(self) -> None:
        if not self._ready:
            self._jump()
        scheduled, now = self._scheduled, self._now
        while scheduled and scheduled[0]._when <= now:
            timer = heapq.heappop(scheduled)
            timer._scheduled = False
            self._ready.append(timer)
        batch = list(self._ready)
        self._ready.clear()
        if self._dice is not None and len(batch) > 1:
            self._dice.shuffle(batch)
        self.steps += len(batch)
        for handle in batch:
            if not handle._cancelled:
                owner = handle._context.get(OWNER)
                if owner is None or not owner.withholds(handle):
                    handle._run()
        self.fail_if_broken()
        if self.steps > STEPS_MAX:
            raise Stuck(f"It has taken {STEPS_MAX} steps, and goes on.")

    def _jump(self) -> None:
        scheduled = self._scheduled
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
        if not scheduled:
            raise Stuck("Nothing is ready, and no timer is set.")
        self._now = max(self._now, scheduled[0]._when)

    def world_at(self, when: float, call: Callable[..., object], *given: object) -> asyncio.TimerHandle:
        """A timer that belongs to no process, whoever sets it."""
        token = OWNER.set(None)
        try:
            return self.call_at(when, call, *given)
        finally:
            OWNER.reset(token)

    def run_again(self, handles: list[asyncio.Handle]) -> None:
        """Callbacks that were withheld are ready again."""
        self._ready.extend(handles)

    def _process_events(self, event_list: object) -> None:
        """There are none: nothing real is listened to."""

    def _write_to_self(self) -> None:
        raise Unreal("Another thread would wake the loop.")

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]  # it never runs
        raise Unreal("A thread pool would run something.")

    async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
        raise Unreal("The system would resolve a name.")

    async def sock_connect(self, sock: Any, address: Any) -> None:
        await self._wires().connect(sock, address)

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **given: Any) -> Any:
        """Only over a socket that the simulated network has connected."""
        sock = given.get("sock")
        if sock is None or host is not None or port is not None:
            raise Unreal("A connection would be opened past the egress.")
        if given.get("ssl") is not None and not isinstance(given["ssl"], ssl.SSLContext):
            raise Unreal("TLS without a context of the caller's.")
        name = given.get("server_hostname") if given.get("ssl") is not None else None
        return await self._wires().open(protocol_factory, sock, name)

    def _wires(self) -> Wires:
        if self.wires is None:
            raise Unreal("This world has no network.")
        return self.wires

    def put_away(self, tasks: list[asyncio.Task[Any]]) -> None:
        """Ends tasks that will never run again, without a word: they belong to the dead."""
        for task in tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio's own switch for this
                coro = task.get_coro()
                with contextlib.suppress(BaseException):
                    coro.close()
