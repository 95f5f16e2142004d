"""The one guarded way out of the process. Whatever Crossdock calls, it calls through here.

For each new connection: the name is resolved once, within the deadline; if any answer is not a public address nothing
is called; otherwise the socket goes to one of those very addresses, and its peer is checked again. TLS verifies the
name. Redirects are answers, never followed; nothing is read from the environment; nothing is decompressed; time and
bytes are bounded. Of a failure a store hears one of a few codes. Nothing is told of an address that is not public: a
name that leads to one and a name that does not exist are both `dns`, so that no store can map a network by asking.

A kept connection belongs to one store, one connection and one destination, and leads to the address that was vetted
when it was opened; it lives at most CONNECTION_SECONDS_MAX, so that a change of DNS is seen.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TypeAlias

from crossdock.contracts.addresses import HTTPS_PORTS, host_name, public
from crossdock.drivers.http1 import Broken, HttpConnection, RawAnswer
from crossdock.drivers.pool import IDLE_SECONDS_MAX, Pool
from crossdock.drivers.resolver import Resolver, system_resolver
from crossdock.model.attempt import AnswerKind
from crossdock.model.contract import Environment
from crossdock.model.errors import Invalid
from crossdock.model.ids import ConnectionId, StoreId
from crossdock.model.limits import ANSWER_BYTES_MAX, TARGET_BYTES_MAX
from crossdock.stores.ways import Target

SMTP_PORTS = frozenset({25, 465, 587, 2525})
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
ADDRESSES_TRIED_MAX = 3
CONNECT_SECONDS_MAX = 10.0
OWN_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "expect", "upgrade", "te"}
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_VALUE = re.compile(r"[\x20-\x7e\x80-\xff\t]{0,8192}")
_PATH = re.compile(r"/[\x21\x22\x24-\x5b\x5d-\x7e]*")
_DOTS = re.compile(r"(?:^|/|%2f|%5c)(?:\.|%2e){1,2}(?:/|%2f|%5c|;|$)", re.IGNORECASE)


SocketOf: TypeAlias = "Callable[[int], socket.socket]"
"""A fresh stream socket of an address family. A simulation gives its own."""


def system_socket(family: int) -> socket.socket:
    return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)


CODES = {"dns": "dns", "not_public": "dns", "own_address": "dns", "connect": "connect", "tls": "tls"}
"""What a store hears of a connection that was not made; anything else is `unreachable`."""


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What this installation may call. `loopback_allow` holds the loopback (address, port) pairs that a target's
    `connect_to` may name, in `local` only. `operator_hosts` are (host, port) pairs beyond the usual ports that the
    operator allows; they must be public all the same. `live_hosts` are never called outside production. `own` is where
    this process listens. `tls` replaces the system's trust store."""

    environment: Environment
    loopback_allow: frozenset[tuple[str, int]] = frozenset()
    operator_hosts: frozenset[tuple[str, int]] = frozenset()
    live_hosts: frozenset[str] = frozenset()
    own: frozenset[tuple[str, int]] = frozenset()
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        if self.loopback_allow and self.environment is not Environment.LOCAL:
            raise Invalid(
                "CD4050",
                f"Loopback targets are allowed in the local environment only, and this one is {self.environment}.",
                where="loopback_allow",
                remedy="Remove host_map and loopback_allow from the settings, or run as local.",
            )
        for address, port in self.loopback_allow:
            if not _is_loopback(address) or not 0 < port < 65536:
                raise Invalid(
                    "CD4051",
                    "A loopback target must be a literal loopback address and a port.",
                    where="loopback_allow",
                    remedy="Write 127.0.0.1:PORT or [::1]:PORT.",
                )


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """`headers` and `body` go out as they are; Host, Content-Length and the connection's own headers are the egress's.
    `path` starts with / and is encoded already."""

    store: StoreId
    connection: ConnectionId
    target: Target
    method: str
    path: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)
    timeout_ms: int
    answer_bytes_max: int = ANSWER_BYTES_MAX


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """`headers` by lower-case name: retry-after, content-type, content-encoding and those of `rate_limits` only. An
    encoded body is dropped, and a body beyond the bound is `cut`."""

    status: int
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    took_ms: int
    cut: bool = False


@dataclass(frozen=True, slots=True)
class EgressFailure:
    """No answer. `why` is for the operator's log alone: a store sees `kind` and `code`."""

    kind: AnswerKind
    code: str
    took_ms: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Origin:
    store: StoreId
    connection: ConnectionId
    scheme: str
    host: str
    port: int
    connect_to: tuple[str, int] | None


