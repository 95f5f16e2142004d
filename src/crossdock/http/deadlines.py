"""uvicorn's HTTP protocol with the deadlines and bounds that it does not have.

Headers must be whole in time and within their sizes; a body must flow; one address holds so many connections; a request
whose length can be read in two ways is refused (RFC 9112, 6.1). A refusal is a problem body and ends the connection.
The parser (llhttp, strict) itself refuses folded headers, bare line feeds and Content-Length beside Transfer-Encoding.

`guarded(guards)` makes the class for `uvicorn.Config(http=...)`. Its address counts live in that class, so every
listener that is given the same class shares them.
"""

from __future__ import annotations

from asyncio import TimerHandle, Transport
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from crossdock.http.problems import TITLES, answer_of
from crossdock.http.proxies import Proxies
from crossdock.ingest.gcra import address_key
from crossdock.model.errors import BadRequest, HeadersTooLarge, Refused, TargetTooLong, TooFast, TooSlow
from crossdock.model.limits import (
    BODY_BYTES_MAX,
    BODY_BYTES_PER_SECOND_MIN,
    BODY_GRACE_SECONDS,
    CONNECTIONS_PER_ADDRESS_MAX,
    HEADER_BYTES_MAX,
    HEADER_SECONDS_MAX,
    HEADERS_MAX,
    KEEPALIVE_SECONDS,
    TARGET_BYTES_MAX,
)

NO_PROXIES = Proxies()
Told = Callable[[Refused], None]

LINE_OVERHEAD = 4  # ": " and the line's end
BODY_LOOK_SECONDS = 1.0  # how often a body's flow is looked at


@dataclass(frozen=True, slots=True)
class Guards:
    """`discard_bytes` is how much of a body is still read, and thrown away, after its request has been answered, so
    that the sender gets to read the answer."""

    header_seconds: float = HEADER_SECONDS_MAX
    header_bytes: int = HEADER_BYTES_MAX
    headers: int = HEADERS_MAX
    target_bytes: int = TARGET_BYTES_MAX
    body_grace_seconds: float = BODY_GRACE_SECONDS
    body_look_seconds: float = BODY_LOOK_SECONDS
    body_bytes_per_second: int = BODY_BYTES_PER_SECOND_MIN
    discard_bytes: int = BODY_BYTES_MAX
    keepalive_seconds: float = KEEPALIVE_SECONDS
    connections_per_address: int = CONNECTIONS_PER_ADDRESS_MAX


