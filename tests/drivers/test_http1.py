"""The HTTP/1.1 client against servers that behave and servers that do not, over real sockets."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass

import pytest
from loopback import local_egress, request, serving, target, turns

from crossdock.drivers.egress import EgressFailure, HttpAnswer
from crossdock.drivers.pool import CONNECTION_SECONDS_MAX, IDLE_SECONDS_MAX, Pool
from crossdock.model.attempt import AnswerKind
from crossdock.model.limits import LANE_IN_FLIGHT_MAX, PROCESS_IN_FLIGHT_MAX

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def ask(*answers: object, times: int = 1, **other: object) -> tuple[list[HttpAnswer | EgressFailure], int]:
    async with serving(*answers) as receiver, local_egress(receiver.port) as egress:  # type: ignore[arg-type]
        said = [await egress.request(request(target(receiver.port), **other)) for _ in range(times)]
        return said, receiver.connections


@pytest.mark.parametrize(
    ("raw", "status", "body"),
    [
        (OK, 200, b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (
            b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nX: y\r\n\r\n",
            202,
            b"abc",
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK, 200, b"ok"),
        (b"HTTP/1.1 500\r\nContent-Length: 0\r\n\r\n", 500, b""),
    ],
)
async def test_an_honest_answer_is_read_whole_and_the_connection_is_kept(raw: bytes, status: int, body: bytes) -> None:
    said, connections = await ask(raw, times=3)
    assert [(one.status, one.body) for one in said if isinstance(one, HttpAnswer)] == [(status, body)] * 3
    assert connections == 1


async def test_a_body_that_ends_with_the_connection_is_read() -> None:
    async def close(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nto the end")
        writer.close()

    (one,), _ = await ask(close)
    assert isinstance(one, HttpAnswer)
    assert (one.status, one.body) == (200, b"to the end")


async def test_connection_close_is_obeyed() -> None:
    said, connections = await ask(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", times=3)
    assert all(isinstance(one, HttpAnswer) for one in said)
    assert connections == 3


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01 hello",
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2x\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\rc\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 103 Early\r\n\r\n" * 50,
    ],
)
async def test_a_malformed_answer_is_broken_and_its_connection_is_dropped(raw: bytes) -> None:
    said, connections = await ask(raw, OK, times=2)
    assert isinstance(said[0], EgressFailure)
    assert (said[0].kind, said[0].code) == (AnswerKind.BROKEN, "answer_malformed")
    assert isinstance(said[1], HttpAnswer)
    assert connections == 2


async def test_bytes_after_an_answer_are_never_taken_for_the_next_one() -> None:
    forged = OK + b"HTTP/1.1 500 Forged\r\nContent-Length: 0\r\n\r\n"
    said, connections = await ask(forged, OK, times=2)
    assert [one.status for one in said if isinstance(one, HttpAnswer)] == [200, 200]
    assert connections == 2


async def test_bytes_before_a_request_drop_the_connection() -> None:
    pushed = asyncio.Event()

    async def twice(writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await writer.drain()
        await pushed.wait()
        writer.write(b"HTTP/1.1 500 Forged\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with serving(twice, OK) as receiver, local_egress(receiver.port) as egress:
        await egress.request(request(target(receiver.port)))
        pushed.set()
        await turns()
        second = await egress.request(request(target(receiver.port)))
    assert isinstance(second, HttpAnswer)
    assert second.status == 200
    assert receiver.connections == 2


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\n" + b"A: " + b"x" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: x\r\n" * 101 + b"Content-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 2_000_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: x\r\n" * 5_000 + b"\r\n",
    ],
)
async def test_endless_headers_and_extensions_are_cut_off(raw: bytes) -> None:
    (one,), _ = await ask(raw)
    assert isinstance(one, EgressFailure)
    assert one.kind is AnswerKind.BROKEN
    assert one.code in {"answer_headers_too_large", "answer_malformed"}


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"400\r\n" + b"x" * 1024 + b"\r\n") * 900,
    ],
)
async def test_a_body_beyond_its_bound_is_cut_and_the_status_stands(raw: bytes) -> None:
    said, connections = await ask(raw, times=2, answer_bytes_max=1_500)
    assert [(one.status, len(one.body), one.cut) for one in said if isinstance(one, HttpAnswer)] == [
        (200, 1_500, True)
    ] * 2
    assert connections == 2


async def test_an_encoded_body_is_not_decoded() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00"
    async with serving(raw) as receiver, local_egress(receiver.port) as egress:
        one = await egress.request(request(target(receiver.port)))
    assert isinstance(one, HttpAnswer)
    assert one.body == b""
    assert "accept-encoding: identity" in receiver.requests[0][0].lower()


async def _reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _partial(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    writer.close()


async def _half_header(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    writer.close()


async def _half_chunk(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")
    writer.close()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.mark.parametrize(
    ("script", "kind", "code"),
    [
        (_reset, AnswerKind.UNREACHABLE, "unreachable"),
        (_close, AnswerKind.UNREACHABLE, "unreachable"),
        (_partial, AnswerKind.BROKEN, "answer_truncated"),
        (_half_header, AnswerKind.BROKEN, "answer_truncated"),
        (_half_chunk, AnswerKind.BROKEN, "answer_truncated"),
    ],
)
async def test_an_answer_that_breaks_off_is_told_by_how_far_it_came(
    script: object, kind: AnswerKind, code: str
) -> None:
    (one,), _ = await ask(script)
    assert isinstance(one, EgressFailure)
    assert (one.kind, one.code) == (kind, code)


async def test_a_request_is_written_once_even_if_a_kept_connection_dies_on_it() -> None:
    async with serving(OK, _close) as receiver, local_egress(receiver.port) as egress:
        await egress.request(request(target(receiver.port)))
        second = await egress.request(request(target(receiver.port)))
    assert isinstance(second, EgressFailure)
    assert len(receiver.requests) == 2


async def test_a_connection_closed_between_requests_is_not_written_to() -> None:
    async def answer_and_close(writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        writer.close()

    async with serving(answer_and_close) as receiver, local_egress(receiver.port) as egress:
        for _ in range(3):
            one = await egress.request(request(target(receiver.port)))
            assert isinstance(one, HttpAnswer)
            await turns()
    assert receiver.connections == len(receiver.requests) == 3


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"])
async def test_a_slow_answer_ends_at_the_deadline(part: bytes) -> None:
    said, connections = await ask(part, OK, times=2, timeout_ms=60)
    assert isinstance(said[0], EgressFailure)
    assert (said[0].kind, said[0].code) == (AnswerKind.TIMEOUT, "timeout")
    assert isinstance(said[1], HttpAnswer)
    assert connections == 2


async def test_a_cancelled_request_leaves_no_connection_behind() -> None:
    async with serving(b"", OK) as receiver, local_egress(receiver.port) as egress:
        task = asyncio.create_task(egress.request(request(target(receiver.port))))
        while not receiver.requests:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert isinstance(await egress.request(request(target(receiver.port))), HttpAnswer)
    assert receiver.connections == 2


def test_it_works_on_the_loop_that_serves() -> None:
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not for this platform")
    said, connections = uvloop.run(ask(OK, times=3))
    assert [one.status for one in said] == [200] * 3
    assert connections == 1


async def test_idle_connections_are_closed_on_time() -> None:
    pool: Pool[str, Idle] = Pool()
    lines = [Idle(opened_at=0.0) for _ in range(3)]
    pool.give("a", lines[0], now=0.0)
    pool.give("b", lines[1], now=IDLE_SECONDS_MAX - 1)
    pool.sweep(IDLE_SECONDS_MAX)
    assert [line.closed for line in lines] == [True, False, False]
    assert pool.take("a", IDLE_SECONDS_MAX) is None
    assert pool.take("b", IDLE_SECONDS_MAX) is lines[1]
    pool.give("b", lines[1], now=CONNECTION_SECONDS_MAX)
    assert lines[1].closed
    assert len(pool) == 0


async def test_the_pool_is_bounded_per_key_and_altogether() -> None:
    pool: Pool[int, Idle] = Pool()
    for key in range(PROCESS_IN_FLIGHT_MAX + 10):
        pool.give(key, Idle(opened_at=0.0), now=1.0)
    assert len(pool) == PROCESS_IN_FLIGHT_MAX
    pool.close()
    for _ in range(LANE_IN_FLIGHT_MAX + 10):
        pool.give(1, Idle(opened_at=0.0), now=1.0)
    assert len(pool) == LANE_IN_FLIGHT_MAX


@dataclass
class Idle:
    opened_at: float
    idle_since: float = 0.0
    closed: bool = False

    @property
    def reusable(self) -> bool:
        return not self.closed

    def close(self) -> None:
        self.closed = True
