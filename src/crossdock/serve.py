"""One process on one port: uvicorn in front of the App, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeAlias

import uvicorn
import uvloop

from crossdock.http.deadlines import Guards, guarded
from crossdock.http.proxies import Proxies
from crossdock.model.errors import Invalid
from crossdock.settings import Settings
from crossdock.wiring import App, address_of, build

BACKLOG = 2_048
SWITCH_SECONDS = 0.001
"""How long a busy thread keeps the interpreter from one that waits. The writer gives it up at each call into SQLite;
with Python's own 5 ms it waits longer for its turn than for the disk (measured: a third fewer accepts a second)."""
GC_THRESHOLDS = (2_000, 20, 100)
"""Full collections walk every contract and schema again and stop all requests meanwhile: what stands after the start is
taken out of their way, and they come a hundred times less often (measured: p99 of an accept falls by half)."""
Socket: TypeAlias = socket.socket
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Listener(uvicorn.Server):
    """uvicorn without its own hold on signals: it would end the process before the journal is closed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def listening(settings: Settings) -> socket.socket:
    """The one port; Invalid (CD7006) if it cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((settings.host, settings.port))
    except OSError as error:
        sock.close()
        raise Invalid(
            "CD7006",
            f"It cannot listen on {settings.host}:{settings.port}: {error.strerror}.",
            where="CROSSDOCK_PORT",
            remedy="Stop what listens there, or set another port.",
        ) from None
    sock.listen(BACKLOG)
    sock.setblocking(False)
    return sock


def pair() -> tuple[Socket, Socket]:
    """A line between two processes. Neither end stands in another process unless it is passed on."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    return ours, theirs


def taken_over(handle: int) -> Socket:
    """A socket that was passed on to this process, and goes no further."""
    sock = socket.socket(fileno=handle)
    sock.setblocking(False)
    sock.set_inheritable(False)
    return sock


@dataclass(frozen=True, slots=True)
class Place:
    """What a supervisor gives to one of its workers: its number, the port that all share, and the line between them. A
    byte on it says that this worker serves; when the far end of it closes, there is no supervisor any more."""

    worker: int
    port: Socket
    line: Socket


async def run(settings: Settings, say: Callable[[str], None], stop: asyncio.Event, place: Place | None = None) -> None:
    """Serves until `stop`; then drains: no new requests, what is in flight ends, the journal is closed. Unavailable
    (CD5036) if it ended by itself."""
    sock = listening(settings) if place is None else place.port
    worker = 1 if place is None else place.worker
    try:
        app = await build(settings.model_copy(update={"port": sock.getsockname()[1]}), worker)
    except BaseException:
        sock.close()
        raise
    try:
        await app.start()
        gc.collect()
        gc.freeze()
        await _serve(app, sock, say, stop)
    finally:
        sock.close()
        await app.close()


async def _serve(app: App, sock: socket.socket, say: Callable[[str], None], stop: asyncio.Event) -> None:
    settings = app.ground.settings
    config = uvicorn.Config(
        app.asgi,
        http=guarded(Guards(), app.refused, proxies=Proxies(settings.trusted_proxies)),
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=settings.drain_seconds,
    )
    server = Listener(config)
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server.serve(sockets=[sock]))
        say(greeting(settings))
        stopping = group.create_task(stop.wait())
        # A process that takes in and does not deliver helps nobody: it ends, to be started anew.
        await asyncio.wait({serving, stopping, app.beside}, return_when=asyncio.FIRST_COMPLETED)
        app.refuse_more("told to stop" if stop.is_set() else "it cannot go on")
        server.should_exit = True
        stopping.cancel()


def greeting(settings: Settings) -> str:
    return f"Crossdock serves on {address_of(settings)}  (reference: {address_of(settings)}/docs)"


def serve(settings: Settings, say: Callable[[str], None], place: Place | None = None) -> None:
    """Until SIGTERM or SIGINT, or until the supervisor is no more."""

    async def until_told() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for one in SIGNALS:
            loop.add_signal_handler(one, stop.set)
        if place is not None:
            # The supervisor never writes there: whatever comes is the end of it.
            loop.add_reader(place.line, _no_more, loop, place.line, stop)
        await run(settings, say, stop, place)

    sys.setswitchinterval(SWITCH_SECONDS)
    gc.set_threshold(*GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(until_told())


def _no_more(loop: asyncio.AbstractEventLoop, line: socket.socket, stop: asyncio.Event) -> None:
    loop.remove_reader(line)
    stop.set()
