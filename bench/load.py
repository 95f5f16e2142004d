"""A load generator: keep-alive connections, each sending its next request when the last one is answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import cast


@dataclass(slots=True)
class Tally:
    """Answers by status, and how long each took in milliseconds."""

    statuses: dict[int, int] = field(default_factory=dict)
    took_ms: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def answers(self) -> int:
        return sum(self.statuses.values())

    @property
    def per_second(self) -> float:
        return self.answers / self.seconds if self.seconds else 0.0

    def percentile_ms(self, share: float) -> float:
        ordered = sorted(self.took_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Caller(asyncio.Protocol):
    """One connection. `requests` gives whole requests as bytes; the load ends when it is exhausted or time is up.

    The answer is parsed just as far as its status and length: every server here sends a content-length."""

    def __init__(self, requests: Iterator[bytes], tally: Tally, until: float, done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._tally = tally
        self._until = until
        self._done = done
        self._buffer = b""
        self._sent = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by behaviour
        self._next()

    def _next(self) -> None:
        assert self._transport is not None
        request = next(self._requests, None) if time.perf_counter() < self._until else None
        if request is None:
            self._transport.close()
            self._finish()
            return
        self._sent = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        mark = head.find(b"content-length:")
        length = int(head[mark + 15 :].split(b"\r\n", 1)[0]) if mark >= 0 else 0
        if len(self._buffer) < end + 4 + length:
            return
        self._tally.took_ms.append((time.perf_counter() - self._sent) * 1000)
        status = int(head[9:12])
        self._tally.statuses[status] = self._tally.statuses.get(status, 0) + 1
        self._buffer = self._buffer[end + 4 + length :]
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish()

    def _finish(self) -> None:
        if not self._done.done():
            self._done.set_result(None)


async def run(port: int, requests: Iterator[bytes], *, connections: int, seconds: float) -> Tally:
    """`connections` at once for `seconds`, or until the requests are used up."""
    loop = asyncio.get_running_loop()
    tally = Tally()
    await listening(port)
    start = time.perf_counter()
    futures = []
    for _ in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        await loop.create_connection(_caller(requests, tally, start + seconds, done), "127.0.0.1", port)
        futures.append(done)
    await asyncio.gather(*futures)
    tally.seconds = time.perf_counter() - start
    return tally


async def together(loads: Iterable[Awaitable[Tally]]) -> list[Tally]:
    return list(await asyncio.gather(*loads))


async def listening(port: int) -> None:
    """Returns as soon as somebody listens; ConnectionRefusedError if nobody does within five seconds."""
    for left in range(100, -1, -1):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            if not left:
                raise
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


def _caller(requests: Iterator[bytes], tally: Tally, until: float, done: asyncio.Future[None]) -> Callable[[], Caller]:
    return lambda: Caller(requests, tally, until, done)


def post(port: int, path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """A whole HTTP/1.1 request."""
    lines = [f"POST {path} HTTP/1.1", f"host: 127.0.0.1:{port}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
