"""What can go wrong for a caller, drawn at the top.

    ClientError
      InvalidEvent            the event cannot be sent at all: mend it, nothing went out
      Unreachable             no answer within the deadline: the server may or may not have taken it
      Problem                 the server answered with an RFC 9457 problem body
        Refused               4xx: your input, nothing was changed
          NotAllowed          401, 403
          NotFound            404
          Conflict            409
          TooFast             429, with retry_after_seconds
        Unavailable           5xx: the server's, try again

A token, a header value or a payload value never stands in one of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


class ClientError(Exception):
    """Everything that the client raises on purpose."""


class InvalidEvent(ClientError, ValueError):
    """CD7021: the event lacks what CloudEvents asks for, or is not JSON."""

    code = "CD7021"


class Unreachable(ClientError):
    """CD7020: no usable answer within the deadline. `reason` is of the last of `attempts` tries."""

    code = "CD7020"

    def __init__(self, reason: str, attempts: int) -> None:
        super().__init__(f"CD7020 No answer from Crossdock after {attempts} tries: {reason}.")
        self.reason = reason
        self.attempts = attempts


class Problem(ClientError):
    """`code` is Crossdock's own (CDnnnn, '' if the answer came from something in between); `pointers` are the JSON
    pointers of what was wrong in the body; `extensions` is what else the problem body says."""

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str = "",
        pointers: tuple[str, ...] = (),
        *,
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(status, code, title)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.pointers = pointers
        self.retry_after_seconds: float | None = None
        self.extensions: dict[str, Any] = dict(extensions or {})

    @property
    def remedy(self) -> str:
        """What the server says to do about it, '' when it says nothing."""
        return _text(self.extensions, "remedy")

    def __str__(self) -> str:
        where = f"({', '.join(self.pointers)})" if self.pointers else ""
        parts = (self.code or f"HTTP {self.status}", self.detail or self.title, where, self.remedy)
        return " ".join(part for part in parts if part)


class Refused(Problem):
    pass


class NotAllowed(Refused):
    pass


class NotFound(Refused):
    pass


class Conflict(Refused):
    pass


class TooFast(Refused):
    pass


class Unavailable(Problem):
    pass


_BY_STATUS: dict[int, type[Problem]] = {401: NotAllowed, 403: NotAllowed, 404: NotFound, 409: Conflict, 429: TooFast}
_NAMED = {"status", "code", "title", "detail", "pointers", "problems", "errors", "type"}


def problem_of(status: int, headers: Mapping[str, str], body: bytes) -> Problem:
    """The problem that an answer of 400 or above stands for; headers are lower-case."""
    document = _document(body)
    kind = _BY_STATUS.get(status, Unavailable if status >= 500 else Refused)
    found = kind(
        status,
        _text(document, "code"),
        _text(document, "title") or f"The server answered {status}.",
        _text(document, "detail"),
        _pointers(document),
        extensions={name: value for name, value in document.items() if name not in _NAMED},
    )
    found.retry_after_seconds = retry_after(headers)
    return found


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds (RFC 9110, 10.2.3; the form with a date is not honoured: it needs equal clocks)."""
    text = headers.get("retry-after", "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""


def _pointers(document: Mapping[str, Any]) -> tuple[str, ...]:
    """`pointers` is a list of JSON pointers; `problems` or `errors` a list of objects that each have one."""
    plain = document.get("pointers")
    if isinstance(plain, list):
        return tuple(pointer for pointer in plain if isinstance(pointer, str))
    listed = document.get("problems", document.get("errors"))
    if not isinstance(listed, list):
        return ()
    return tuple(str(item["pointer"]) for item in listed if isinstance(item, dict) and "pointer" in item)
