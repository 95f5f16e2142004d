"""What every party shares: a small HTTP server on loopback that ends on SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

Record = Callable[[], Mapping[str, Any]]


def options(description: str, **more: str) -> argparse.Namespace:
    """`--port`, and one required option for each of `more` (name: help)."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, required=True)
    for name, text in more.items():
        parser.add_argument(f"--{name.replace('_', '-')}", required=True, help=text)
    return parser.parse_args()


def with_record(application: web.Application, record: Record) -> web.Application:
    async def show(_: web.Request) -> web.Response:
        return web.json_response(dict(record()))

    application.router.add_get("/record", show)
    return application


async def until_told(
    port: int, application: web.Application, around: Callable[[], Awaitable[None]] | None = None
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, stop.set)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    background = asyncio.ensure_future(around()) if around else None
    await stop.wait()
    if background:
        background.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await background
    await runner.cleanup()


def serve(port: int, application: web.Application) -> None:
    asyncio.run(until_told(port, application))
