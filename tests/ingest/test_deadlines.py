"""The guarded protocol over real sockets, with deadlines so short that waiting for the close is waiting enough."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from crossdock.http.deadlines import GuardedProtocol, Guards, guarded
from crossdock.http.proxies import Proxies
from crossdock.model.errors import Refused

GOOD = b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nok"
Application = Callable[[Any, Any, Any], Coroutine[Any, Any, None]]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Reads the whole body and says how long it was; says nothing to a sender who left."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        more = message["more_body"]
    body = b"%d" % size
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def early(scope: Any, receive: Any, send: Any) -> None:
    """Answers without reading a byte of the body."""
    await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def served(
    guards: Guards,
    app: Application = echo,
    told: Callable[[Refused], None] = lambda _: None,
    proxies: Proxies | None = None,
) -> AsyncIterator[tuple[int, type[GuardedProtocol]]]:
    protocol = guarded(guards, told, proxies=proxies or Proxies())
    config = Config(app, http=protocol, ws="none", lifespan="off", log_config=None, access_log=False)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: protocol(config, state, {}), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], protocol
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        for task in list(state.tasks):
            await task
        await server.wait_closed()


async def said(port: int, *parts: bytes) -> bytes:
    """Everything that comes back until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def status_and_code(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(body)["code"]


QUICK = Guards(header_seconds=0.05, body_grace_seconds=0.02, body_look_seconds=0.03, keepalive_seconds=0.05)


async def test_a_request_is_answered_and_the_idle_connection_is_closed() -> None:
    async with served(QUICK) as (port, protocol):
        answer = await said(port, GOOD)
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"\r\n\r\n2")
    assert not protocol.addresses


@pytest.mark.parametrize("begun", [b"", b"PO", b"POST /x HTTP/1.1\r\nhost: h\r\nx-slow: ", b"\r\n"])
async def test_headers_that_do_not_come_end_the_connection(begun: bytes) -> None:
    async with served(QUICK) as (port, _):
        assert status_and_code(await said(port, begun)) == (408, "CD1023")


async def test_headers_of_a_second_request_have_their_deadline_too() -> None:
    async with served(QUICK) as (port, _):
        answer = await said(port, GOOD + b"POST /x HT")
        assert answer.count(b"HTTP/1.1 ") == 2
        assert b"CD1023" in answer


async def test_a_body_that_stands_still_ends_the_connection() -> None:
    async with served(QUICK) as (port, _):
        begun = b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 100000\r\n\r\nabc"
        assert status_and_code(await said(port, begun)) == (408, "CD1023")


async def test_a_body_that_flows_is_read_whole() -> None:
    async with served(Guards(body_grace_seconds=0.01, body_look_seconds=0.01, keepalive_seconds=0.05)) as (port, _):
        chunk = b"x" * 50_000
        head = b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000\r\n\r\n"
        assert (await said(port, head, *[chunk] * 20)).endswith(b"1000000")


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nhost: h\r\n\r\n", 414, "CD1022"),
        (b"GET / HTTP/1.1\r\nhost: h\r\nx: " + b"a" * 33_000 + b"\r\n\r\n", 431, "CD1021"),
        (b"GET / HTTP/1.1\r\nhost: h\r\n" + b"x: 1\r\n" * 101 + b"\r\n", 431, "CD1021"),
        (b"GET / HTTP/1.1\r\nhost: h\r\nx: " + b"a" * 45_000, 431, "CD1021"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "CD1020"),
        (b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400, "CD1020"),
        (
            b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "CD1020",
        ),
        (
            b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
            400,
            "CD1020",
        ),
        (b"POST / HTTP/1.0\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400, "CD1020"),
        (b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\na", 400, "CD1020"),
        (b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: -1\r\n\r\n", 400, "CD1020"),
        (b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: xchunked\r\n\r\n", 400, "CD1020"),
        (b"GET / HTTP/1.1\r\nhost: h\r\nx: a\r\n folded\r\n\r\n", 400, "CD1020"),
        (b"GET / HTTP/1.1\r\nhost: h\r\nx : a\r\n\r\n", 400, "CD1020"),
        (b"GET / HTTP/1.1\nhost: h\n\n", 400, "CD1020"),
        (b"GET / HTTP/1.1\r\nhost: h\r\nx: a\x00b\r\n\r\n", 400, "CD1020"),
        (b"CONNECT h:443 HTTP/1.1\r\nhost: h\r\n\r\n", 400, "CD1020"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 4, 400, "CD1020"),
        (b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400, "CD1020"),
    ],
)
async def test_what_can_be_read_in_two_ways_or_is_too_much_is_refused(
    request_bytes: bytes, status: int, code: str
) -> None:
    async with served(Guards(header_seconds=0.5, keepalive_seconds=0.1)) as (port, _):
        assert status_and_code(await said(port, request_bytes)) == (status, code)


async def test_a_flood_of_headers_ends_the_connection() -> None:
    """Whether its sender reads the answer before its own writing fails is not ours to say."""
    async with served(Guards(header_seconds=5)) as (port, _):
        answer = await said(port, b"GET / HTTP/1.1\r\nhost: h\r\nx: ", *[b"a" * 50_000] * 40)
        assert answer == b"" or status_and_code(answer) == (431, "CD1021")


async def test_one_address_holds_so_many_connections() -> None:
    async with served(Guards(connections_per_address=2, header_seconds=5)) as (port, protocol):
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        assert status_and_code(await said(port, GOOD)) == (429, "CD1024")
        assert protocol.addresses["127.0.0.1"] == 2
        for reader, writer in held:
            writer.close()
            assert await reader.read() == b""
        while protocol.addresses["127.0.0.1"]:
            await asyncio.sleep(0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GOOD)
        assert (await reader.read(12)) == b"HTTP/1.1 200"
        writer.close()


async def test_a_trusted_proxy_may_hold_more_connections() -> None:
    proxies = Proxies(["127.0.0.1"])
    async with served(Guards(connections_per_address=1), proxies=proxies) as (port, _):
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        for reader, writer in held:
            writer.write(GOOD)
            assert (await reader.read(12)) == b"HTTP/1.1 200"
            writer.close()


async def test_an_answer_before_the_body_lets_the_sender_finish_within_bounds() -> None:
    async with served(Guards(discard_bytes=200_000, keepalive_seconds=0.05), early) as (port, _):
        head = b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 100000\r\n\r\n"
        small = await said(port, head, b"x" * 100_000, GOOD)
        assert small.count(b"HTTP/1.1 413") == 2
        endless = [
            b"POST /x HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n",
            *[b"f00\r\n" + b"x" * 3840 + b"\r\n"] * 400,
        ]
        await said(port, *endless)


async def test_who_asks_hears_of_every_refusal() -> None:
    heard: list[tuple[int, str]] = []
    guards = Guards(header_seconds=0.05)
    async with served(guards, told=lambda error: heard.append((error.status, error.code))) as (port, _):
        await said(port, b"POST /x HTTP/1.1\r\nhost: h\r\n")
        await said(port, b"no HTTP at all\r\n\r\n")
    assert heard == [(408, "CD1023"), (400, "CD1020")]


async def test_two_listeners_count_apart() -> None:
    first, second = guarded(Guards()), guarded(Guards())
    first.addresses["a"] += 1
    assert not second.addresses