class GuardedProtocol(HttpToolsProtocol):
    guards: ClassVar[Guards] = Guards()
    addresses: ClassVar[Counter[str]] = Counter()
    told: ClassVar[tuple[Told, ...]] = ()
    proxies: ClassVar[Proxies] = Proxies()

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.timeout_keep_alive = self.guards.keepalive_seconds  # type: ignore[assignment]  # call_later takes floats
        self._address = ""
        self._in_headers = True
        self._refused = False
        self._begun = False  # there is a request, and uvicorn's `cycle` for it
        self._header_bytes = 0
        self._body_bytes = 0
        self._body_bytes_seen = 0
        self._discarded = 0
        self._header_timer: TimerHandle | None = None
        self._body_timer: TimerHandle | None = None

    # The connection

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        super().connection_made(transport)
        self._address = address_key(self.client[0]) if self.client else ""
        self.addresses[self._address] += 1
        many = self.addresses[self._address] > self.guards.connections_per_address
        if many and not (self.client and self.proxies.trusts(self.client[0])):
            self._refuse(TooFast("CD1024", "Too many connections from this address.", retry_after_ms=1_000))
            return
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self.addresses[self._address] -= 1
        if self.addresses[self._address] <= 0:
            del self.addresses[self._address]
        self._header_timer = _stopped(self._header_timer)
        self._body_timer = _stopped(self._body_timer)
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._in_headers:
            # What a header's value has grown to is known only at its end: what was fed bounds it meanwhile.
            self._header_bytes += len(data)
            if self._header_timer is None:
                self._await_headers()
        super().data_received(data)
        if self._overfed():
            self._refuse(_headers_too_large(self.guards))

    def _overfed(self) -> bool:
        """Whether more came than whole headers may be, and they are not whole yet."""
        return self._in_headers and self._header_bytes > self.guards.header_bytes + self.guards.target_bytes

    # The parser's calls

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers = True
        if self._header_timer is None:
            self._await_headers()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > self.guards.target_bytes:
            self._refuse(TargetTooLong("CD1022", f"The request line is longer than {self.guards.target_bytes} bytes."))

    def on_headers_complete(self) -> None:
        self._header_timer = _stopped(self._header_timer)
        self._in_headers = False
        self._header_bytes = 0
        self._body_bytes = self._body_bytes_seen = self._discarded = 0
        fault = None if self._refused else self._fault()
        if fault is not None:
            self._refuse(fault)
        if self._refused:
            return
        super().on_headers_complete()
        self._begun = True
        self._body_timer = _stopped(self._body_timer)
        first_look = self.guards.body_grace_seconds + self.guards.body_look_seconds
        self._body_timer = self.loop.call_later(first_look, self._look_at_body)

    def on_body(self, body: bytes) -> None:
        if self._refused or not self._begun:
            return
        self._body_bytes += len(body)
        if self.cycle.response_complete:
            self._discarded += len(body)
            if self._discarded > self.guards.discard_bytes:
                self._refused = True
                self.transport.close()
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._body_timer = _stopped(self._body_timer)
        self._in_headers = True
        if not self._refused and self._begun:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._body_timer is not None:  # the rest of the body still comes: its own deadline holds, not the idle one
            self._unset_keepalive_if_required()

    # Refusals

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls for bytes that are not HTTP."""
        self._refuse(BadRequest("CD1020", "This is not a sound HTTP/1.1 request."))

    def _fault(self) -> Refused | None:
        """What is wrong with whole headers, in the order in which it matters."""
        guards, names = self.guards, [name for name, _ in self.headers]
        if len(names) > guards.headers:
            return _headers_too_large(guards)
        if sum(len(name) + len(value) + LINE_OVERHEAD for name, value in self.headers) > guards.header_bytes:
            return _headers_too_large(guards)
        if b"transfer-encoding" in names and (b"content-length" in names or self.parser.get_http_version() != "1.1"):
            return BadRequest("CD1020", "The length of the body can be read in two ways.")
        if names.count(b"content-length") > 1 or names.count(b"transfer-encoding") > 1:
            return BadRequest("CD1020", "The length of the body is said twice.")
        if names.count(b"host") != 1 and self.parser.get_http_version() == "1.1":
            return BadRequest("CD1020", "A request names exactly one host.")
        return None

    def _await_headers(self) -> None:
        self._header_timer = self.loop.call_later(self.guards.header_seconds, self._headers_late)

    def _headers_late(self) -> None:
        self._header_timer = None
        self._refuse(TooSlow("CD1023", f"The headers were not whole within {self.guards.header_seconds} seconds."))

    def _look_at_body(self) -> None:
        """A body that came too slowly since the last look ends the connection; one that we ourselves hold back does
        not."""
        came = self._body_bytes - self._body_bytes_seen
        self._body_bytes_seen = self._body_bytes
        needed = self.guards.body_bytes_per_second * self.guards.body_look_seconds
        if came < needed and not self.flow.read_paused:
            self._body_timer = None
            rate = self.guards.body_bytes_per_second
            self._refuse(TooSlow("CD1023", f"The body came slower than {rate} bytes a second."))
            return
        self._body_timer = self.loop.call_later(self.guards.body_look_seconds, self._look_at_body)

    def _refuse(self, error: Refused) -> None:
        """Says why, where nobody else is in the middle of an answer, and ends the connection."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        for tell in self.told:
            tell(error)
        self._header_timer = _stopped(self._header_timer)
        self._body_timer = _stopped(self._body_timer)
        self._unset_keepalive_if_required()
        if not self._begun or self.cycle.response_complete or self._unanswered():
            answer = answer_of(error)
            lines = [f"HTTP/1.1 {answer.status} {TITLES[answer.status]}\r\n".encode()]
            lines += [name + b": " + value + b"\r\n" for name, value in answer.headers]
            self.transport.write(b"".join([*lines, b"connection: close\r\n\r\n", answer.body]))
        self.transport.close()

    def _unanswered(self) -> bool:
        """Whether the request in progress is the one that is refused, and nothing of its answer is out."""
        return not self.cycle.response_started and not self.pipeline and self.cycle.more_body


def guarded(guards: Guards, *told: Told, proxies: Proxies = NO_PROXIES) -> type[GuardedProtocol]:
    """A protocol class with these guards and its own address counts. Each of `told` hears of every refusal. One of
    `proxies` carries many senders, and may hold more connections than others."""
    own = {"guards": guards, "addresses": Counter(), "told": told, "proxies": proxies}
    return type("Guarded", (GuardedProtocol,), own)


def _headers_too_large(guards: Guards) -> Refused:
    return HeadersTooLarge(
        "CD1021", f"The headers are more than {guards.headers} lines or {guards.header_bytes} bytes."
    )


def _stopped(timer: TimerHandle | None) -> TimerHandle | None:
    """None, and the timer does not ring."""
    if timer is not None:
        timer.cancel()
    return None
