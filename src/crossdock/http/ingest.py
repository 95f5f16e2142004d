"""The hot path as bare ASGI: `POST /in/{connection}[/{route}]` and `POST /v1/stores/{store}/events`.

Everything else goes to the application behind it. A body is counted while it is read, and refused before more of it is
kept than the limit allows, whatever its Content-Length says. Each request leaves one line.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

from crossdock.http.problems import PROBLEM, ProblemAnswer, answer_of
from crossdock.http.proxies import Proxies
from crossdock.ingest.accept import Accepted, Acceptor, Arrival, too_large
from crossdock.ingest.cloudevents import BULK, trace_of
from crossdock.model.errors import BadRequest, CrossdockError, Forbidden, Unauthenticated, WrongMedia, WrongMethod
from crossdock.model.ids import CorrelationId, Instant, base32
from crossdock.model.limits import BODY_BYTES_MAX, BULK_BODY_BYTES_MAX
from crossdock.observe.lines import Lines

Scope: TypeAlias = "MutableMapping[str, Any]"
Message: TypeAlias = "MutableMapping[str, Any]"
Receive: TypeAlias = "Callable[[], Awaitable[Message]]"
Send: TypeAlias = "Callable[[Message], Awaitable[None]]"
Application: TypeAlias = "Callable[[Scope, Receive, Send], Awaitable[None]]"

_EVENTS = re.compile(r"/v1/stores/([^/]{1,255})/events")
_CORRELATION = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_ONCE = frozenset({b"authorization", b"content-type", b"content-length", b"content-encoding", b"x-correlation-id"})
"""Headers that are one value: a second one is a way to be read twice, differently."""

# The one answer to whoever cannot show who they are, and to who can but is not let in. It says nothing of either.
_NOT_ACCEPTED = msgspec.json.encode(
    {
        "type": "urn:crossdock:problem:CD1001",
        "title": "Not Accepted",
        "code": "CD1001",
        "detail": "The address, the signature or the time of this request is not accepted.",
    }
)
_NOT_ACCEPTED_HEADERS = [
    (b"content-type", PROBLEM.encode()),
    (b"content-length", str(len(_NOT_ACCEPTED)).encode()),
    (b"cache-control", b"no-store"),
]
_CHALLENGE = b"Signature"


class Gone(Exception):
    """The sender closed before its body had come. There is nobody to answer."""


@dataclass(frozen=True, slots=True)
class Edge:
    """`public_url` is the address that senders were given, without a path: some schemes sign it. `random` makes
    correlation ids."""

    public_url: str
    random: Callable[[int], bytes]
    clock: Callable[[], Instant]
    lines: Lines
    proxies: Proxies = field(default_factory=Proxies)


@dataclass(slots=True)
class _Turn:
    """What is known of a request so far, for its line."""

    scope: Scope
    receive: Receive
    send: Send
    correlation: CorrelationId
    path: str
    address: str
    store: str = ""
    connection: str = ""
    known: bool = False


def arrives(scope: Scope) -> bool:
    """Whether a request is for one of the two paths."""
    if scope["type"] != "http":
        return False
    path: str = scope["path"]
    return path.startswith("/in/") or (scope["method"] == "POST" and _EVENTS.fullmatch(path) is not None)


class IngestApp:
    """ASGI. `otherwise` gets every request (and the lifespan) that is not for these two paths."""

    def __init__(self, acceptor: Acceptor, edge: Edge, otherwise: Application) -> None:
        self._acceptor = acceptor
        self._edge = edge
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not arrives(scope):
            await self._otherwise(scope, receive, send)
        elif scope["path"].startswith("/in/"):
            await self._answered(self._sender, scope, receive, send)
        else:
            await self._answered(self._core, scope, receive, send)

    async def _answered(
        self, take: Callable[[_Turn], Awaitable[Accepted]], scope: Scope, receive: Receive, send: Send
    ) -> None:
        edge, began = self._edge, self._edge.clock()
        turn = _Turn(scope, receive, send, CorrelationId(""), scope["path"], _address(scope, edge.proxies))
        try:
            turn.correlation = _correlation(scope["headers"], edge.random)
            accepted = await take(turn)
        except Gone:
            edge.lines.write("ingest.refused", **self._refused(turn, 499, "CD1028", began))
        except CrossdockError as error:
            edge.lines.write("ingest.refused", **self._refused(turn, error.status, error.code, began))
            await _send(send, _refusal(error, turn))
        else:
            edge.lines.write(
                "ingest.accepted",
                store=accepted.store,
                origin=accepted.origin,
                connection=accepted.connection,
                route=accepted.route,
                type=accepted.type,
                events=accepted.events,
                outcome="duplicate" if accepted.duplicates == accepted.events else "kept",
                position=accepted.position,
                correlation=accepted.correlation_id,
                took_ms=edge.clock() - began,
            )
            await _send(send, _acceptance(accepted))

    def _refused(
        self, turn: _Turn, status: int, code: str, began: Instant
    ) -> dict[str, str | int | float | bool | None]:
        return {
            "store": turn.store if turn.known else "",
            "connection": turn.connection if turn.known else "",
            "status": status,
            "code": code,
            "correlation": turn.correlation,
            "took_ms": self._edge.clock() - began,
        }

    async def _sender(self, turn: _Turn) -> Accepted:
        """A third party's request. Its route's own body limit holds only once it has shown who it is: see accept."""
        if turn.scope["method"] != "POST":
            raise WrongMethod("CD1009", "Send it with POST.")
        self._acceptor.admit(turn.address, turn.path)
        connection, _, route = turn.path[4:].partition("/")
        door = await self._acceptor.door(connection, route or None)
        if door is not None:
            turn.store, turn.connection, turn.known = door.store, door.connection, True
        headers = _headers(turn.scope["headers"])
        _check_encoding(headers)
        return await self._acceptor.from_sender(door, await self._arrival(turn, headers, BODY_BYTES_MAX))

    async def _core(self, turn: _Turn) -> Accepted:
        """The core's request: its token is looked at before a byte of the body is."""
        match = _EVENTS.fullmatch(turn.path)
        turn.store = match[1] if match is not None else ""
        self._acceptor.admit(turn.address, turn.path)
        headers = _headers(turn.scope["headers"])
        authorization = headers.get("authorization")
        try:
            store = await self._acceptor.authorise(
                authorization.encode("latin-1") if authorization is not None else None, turn.store
            )
        except Unauthenticated:
            self._acceptor.blame(turn.address, turn.path)
            raise
        turn.known = True
        _check_encoding(headers)
        limit = BULK_BODY_BYTES_MAX if _media(headers) in BULK else BODY_BYTES_MAX
        return await self._acceptor.from_core(store, await self._arrival(turn, headers, limit))

    async def _arrival(self, turn: _Turn, headers: dict[str, str], limit: int) -> Arrival:
        scope = turn.scope
        query: bytes = scope.get("query_string", b"")
        raw: bytes = scope.get("raw_path") or turn.path.encode()
        target = raw.decode("latin-1") + ("?" + query.decode("latin-1") if query else "")
        declared = headers.get("content-length", "")
        if declared.isascii() and declared.isdigit() and (len(declared) > 15 or int(declared) > limit):
            self._acceptor.blame(turn.address, turn.path)
            raise too_large(limit)
        return Arrival(
            method=scope["method"],
            url=self._edge.public_url + target,
            path=turn.path,
            address=turn.address,
            media=_media(headers),
            headers=headers,
            body=await self._body(turn, limit),
            correlation_id=turn.correlation,
            traceparent=trace_of(headers.get("traceparent")),
        )

    async def _body(self, turn: _Turn, limit: int) -> bytes:
        """The body, refused with the chunk that passes the limit."""
        chunks: list[bytes] = []
        size, more = 0, True
        while more:
            message = await turn.receive()
            if message["type"] == "http.disconnect":
                raise Gone
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                self._acceptor.blame(turn.address, turn.path)
                raise too_large(limit)
            chunks.append(chunk)
            more = message.get("more_body", False)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _headers(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """By lower-case name; a repeated field is one list (RFC 9110, 5.3), except where only one value can be meant."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}
    if len(headers) == len(raw):
        return headers
    joined: dict[str, str] = {}
    for name, value in raw:
        key = name.decode("latin-1")
        if key in joined and name in _ONCE:
            raise BadRequest("CD1020", "A header that has one value came twice.", where=f"header {key}")
        joined[key] = f"{joined[key]}, {value.decode('latin-1')}" if key in joined else value.decode("latin-1")
    return joined


def _address(scope: Scope, proxies: Proxies) -> str:
    """Who is held to account: the peer, or whom a trusted proxy names."""
    client = scope.get("client")
    peer: str = client[0] if client is not None else ""
    if not proxies.trusts(peer):
        return peer
    named = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return proxies.client(peer, ",".join(named))


def _media(headers: dict[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _check_encoding(headers: dict[str, str]) -> None:
    """What is signed and counted is what came: nothing is unpacked here."""
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise WrongMedia(
            "CD1008", "A packed body is not taken.", where="content-encoding", remedy="Send it without an encoding."
        )


def _correlation(raw: list[tuple[bytes, bytes]], random: Callable[[int], bytes]) -> CorrelationId:
    """The sender's own correlation id where it is a sound one, else a new one."""
    for name, value in raw:
        if name == b"x-correlation-id" and _CORRELATION.fullmatch(value):
            return CorrelationId(value.decode("ascii"))
    return CorrelationId(base32(random(17), 26))


def _acceptance(accepted: Accepted) -> ProblemAnswer:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(accepted.body)).encode()),
        (b"x-correlation-id", accepted.correlation_id.encode()),
    ]
    return ProblemAnswer(accepted.status, headers, accepted.body)


def _refusal(error: CrossdockError, turn: _Turn) -> ProblemAnswer:
    if isinstance(error, Unauthenticated) and error.code == "CD1001":
        return ProblemAnswer(401, [*_NOT_ACCEPTED_HEADERS, (b"www-authenticate", _CHALLENGE)], _NOT_ACCEPTED)
    if isinstance(error, Forbidden) and error.code == "CD1001":
        return ProblemAnswer(403, _NOT_ACCEPTED_HEADERS, _NOT_ACCEPTED)
    answer = answer_of(error, turn.correlation)
    answer.headers.append((b"x-correlation-id", turn.correlation.encode()))
    if isinstance(error, WrongMethod):
        answer.headers.append((b"allow", b"POST"))
    return answer


async def _send(send: Send, answer: ProblemAnswer) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})
