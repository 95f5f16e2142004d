"""In front of every operation: a correlation id, the caller's token, and a bounded, well-formed body.

A body is read only for a caller who is known, and a bounded part of it, so that the operations behind need not care.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from crossdock.http.api.parts import Parts
from crossdock.http.problems import answer_of
from crossdock.model.errors import BadRequest, CrossdockError, TooLarge
from crossdock.model.ids import CorrelationId
from crossdock.model.limits import CONFIG_BYTES_MAX, KIB
from crossdock.stores.office import Act

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_MAX = CONFIG_BYTES_MAX + 64 * KIB  # the largest: a configuration, or an acknowledgement of a full page
OPEN = frozenset({"/openapi.json", "/docs"})
GIVEN = re.compile(r"[A-Za-z0-9._:-]{8,64}")
"""A caller's own correlation id: safe in a line and in an index. Another is answered with one of ours."""
ALWAYS = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class Gate:
    """ASGI middleware. Puts an `Act` (who, under which correlation id) into the scope's state."""

    def __init__(self, app: App, parts: Parts) -> None:
        self._app = app
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name: value for name, value in reversed(scope["headers"])}
        correlation = self._correlation(headers.get(b"x-correlation-id", b"").decode("latin-1"))

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                extra = [pair for pair in ALWAYS if pair[0] not in present]
                message["headers"] = [*message["headers"], *extra, (b"x-correlation-id", correlation.encode())]
            await send(message)

        state = scope.setdefault("state", {})
        state["correlation"] = correlation
        if scope["path"] in OPEN:
            await self._app(scope, receive, answer)
            return
        try:
            header = headers.get(b"authorization", b"").decode("latin-1")
            state["act"] = Act(await self._parts.tokens.bearer(header), correlation)
            body = await _body(headers.get(b"content-length", b""), receive)
        except CrossdockError as error:
            refused = answer_of(error, correlation)
            await answer({"type": "http.response.start", "status": refused.status, "headers": refused.headers})
            await answer({"type": "http.response.body", "body": refused.body})
            return
        await self._app(scope, _once(body, receive), answer)

    def _correlation(self, given: str) -> CorrelationId:
        return CorrelationId(given) if GIVEN.fullmatch(given) else self._parts.new_correlation()


async def _body(length: bytes, receive: Receive) -> bytes:
    """TooLarge (CD3032) beyond BODY_MAX, before the rest is read; BadRequest (CD3031) for what is no JSON."""
    if length.isdigit() and int(length) > BODY_MAX:
        raise _too_large()
    gathered = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadRequest("CD3031", "The request ended before its body did.")
        gathered += message.get("body", b"")
        if len(gathered) > BODY_MAX:
            raise _too_large()
        if not message.get("more_body", False):
            break
    if gathered:
        _check_json(bytes(gathered))
    return bytes(gathered)


def _check_json(body: bytes) -> None:
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise BadRequest("CD3031", "The body is not JSON (RFC 8259, UTF-8).", remedy="Send one JSON object.") from None


def _too_large() -> TooLarge:
    return TooLarge("CD3032", f"The body is larger than {BODY_MAX} bytes.")


def _once(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()  # a later disconnect
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