class Egress:
    """Refusals are values: nothing here raises for what a target is or does. `close` drops every connection."""

    def __init__(
        self, policy: EgressPolicy, resolver: Resolver = system_resolver, sockets: SocketOf = system_socket
    ) -> None:
        self._policy = policy
        self._resolver = resolver
        self._sockets = sockets
        self._pool: Pool[_Origin, HttpConnection] = Pool()
        self._tls = policy.tls
        self._sweeper: asyncio.TimerHandle | None = None

    async def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._pool.close()

    def _sweep(self) -> None:
        """Idle connections are closed on time even when nothing else is sent."""
        loop = asyncio.get_running_loop()
        self._pool.sweep(loop.time())
        self._sweeper = loop.call_later(IDLE_SECONDS_MAX / 2, self._sweep) if len(self._pool) else None

    async def request(self, request: HttpRequest) -> HttpAnswer | EgressFailure:
        """One request, one answer, within `timeout_ms` altogether. It is written at most once."""
        refusal = self._refuse_request(request)
        if refusal is not None:
            return EgressFailure(*refusal)
        loop = asyncio.get_running_loop()
        began = loop.time()
        sent: list[HttpConnection] = []
        try:
            async with asyncio.timeout(request.timeout_ms / 1000):
                outcome = await self._exchange(request, loop, sent)
        except TimeoutError:
            kind, code = (AnswerKind.TIMEOUT, "timeout") if sent else (AnswerKind.UNREACHABLE, "unreachable")
            outcome = EgressFailure(kind, code, why="deadline")
        finally:
            for line in sent:
                self._give_back(request, line, loop.time())
        took_ms = int((loop.time() - began) * 1000)
        match outcome:
            case RawAnswer(status, headers, body, cut):
                encoded = headers.get("content-encoding", "identity").strip().lower() != "identity"
                return HttpAnswer(status, headers, b"" if encoded else body, took_ms, cut)
            case EgressFailure(kind, code, _, why):
                return EgressFailure(kind, code, took_ms, why)

    async def _exchange(
        self, request: HttpRequest, loop: asyncio.AbstractEventLoop, sent: list[HttpConnection]
    ) -> RawAnswer | EgressFailure:
        origin = _origin(request)
        line = self._pool.take(origin, loop.time()) or await self._open(origin, request.target, loop)
        if isinstance(line, str):
            return _unreachable(line)
        sent.append(line)
        match await line.send(_bytes(request), request.answer_bytes_max):
            case RawAnswer() as answer:
                return answer
            case Broken.CLOSED:
                # It may have been read before the far end went: no second write here, the lane decides.
                return _unreachable(str(Broken.CLOSED))
            case broken:
                return EgressFailure(AnswerKind.BROKEN, str(broken), why=str(broken))

    def _give_back(self, request: HttpRequest, line: HttpConnection, now: float) -> None:
        if line.reusable:
            self._pool.give(_origin(request), line, now)
            if self._sweeper is None:
                self._sweep()
        else:
            line.abort()

    async def _open(self, origin: _Origin, target: Target, loop: asyncio.AbstractEventLoop) -> HttpConnection | str:
        found = await self._connect(target, loop)
        if isinstance(found, str):
            return found
        secure = target.scheme == "https"
        if secure and self._tls is None:
            self._tls = ssl.create_default_context()  # reads the trust store: once, when it is first needed
        try:
            _, line = await loop.create_connection(
                lambda: HttpConnection(loop, loop.time()),
                sock=found,
                ssl=self._tls if secure else None,
                server_hostname=target.host if secure else None,
            )
        except (OSError, ssl.CertificateError):
            found.close()
            return "tls" if secure else "connect"
        except BaseException:
            found.close()
            raise
        return line

    async def open_stream(
        self, store: StoreId, connection: ConnectionId, target: Target, timeout_ms: int
    ) -> socket.socket | EgressFailure:
        """A connected, vetted socket for a protocol of its own (SMTP); the caller closes it."""
        del store, connection  # nothing is shared: each call opens its own
        refusal = self._refuse_target(target)
        if refusal is not None:
            return EgressFailure(*refusal)
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                found = await self._connect(target, asyncio.get_running_loop())
        except TimeoutError:
            found = "deadline"
        if isinstance(found, str):
            return _unreachable(found)
        return found

    # The guard

    def _refuse_target(self, target: Target) -> tuple[AnswerKind, str] | None:
        name = target.host.lower()
        if self._policy.environment is not Environment.PRODUCTION and name in self._policy.live_hosts:
            return AnswerKind.FORBIDDEN, "live_host"
        if target.connect_to is not None:
            return None if target.connect_to in self._policy.loopback_allow else (AnswerKind.FORBIDDEN, "host")
        if target.scheme not in {"https", "smtp"}:
            return AnswerKind.FORBIDDEN, "scheme"
        if not target.host.isascii() or host_name(target.host) is None:
            return AnswerKind.FORBIDDEN, "host"
        ports = SMTP_PORTS if target.scheme == "smtp" else HTTPS_PORTS
        if target.port not in ports and (name, target.port) not in self._policy.operator_hosts:
            return AnswerKind.FORBIDDEN, "port"
        return None

    def _refuse_request(self, request: HttpRequest) -> tuple[AnswerKind, str] | None:
        refusal = self._refuse_target(request.target)
        if refusal is not None:
            return refusal
        if request.target.scheme not in {"https", "http"}:
            return AnswerKind.FORBIDDEN, "scheme"
        if request.method not in METHODS or request.method not in request.target.methods:
            return AnswerKind.FORBIDDEN, "method"
        if not path_allowed(request.path, request.target.paths):
            return AnswerKind.FORBIDDEN, "path"
        for name, value in request.headers:
            if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value) or name.lower() in OWN_HEADERS:
                return AnswerKind.UNRENDERABLE, "header"
        return None

    async def _connect(self, target: Target, loop: asyncio.AbstractEventLoop) -> socket.socket | str:
        """A connected socket, or why not. Every address is vetted before the first is called."""
        port = target.port
        if target.connect_to is not None:
            address, port = target.connect_to
            return await self._dial(loop, address, port, lambda peer: (peer, port) in self._policy.loopback_allow)
        addresses = await self._resolver(target.host, port)
        if not addresses:
            return "dns"
        if not all(public(address) for address in addresses):
            return "not_public"
        if any((address, port) in self._policy.own for address in addresses):
            return "own_address"
        found: socket.socket | str = "connect"
        for address in addresses[:ADDRESSES_TRIED_MAX]:
            found = await self._dial(loop, address, port, public)
            if isinstance(found, socket.socket):
                break
        return found

    async def _dial(
        self, loop: asyncio.AbstractEventLoop, address: str, port: int, allowed: Callable[[str], bool]
    ) -> socket.socket | str:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        one = self._sockets(family)
        kept = False
        try:
            one.setblocking(False)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                await loop.sock_connect(one, (address, port))
            peer = one.getpeername()[0]
            kept = peer == str(ip_address(address)) and allowed(peer)
            return one if kept else "peer_moved"
        except (OSError, TimeoutError):
            return "connect"
        finally:
            if not kept:
                one.close()


