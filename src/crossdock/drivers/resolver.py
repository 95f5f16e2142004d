"""Names to addresses, as a port, and the system's own resolver behind it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

Resolver: TypeAlias = "Callable[[str, int], Awaitable[Sequence[str]]]"
"""(host, port) to every address that the name has, in the order to try; empty when there is none."""

RESOLVER_THREADS = 8  # its own threads: a name server that hangs holds up nothing but names
_THREADS = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="crossdock-resolve")


async def system_resolver(host: str, port: int) -> Sequence[str]:
    """getaddrinfo, for TCP, in a thread. The caller bounds the time."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.run_in_executor(_THREADS, _look_up, host, port)
    except (OSError, UnicodeError):
        return ()
    return tuple(dict.fromkeys(found))


def _look_up(host: str, port: int) -> list[str]:
    rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [str(row[4][0]) for row in rows]
