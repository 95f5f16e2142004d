"""RFC 9457 problem bodies: the one place where an error becomes an HTTP answer.

The status is read off the error's class. A body has `type` (a URN of the code), `title` (the status in words),
`status`, `code`, `detail`, and where they are known `where`, `remedy`, `pointers` with `problems` ({pointer, rule}) and
`correlation_id`. Further facts stand beside them as extension members.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

import msgspec

from crossdock.model.errors import Bug, CrossdockError, TooFast, Unauthenticated, Unavailable

PROBLEM = "application/problem+json"
Value = str | int | bool | None | list[str] | list[dict[str, str]]
RESERVED = frozenset({"type", "title", "status", "code", "detail", "where", "remedy", "problems", "correlation_id"})
"""Members that a fact cannot replace."""

TITLES = {status.value: status.phrase for status in HTTPStatus} | {
    413: "Content Too Large",  # as RFC 9110 has them; Python 3.11 keeps the older names
    422: "Unprocessable Content",
}

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class ProblemAnswer:
    """A whole answer: header names are lower-case, as ASGI wants them."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def problem_of(error: CrossdockError, correlation_id: str = "") -> dict[str, Value]:
    """The members of the problem body. A Bug says only its code: what went wrong inside is for our own lines."""
    body: dict[str, Value] = {
        "type": f"urn:crossdock:problem:{error.code}",
        "title": TITLES.get(error.status, "Error"),
        "status": error.status,
        "code": error.code,
    }
    if isinstance(error, Bug):
        body["detail"] = "Something inside Crossdock went wrong. Nothing was promised."
    else:
        body |= _told(error)
    if correlation_id:
        body["correlation_id"] = correlation_id
    return body


def _told(error: CrossdockError) -> dict[str, Value]:
    told: dict[str, Value] = {"detail": error.message}
    told |= {name: text for name, text in (("where", error.where), ("remedy", error.remedy)) if text}
    facts = {name: value for name, value in error.facts.items() if name not in RESERVED}
    pointers, rules = facts.get("pointers"), facts.get("rules")
    if isinstance(pointers, list) and isinstance(rules, list) and len(pointers) == len(rules):
        del facts["rules"]
        told["problems"] = [{"pointer": at, "rule": rule} for at, rule in zip(pointers, rules, strict=True)]
    return told | facts


def answer_of(error: CrossdockError, correlation_id: str = "", challenge: bytes = b"Bearer") -> ProblemAnswer:
    """The answer to send. 401 carries the challenge that RFC 9110 (11.6.1) asks for, 429 and 503 a Retry-After of whole
    seconds, rounded up, so that a sender who obeys it is let in."""
    body = _encode(problem_of(error, correlation_id))
    headers = [
        (b"content-type", PROBLEM.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if isinstance(error, TooFast | Unavailable):
        headers.append((b"retry-after", str(max(1, -(-error.retry_after_ms // 1000))).encode()))
    if isinstance(error, Unauthenticated):
        headers.append((b"www-authenticate", challenge))
    return ProblemAnswer(error.status, headers, body)
