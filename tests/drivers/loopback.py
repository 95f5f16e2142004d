"""Ways, parcels and local receivers for the drivers' tests. Receivers are real sockets on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from crossdock.drivers.egress import Egress, EgressPolicy, HttpRequest
from crossdock.model.contract import Environment
from crossdock.model.ids import ConnectionId, StoreId
from crossdock.stores.ways import Target

STORE, CONNECTION = StoreId("north"), ConnectionId("con_0123456789abcdefghjkmnpqrs")
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Receiver:
    """`script` is what each connection does; `requests` what came, head and body apart."""

    port: int = 0
    connections: int = 0
    requests: list[tuple[str, bytes]] = field(default_factory=list)


async def read_request(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    length = next(
        (int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length:")), 0
    )
    return head, await reader.readexactly(length)


@asynccontextmanager
async def serving(*answers: bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[Receiver]:
    """Answers the n-th request with the n-th answer (the last one again and again). An answer that is a function gets
    the writer; the connection stays open unless it closes it."""
    receiver = Receiver()
    ended = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        receiver.connections += 1
        try:
            while not ended.is_set():
                receiver.requests.append(await read_request(reader))
                answer = answers[min(len(receiver.requests), len(answers)) - 1]
                if isinstance(answer, bytes):
                    writer.write(answer)
                    await writer.drain()
                else:
                    await answer(writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        ended.set()
        server.close()


def target(port: int, *paths: str, host: str = "api.acme.example", scheme: str = "http") -> Target:
    return Target(scheme, host, 443, ("GET", "POST", "PUT"), paths or ("/in",), ("127.0.0.1", port))


def request(to: Target, **other: object) -> HttpRequest:
    values: dict[str, object] = {
        "store": STORE,
        "connection": CONNECTION,
        "target": to,
        "method": "POST",
        "path": "/in",
        "headers": (("content-type", "application/json"),),
        "body": b"{}",
        "timeout_ms": 5_000,
    }
    return HttpRequest(**{**values, **other})  # type: ignore[arg-type]


@asynccontextmanager
async def local_egress(*ports: int, **policy: object) -> AsyncIterator[Egress]:
    allowed = frozenset(("127.0.0.1", port) for port in ports)
    egress = Egress(EgressPolicy(Environment.LOCAL, loopback_allow=allowed, **policy))  # type: ignore[arg-type]
    try:
        yield egress
    finally:
        await egress.close()
        await turns()


async def turns() -> None:
    """Lets the loop go round until closes on loopback have arrived."""
    for _ in range(30):
        await asyncio.sleep(0)
