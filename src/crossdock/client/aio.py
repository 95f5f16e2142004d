"""The client for asyncio, on aiohttp."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any

import aiohttp
from yarl import URL

from crossdock.client.events import Receipt, publishing, receipts_of
from crossdock.client.exchange import (
    ANSWER_BYTES_MAX,
    Broken,
    Call,
    Outcome,
    Reply,
    Send,
    address_of,
    checked_token,
    exchange,
    headers_of,
)
from crossdock.client.inbox import InboxEvent, Reject, marks_of, page_of
from crossdock.client.operations import Operations
from crossdock.client.problems import Unavailable, Unreachable
from crossdock.client.stamp import stamped
from crossdock.client.sync import AGENT, ANSWER_SECONDS_MAX, CONNECT_SECONDS_MAX, never


class AsyncCrossdock(Operations[Awaitable[Any]]):
    """As `Crossdock`, with every operation awaited. Use it as `async with AsyncCrossdock(url, token) as crossdock`."""

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        within_seconds: float = 30.0,
        source: str = "/core",
        plain_http: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._address = address_of(url, plain_http=plain_http)
        self._token = checked_token(token)
        self._within = within_seconds
        self._source = source
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"AsyncCrossdock({self._address.url!r})"

    async def __aenter__(self) -> AsyncCrossdock:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    # publish and consume

    async def publish(
        self,
        store: str,
        events: Mapping[str, Any] | Iterable[Mapping[str, Any]],
        *,
        within_seconds: float | None = None,
    ) -> list[Receipt]:
        """As `Crossdock.publish`."""
        listed = [events] if isinstance(events, Mapping) else events
        receipts: list[Receipt] = []
        for call, ids in publishing(store, [self.complete(event) for event in listed]):
            receipts += receipts_of(await self.call(call, within_seconds=within_seconds), ids)
        return receipts

    def complete(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """As `Crossdock.complete`."""
        return stamped(event, self._source)

    async def inbox(
        self,
        store: str,
        *,
        wait_seconds: int = 20,
        limit: int = 100,
        stop: Callable[[], bool] = never,
        outlast: bool = True,
    ) -> AsyncGenerator[InboxEvent, None]:
        """As `Crossdock.inbox`. Leave it through `contextlib.aclosing`, so that the last marks go out at once."""
        while not stop():
            page: list[InboxEvent] = []
            try:
                page = page_of(await self.pull(store, wait_seconds=wait_seconds, limit=limit))
                for item in page:
                    yield item
            except (Unreachable, Unavailable):
                if not outlast:
                    raise
            finally:
                await self._tell(store, page)

    async def consume(
        self,
        store: str,
        handler: Callable[[InboxEvent], Awaitable[object]],
        *,
        on_error: Callable[[InboxEvent, Exception], object] | None = None,
        wait_seconds: int = 20,
        limit: int = 100,
        stop: Callable[[], bool] = never,
    ) -> None:
        """As `Crossdock.consume`, with an async handler. Cancelling it sends the marks of what was handled."""
        pages = self.inbox(store, wait_seconds=wait_seconds, limit=limit, stop=stop)
        async with aclosing(pages) as events:
            async for item in events:
                try:
                    await handler(item)
                except Reject as refusal:
                    item.reject(refusal.reason)
                except Exception as error:  # the handler is the caller's: what it raises is told, or goes on up
                    if on_error is None:
                        raise
                    on_error(item, error)
                else:
                    item.ack()

    async def _tell(self, store: str, page: list[InboxEvent]) -> None:
        marks = marks_of(page)
        if marks:
            try:
                await self.acknowledge(store, marks.acked, marks.rejected)
            except (Unreachable, Unavailable):
                return

    # the wire

    async def call(self, call: Call, *, within_seconds: float | None = None) -> Any:
        steps = exchange(
            call,
            start=time.monotonic(),
            within_seconds=self._within if within_seconds is None else within_seconds,
            answer_seconds_max=ANSWER_SECONDS_MAX,
            dice=random.random,
        )
        step = next(steps)
        while True:
            result: Reply | Broken | None = None
            if isinstance(step, Send):
                result = await self._send(step)
            else:
                await asyncio.sleep(step.seconds)
            try:
                step = steps.send(Outcome(time.monotonic(), result))
            except StopIteration as done:
                return done.value

    async def _send(self, step: Send) -> Reply | Broken:
        where = self._address
        timeout = aiohttp.ClientTimeout(
            total=step.timeout_seconds, sock_connect=min(CONNECT_SECONDS_MAX, step.timeout_seconds)
        )
        host = f"[{where.host}]" if ":" in where.host else where.host
        url = URL(f"{where.scheme}://{host}:{where.port}{where.prefix}{step.call.path}", encoded=True)
        headers = headers_of(step.call, self._token, AGENT)
        if step.fresh:
            headers["connection"] = "close"
        try:
            async with self._opened().request(
                step.call.method, url, data=step.call.body, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                body = await _bounded(answer)
                return Reply(answer.status, {name.lower(): value for name, value in answer.headers.items()}, body)
        except aiohttp.ClientConnectorError as error:
            return Broken(type(error).__name__, sent=False)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return Broken(type(error).__name__, sent=True)

    def _opened(self) -> aiohttp.ClientSession:
        """The session, opened in the loop that uses it."""
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._tls if self._tls is not None else True, limit=64)
            self._session = aiohttp.ClientSession(connector=connector, trust_env=False)
        return self._session


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(65_536):
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            raise aiohttp.ClientPayloadError("the answer is too large")
    return bytes(body)
