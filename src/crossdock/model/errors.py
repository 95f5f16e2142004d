"""Every error that Crossdock raises on purpose, drawn at the top.

    CrossdockError            a code with a page, what, where, what to do
      Refused                 your input: 4xx, nothing was changed
        BadRequest            400  malformed
        Unauthenticated       401  who are you
        Forbidden             403  not yours to do
        NotFound              404  unknown, or another store's: the two are not told apart
        WrongMethod           405
        TooSlow               408  the request did not arrive in time
        Conflict              409  the state says no, or it moved under you
        Gone                  410  this door is closed for good
        TooLarge              413
        TargetTooLong         414
        WrongMedia            415  a content type or encoding that is not taken here
        Invalid               422  well formed, but not per schema or rule
        TooFast               429  + Retry-After
        HeadersTooLarge       431
      Unavailable             503  ours, try again: + Retry-After
      Bug                     500  nobody's input: stop and look

The HTTP status is read off the class in one place (RFC 9457 problem bodies). A secret or a payload value never stands
in an error. `crossdock explain CODE` prints the page of a code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class CrossdockError(Exception):
    """`code` names the page; `where` is a file:line:column, a JSON pointer or a parameter; `remedy` says what to do."""

    status: ClassVar[int] = 500

    def __init__(
        self,
        code: str,
        message: str,
        *,
        where: str = "",
        remedy: str = "",
        facts: Mapping[str, str | int | bool | None | list[str]] | None = None,
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.where = where
        self.remedy = remedy
        self.facts: Mapping[str, str | int | bool | None | list[str]] = dict(facts or {})

    def __str__(self) -> str:
        return " ".join(part for part in (self.code, self.where, self.message, self.remedy) if part)


class Refused(CrossdockError):
    status = 400


class BadRequest(Refused):
    status = 400


class Unauthenticated(Refused):
    status = 401


class Forbidden(Refused):
    status = 403


class NotFound(Refused):
    status = 404


class WrongMethod(Refused):
    status = 405


class TooSlow(Refused):
    status = 408


class Conflict(Refused):
    status = 409


class Gone(Refused):
    status = 410


class TooLarge(Refused):
    status = 413


class TargetTooLong(Refused):
    status = 414


class WrongMedia(Refused):
    status = 415


class Invalid(Refused):
    status = 422


class TooFast(Refused):
    """Carries `retry_after_ms`: when the next try can succeed."""

    status = 429

    def __init__(self, code: str, message: str, *, retry_after_ms: int, remedy: str = "") -> None:
        super().__init__(code, message, remedy=remedy)
        self.retry_after_ms = retry_after_ms


class HeadersTooLarge(Refused):
    status = 431


class Unavailable(CrossdockError):
    """Carries `retry_after_ms`. Nothing was kept and nothing was promised."""

    status = 503

    def __init__(self, code: str, message: str, *, retry_after_ms: int = 1_000, remedy: str = "") -> None:
        super().__init__(code, message, remedy=remedy)
        self.retry_after_ms = retry_after_ms


class Bug(CrossdockError):
    status = 500


class IllegalMove(Conflict):
    """A state machine's table has no such move."""
