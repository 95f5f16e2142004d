"""One HTTP/1.1 connection over a socket that the egress has vetted: one request at a time, strict and bounded.

Why not a client library: a general client resolves, redirects, decompresses and reads the environment, and each of
these is a hole to close again with every release; and the measured cost (about 10k requests a second on a core, where
this one reaches several times that) would be paid out of the two cores that also ingest. What remains without them is
small: write the bytes, parse one answer (httptools, RFC 9112), keep the connection if nothing is left over.

An answer is refused (`answer_malformed`) if it has both Content-Length and Transfer-Encoding, two lengths, a transfer
coding other than chunked, an upgrade, or headers beyond their bound. Bytes after an answer, or before a request, close
the connection, so that no answer can be taken for another one's (response smuggling).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from typing import cast

import httptools

from crossdock.drivers import rate_limits
from crossdock.model.limits import ANSWER_HEADER_BYTES_MAX, HEADERS_MAX, KIB

FEED_BYTES = 16 * KIB  # how far past a bound one feed of the parser can get
INTERIM_MAX = 8  # 1xx answers before the final one
KEPT_HEADERS = frozenset({"retry-after", "content-type", "content-encoding"}) | rate_limits.NAMES
FRAMING_HEADERS = frozenset({"content-length", "transfer-encoding"})


class Broken(StrEnum):
    """Why there is no answer. `CLOSED`: the far end went before its first byte."""

    CLOSED = "closed"
    MALFORMED = "answer_malformed"
    TOO_LARGE = "answer_headers_too_large"
    TRUNCATED = "answer_truncated"


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """`headers` holds only those that mean something to a driver. `cut`: the body was longer than asked for."""

    status: int
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    cut: bool


class HttpConnection(asyncio.Protocol):
    """`send` gives a future of the answer or of why there is none. After it, `reusable` says whether the connection
    may carry another request."""

    def __init__(self, loop: asyncio.AbstractEventLoop, opened_at: float) -> None:
        self.opened_at = opened_at
        self.idle_since = opened_at
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[RawAnswer | Broken] | None = None
        self._reset(0)

    # One answer

    def _reset(self, body_bytes_max: int) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body_bytes_max = body_bytes_max
        self._seen = 0
        self._header_bytes = 0
        self._interim = 0
        self._done = False
        self._dirty = False
        self._cut = False
        self._excess = False
        self._keep = False
        self._persistent = False
        self._status = 0
        self._start_answer()

    def _start_answer(self) -> None:
        self._headers: dict[str, str] = {}
        self._headers_count = 0
        self._headers_done = False
        self._refused = False
        self._body = bytearray()

    @property
    def reusable(self) -> bool:
        transport = self._transport
        return transport is not None and not transport.is_closing() and self._keep and self._waiter is None

    def send(self, request: bytes, body_bytes_max: int) -> asyncio.Future[RawAnswer | Broken]:
        """Writes a whole request. The caller bounds the time, and calls `abort` if it gives up."""
        waiter: asyncio.Future[RawAnswer | Broken] = self._loop.create_future()
        if self._transport is None or self._transport.is_closing():
            waiter.set_result(Broken.CLOSED)
            return waiter
        self._reset(body_bytes_max)
        self._waiter = waiter
        self._transport.write(request)
        return waiter

    def abort(self) -> None:
        self._keep = False
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        self._keep = False
        if self._transport is not None:
            self._transport.close()

    def _finish(self, outcome: RawAnswer | Broken, keep: bool) -> None:
        waiter, self._waiter = self._waiter, None
        if not keep:
            self.abort()
        self._keep = keep
        if waiter is not None and not waiter.done():
            waiter.set_result(outcome)

    def _answer(self) -> RawAnswer:
        kept = {name: value for name, value in self._headers.items() if name in KEPT_HEADERS}
        return RawAnswer(self._status, kept, bytes(self._body), self._cut)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class, only by behaviour
        self._keep = True

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:
            self.abort()  # nobody asked
            return
        view = memoryview(data)
        for start in range(0, len(view), FEED_BYTES):
            if self._feed(view[start : start + FEED_BYTES]):
                self._dirty = self._dirty or start + FEED_BYTES < len(view)
                break
        else:
            return
        self._finish(self._answer(), keep=self._persistent and not self._dirty and not self._cut)

    def _feed(self, piece: memoryview) -> bool:
        """Whether there is nothing more to read of this answer."""
        self._seen += len(piece)
        try:
            self._parser.feed_data(piece)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._dirty = True
            if not self._done:
                self._finish(Broken.MALFORMED, keep=False)
        if self._waiter is None or self._done:
            return self._waiter is not None
        if self._refused:
            self._finish(Broken.MALFORMED, keep=False)
        elif self._excess or self._stalls():
            self._finish(Broken.TOO_LARGE, keep=False)
        elif self._cut:
            return True
        return False

    def _stalls(self) -> bool:
        """More bytes came than any honest framing of what is asked for takes: endless headers, chunk extensions."""
        if not self._headers_done:
            return self._seen > ANSWER_HEADER_BYTES_MAX
        return self._seen > 2 * ANSWER_HEADER_BYTES_MAX + 8 * self._body_bytes_max

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._waiter is None:
            return
        if not self._seen:
            self._finish(Broken.CLOSED, keep=False)
        elif exc is None and self._headers_done and not FRAMING_HEADERS & self._headers.keys():
            self._finish(self._answer(), keep=False)  # RFC 9112 section 6.3: the close is the end
        else:
            self._finish(Broken.TRUNCATED, keep=False)

    # httptools callbacks

    def on_message_begin(self) -> None:
        if self._done:
            self._dirty = True

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value) + 4
        self._headers_count += 1
        if self._header_bytes > ANSWER_HEADER_BYTES_MAX or self._headers_count > HEADERS_MAX:
            self._excess = True
        if self._headers_done or self._done:
            return  # trailers, or what follows the answer
        key = name.decode("latin-1").lower()
        if key in FRAMING_HEADERS and FRAMING_HEADERS & self._headers.keys():
            self._refused = True  # llhttp refuses most of these by itself; this does not hang on its leniency
        self._headers[key] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._done:
            return
        self._headers_done = True
        status = self._status = self._parser.get_status_code()
        if status == 101 or not 100 <= status <= 599:
            self._refused = True
        if self._headers.get("transfer-encoding", "chunked").strip().lower() != "chunked":
            self._refused = True

    def on_body(self, body: bytes) -> None:
        if self._done:
            return
        room = self._body_bytes_max - len(self._body)
        self._cut = self._cut or len(body) > room
        self._body += body[:room]

    def on_message_complete(self) -> None:
        if self._done or self._refused or self._excess:
            return
        if self._status >= 200:
            self._done = True
            self._persistent = self._parser.should_keep_alive()
            return
        self._interim += 1
        self._start_answer()
        self._refused = self._interim > INTERIM_MAX
