"""One process, one port: uvicorn in front of the App, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import sys
from collections.abc import Callable, Generator

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


async def run(settings: Settings, say: Callable[[str], None], stop: asyncio.Event) -> None:
    """Serves until `stop`; then drains: no new requests, what is in flight ends, the journal is closed."""
    sock = listening(settings)
    try:
        app = await build(settings.model_copy(update={"port": sock.getsockname()[1]}))
        await app.start()
        gc.collect()
        gc.freeze()
    except BaseException:
        sock.close()
        raise
    try:
        await _serve(app, sock, say, stop)
    finally:
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
        say(f"Crossdock serves on {address_of(settings)}  (reference: {address_of(settings)}/docs)")
        stopping = group.create_task(stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        app.refuse_more("told to stop" if stop.is_set() else "the listener ended")
        server.should_exit = True
        stopping.cancel()


def serve(settings: Settings, say: Callable[[str], None]) -> None:
    """Until SIGTERM or SIGINT."""

    async def until_told() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for one in SIGNALS:
            loop.add_signal_handler(one, stop.set)
        await run(settings, say, stop)

    sys.setswitchinterval(SWITCH_SECONDS)
    gc.set_threshold(*GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(until_told())
