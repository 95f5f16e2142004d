"""One call from its first try to its answer, without doing I/O: what to send, how long to wait, when to give up.

`exchange` is a generator. It yields `Send` and `Wait`; whoever drives it (sync.py with http.client, aio.py with
aiohttp) does as it says and sends back an `Outcome`. So the rules of trying again stand here once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode, urlsplit

from crossdock.client.problems import ClientError, Unreachable, problem_of, retry_after

WAIT_SECONDS_FIRST = 0.2
WAIT_SECONDS_MAX = 10.0
ANSWER_BYTES_MAX = 32 * 1024 * 1024  # the largest page of anything is far below
_LATER = {429, 502, 503, 504}
_NOTHING_DONE = {429, 503}


@dataclass(frozen=True, slots=True)
class Call:
    """What to ask. `repeatable` says that doing it twice is as doing it once, so that a broken try may be repeated;
    other calls are tried again only when it is certain that nothing was done."""

    method: str
    path: str
    body: bytes | None = field(default=None, repr=False)
    content_type: str = "application/json"
    repeatable: bool = True
    patience_seconds: float = 0.0
    """How much longer than usual the answer may take (a long poll)."""


@dataclass(frozen=True, slots=True)
class Send:
    call: Call
    timeout_seconds: float
    fresh: bool
    """Open a new connection: an idle one may be closed by the far end just as this is sent."""


@dataclass(frozen=True, slots=True)
class Wait:
    seconds: float


Step: TypeAlias = "Send | Wait"


@dataclass(frozen=True, slots=True)
class Reply:
    """Headers are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Broken:
    """No answer. `sent` says that the far end may have read the request."""

    reason: str
    sent: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """`at` is the driver's monotonic clock, in seconds, when the step was done; `result` is None after a Wait."""

    at: float
    result: Reply | Broken | None = None


def exchange(
    call: Call, *, start: float, within_seconds: float, answer_seconds_max: float, dice: Callable[[], float]
) -> Generator[Step, Outcome, Any]:
    """The parsed JSON answer (None for an empty one); Problem for a refusal, Unreachable when the time is over."""
    deadline = start + within_seconds + call.patience_seconds
    now = start
    attempt = 0
    while True:
        attempt += 1
        timeout = max(0.001, min(deadline - now, answer_seconds_max + call.patience_seconds))
        outcome = yield Send(call, timeout, fresh=not call.repeatable or attempt > 1)
        now = outcome.at
        result = outcome.result
        if isinstance(result, Reply) and result.status < 300:
            return parsed(result)
        pause = _pause(result, attempt, dice)
        if not _again(call, result) or now + pause >= deadline:
            raise _failure(result, attempt)
        now = (yield Wait(pause)).at


def _again(call: Call, result: Reply | Broken | None) -> bool:
    if isinstance(result, Reply):
        return result.status in (_LATER if call.repeatable else _NOTHING_DONE)
    return call.repeatable or (isinstance(result, Broken) and not result.sent)


def _pause(result: Reply | Broken | None, attempt: int, dice: Callable[[], float]) -> float:
    """What the server asks for, or full jitter below an exponential bound."""
    asked = retry_after(result.headers) if isinstance(result, Reply) else None
    bound = min(WAIT_SECONDS_MAX, WAIT_SECONDS_FIRST * 2.0 ** min(attempt - 1, 10))
    return asked + dice() * WAIT_SECONDS_FIRST if asked is not None else bound * dice()


def _failure(result: Reply | Broken | None, attempts: int) -> ClientError:
    if isinstance(result, Reply):
        return problem_of(result.status, result.headers, result.body)
    return Unreachable(result.reason if result else "no answer", attempts)


def parsed(reply: Reply) -> Any:
    """The JSON of a good answer; text as it is where it is not JSON (/metrics)."""
    if not reply.body:
        return None
    if "json" not in reply.headers.get("content-type", ""):
        return reply.body.decode("utf-8", "replace")
    try:
        return json.loads(reply.body)
    except ValueError:
        raise Unreachable("the answer is not JSON", 1) from None


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server is. The token goes over plain http only to this machine, or where `plain_http` allows it."""

    url: str
    scheme: str
    host: str
    port: int
    prefix: str


def address_of(url: str, *, plain_http: bool) -> Address:
    """ValueError (CD7022) if the token must not travel to `url`, or it is no http address."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise ValueError("CD7022 The address of Crossdock is like https://crossdock.example or http://127.0.0.1:8710.")
    here = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if parts.scheme == "http" and not (here or plain_http):
        raise ValueError(
            "CD7022 A token would travel unencrypted. Use https, or allow plain http on a private network."
        )
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return Address(url.rstrip("/"), parts.scheme, parts.hostname, port, parts.path.rstrip("/"))


def headers_of(call: Call, token: str, agent: str) -> dict[str, str]:
    headers = {"accept": "application/json", "user-agent": agent}
    if token:
        headers["authorization"] = f"Bearer {token}"
    if call.body is not None:
        headers["content-type"] = call.content_type
    return headers


def checked_token(token: str) -> str:
    """ValueError (CD7022) for what cannot stand in a header; the value is not in the error."""
    if not token.isascii() or any(character <= " " for character in token):
        raise ValueError("CD7022 The token has characters that a token never has.")
    return token


def path(*parts: str) -> str:
    """Each part percent-encoded: a name with a slash stays one segment."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


def query(**values: str | int | bool | None) -> str:
    """'?a=1&b=2' of those that are given, '' without one."""
    given = {name: str(value).lower() if isinstance(value, bool) else value for name, value in values.items()}
    text = urlencode({name: value for name, value in given.items() if value is not None})
    return f"?{text}" if text else ""