def _unreachable(why: str) -> EgressFailure:
    return EgressFailure(AnswerKind.UNREACHABLE, CODES.get(why, "unreachable"), why=why)


def path_allowed(path: str, patterns: Sequence[str]) -> bool:
    """Whether one of the contract's patterns covers `path`: segment by segment, where `{name}` or `*` stands for one
    whole segment. A query must be covered by the pattern's own, unless the pattern has none. Dot segments are
    refused, encoded or not."""
    if len(path) > TARGET_BYTES_MAX or not _PATH.fullmatch(path):
        return False
    bare, _, query = path.partition("?")
    if _DOTS.search(bare):
        return False
    return any(_covers(pattern, bare, query) for pattern in patterns)


def _covers(pattern: str, bare: str, query: str) -> bool:
    wanted, _, wanted_query = pattern.partition("?")
    left, right = wanted.split("/"), bare.split("/")
    if len(left) != len(right) or (wanted_query and wanted_query != query):
        return False
    return all(
        want == got or (bool(got) and (want == "*" or (want.startswith("{") and want.endswith("}"))))
        for want, got in zip(left, right, strict=True)
    )


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def _origin(request: HttpRequest) -> _Origin:
    target = request.target
    return _Origin(request.store, request.connection, target.scheme, target.host, target.port, target.connect_to)


def _bytes(request: HttpRequest) -> bytes:
    target = request.target
    host = f"[{target.host}]" if ":" in target.host else target.host
    port = "" if target.port in {80, 443} else f":{target.port}"
    head = [f"{request.method} {request.path} HTTP/1.1", f"Host: {host}{port}", "Accept-Encoding: identity"]
    if request.body or request.method in {"POST", "PUT", "PATCH"}:
        head.append(f"Content-Length: {len(request.body)}")
    head.extend(f"{name}: {value}" for name, value in request.headers)
    return "\r\n".join((*head, "", "")).encode("latin-1") + request.body
