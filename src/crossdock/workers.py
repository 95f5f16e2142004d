"""Several processes on one port: a supervisor binds it once, starts the workers, and starts the one that died anew.

It serves nothing itself. Between it and each worker is a socket pair: a byte from the worker says that it serves, and
when the supervisor is gone, however it went, the worker reads the end of it and drains.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from crossdock.model.errors import Invalid
from crossdock.observe.lines import Lines
from crossdock.observe.text import LineWriter
from crossdock.serve import SIGNALS, Place, Socket, greeting, listening, pair, taken_over
from crossdock.settings import Settings
from crossdock.stores.waiting import wait_until
from crossdock.wiring import clock, root_key_of

ENTRY = ("-m", "crossdock.cli.worker")
AGAIN_MS_MIN = 100  # before a worker is started anew; it doubles with each that ends soon
AGAIN_MS_MAX = 10_000
STEADY_SECONDS = 10  # whoever served so long did not end because it was started
GRACE_SECONDS = 15  # beyond drain_seconds: a last settle, the pool, the interpreter


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker is started with, beside the environment: `given` are the settings of the command line."""

    given: Mapping[str, object]
    worker: int
    port: int
    line: int

    def text(self) -> str:
        return json.dumps({"given": self.given, "worker": self.worker, "port": self.port, "line": self.line})

    @classmethod
    def read(cls, text: str) -> Orders:
        return cls(**json.loads(text))

    def place(self) -> Place:
        """The sockets, taken over. To be called once."""
        return Place(self.worker, taken_over(self.port), taken_over(self.line))


@dataclass(slots=True)
class Child:
    worker: int
    process: asyncio.subprocess.Process
    line: Socket
    served: bool = False

    def tell(self, what: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(what)


@dataclass(slots=True)
class Supervisor:
    """`program` runs a worker, given its orders. `begun` is called once, as soon as every worker serves."""

    settings: Settings
    given: Mapping[str, object]
    port: Socket
    lines: Lines
    begun: Callable[[], None]
    program: Sequence[str] = (sys.executable, *ENTRY)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    failed: int = 0
    _children: dict[int, Child] = field(default_factory=dict)
    _serving: set[int] = field(default_factory=set)

    async def run(self) -> int:
        """Until `stop`, or until a worker fails before all have served once: then trying again would not help. 0 if
        every worker ended clean, else the status of one that did not."""
        async with asyncio.TaskGroup() as group:
            keepers = [group.create_task(self._keep(worker + 1)) for worker in range(self.settings.workers)]
            await self.stop.wait()
            # Nobody shall queue for an answer of processes that end.
            self.port.close()
            for child in self._children.values():
                child.tell(signal.SIGTERM)
            await asyncio.wait(keepers, timeout=self.settings.drain_seconds + GRACE_SECONDS)
            for child in self._children.values():
                child.tell(signal.SIGKILL)
        return self.failed

    async def _keep(self, worker: int) -> None:
        """One worker after the other, until `stop`."""
        again_ms, loop = 0, asyncio.get_running_loop()
        while not self.stop.is_set():
            began = loop.time()
            child = await self._started(worker)
            status = await self._ended(child)
            if self.stop.is_set():
                # One that was told before it could listen has nothing to drain.
                early = not child.served and status == -signal.SIGTERM
                self.failed = self.failed if early else self.failed or abs(status)
                return
            steady = loop.time() - began >= STEADY_SECONDS
            again_ms = AGAIN_MS_MIN if steady or not again_ms else min(2 * again_ms, AGAIN_MS_MAX)
            if len(self._serving) < self.settings.workers and not child.served:
                self.failed = abs(status) or 1
                self.lines.write("worker.died", worker=worker, pid=child.process.pid, status=status, again_in_ms=None)
                self.stop.set()
                return
            self.lines.write("worker.died", worker=worker, pid=child.process.pid, status=status, again_in_ms=again_ms)
            await wait_until(self.stop, again_ms)

    async def _started(self, worker: int) -> Child:
        ours, theirs = pair()
        orders = Orders(self.given, worker, self.port.fileno(), theirs.fileno())
        try:
            process = await asyncio.create_subprocess_exec(
                *self.program,
                orders.text(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,  # what is said there, the supervisor says
                pass_fds=(orders.port, orders.line),
                start_new_session=True,  # Ctrl-C is for the supervisor, which tells them in its own words
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        child = self._children[worker] = Child(worker, process, ours)
        if self.stop.is_set():
            child.tell(signal.SIGTERM)
        return child

    async def _ended(self, child: Child) -> int:
        """Its exit status, negative for a signal."""
        hearing = asyncio.create_task(self._hear(child))
        try:
            return await child.process.wait()
        finally:
            hearing.cancel()
            with suppress(asyncio.CancelledError):
                await hearing
            child.line.close()
            del self._children[child.worker]

    async def _hear(self, child: Child) -> None:
        loop = asyncio.get_running_loop()
        try:
            word = await loop.sock_recv(child.line, 1)
        except OSError:
            return
        if not word:
            return
        child.served = True
        before = len(self._serving)
        self._serving.add(child.worker)
        if before < len(self._serving) == self.settings.workers:
            self.begun()


def supervise(settings: Settings, given: Mapping[str, object], say: Callable[[str], None]) -> int:
    """Serves with `settings.workers` processes until SIGTERM or SIGINT; the exit status."""
    root_key_of(settings)  # where there is none yet, it is made once, before several could make one each
    port = listening(settings)
    bound = settings.model_copy(update={"port": port.getsockname()[1]})
    writer = LineWriter(settings.log_format, clock)

    def at_once(name: str, fields: dict[str, str | int | float | bool | None]) -> None:
        writer(name, fields)
        writer.flush()

    async def until_told() -> int:
        one = Supervisor(bound, given, port, Lines(at_once), lambda: say(greeting(bound)))
        for signum in SIGNALS:
            asyncio.get_running_loop().add_signal_handler(signum, one.stop.set)
        return await one.run()

    try:
        return asyncio.run(until_told())
    finally:
        port.close()


def told_to_serve(text: str) -> Orders:
    """The orders in a worker's argument; Invalid (CD7009) where nobody gave any."""
    try:
        return Orders.read(text)
    except (ValueError, TypeError):
        raise Invalid(
            "CD7009", "A worker is started by its supervisor alone.", remedy="Run `crossdock serve --workers 2`."
        ) from None
