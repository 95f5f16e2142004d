"""What a signature scheme is given, and the only two things it may answer."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from crossdock.model.errors import Invalid
from crossdock.model.ids import Instant
from crossdock.model.limits import ID_CHARS_MAX

VALUE_CHARS_MAX = 4_096  # of one header a scheme reads: 16 signatures of SHA-512 in hex, and room
SIGNATURES_MAX = 16  # in one header: more is an attempt to make us work
TIMESTAMP_CHARS_MAX = 40


class Revealing(Protocol):
    """A secret, as far as a scheme needs to know."""

    def reveal(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """`url` is the one the sender was given, `headers` have lower-case names, `body` is exactly what came."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Verified:
    """`message_id` is the sender's own id of this message, `timestamp` the signed time; None where it sends none."""

    message_id: str | None
    timestamp: Instant | None


@dataclass(frozen=True, slots=True)
class Unverified:
    """`reason` is a code for our own log. The sender is told the same thing whatever it is."""

    reason: str


class Scheme(Protocol):
    """Pure. `verify` never raises, whatever a request holds; it compares in constant time with every candidate."""

    def verify(
        self,
        request: SignedRequest,
        secrets: Sequence[Revealing],
        knobs: Mapping[str, str],
        tolerance_ms: int,
        now: Instant,
    ) -> Verified | Unverified: ...

    def sign(
        self, body: bytes, secret: Revealing, message_id: str, now: Instant, knobs: Mapping[str, str]
    ) -> dict[str, str]:
        """The headers to send. Invalid CD6011 for wrong knobs, CD6012 for a secret that the scheme cannot use."""
        ...

    def knobs_problems(self, knobs: Mapping[str, str]) -> list[str]:
        """What is wrong with a contract's knobs, in sentences; empty if nothing is."""
        ...

    def secret_problem(self, secret: Revealing, knobs: Mapping[str, str]) -> str:
        """Why the scheme cannot use this secret ('' if it can), without a byte of it."""
        ...


def sound(value: str | None, chars_max: int = VALUE_CHARS_MAX) -> bool:
    """Whether a header's value is there, short enough, and printable ASCII."""
    return bool(value) and len(value or "") <= chars_max and (value or "").isascii() and (value or "").isprintable()


def sound_id(value: str | None) -> bool:
    """As `sound`, and without a space: what was sent twice and joined by ", " (RFC 9110, 5.3) is no id."""
    return sound(value, ID_CHARS_MAX) and " " not in (value or "")


def sound_list(value: str | None, separator: str) -> bool:
    """As `sound`, and sent once: joined by ", " only where a comma is the separator."""
    return sound(value) and ("," in separator or ", " not in (value or ""))


def read_time(text: str, unit: str) -> Instant | None:
    """The instant of a header's text, in `unit` s, ms or iso8601 (with an offset); None if it is not one."""
    if not sound(text, TIMESTAMP_CHARS_MAX):
        return None
    if unit == "iso8601":
        try:
            read = datetime.fromisoformat(text)
            return None if read.tzinfo is None else Instant(int(read.timestamp() * 1000))
        except (ValueError, OverflowError):
            return None
    if not text.isdigit() or len(text) > 15:
        return None
    return Instant(int(text) * (1 if unit == "ms" else 1000))


def write_time(now: Instant, unit: str) -> str:
    if unit == "iso8601":
        return datetime.fromtimestamp(now / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return str(now if unit == "ms" else now // 1000)


def fresh(at: Instant, now: Instant, tolerance_ms: int) -> bool:
    """Neither older nor further ahead than the tolerance: a request from the future can be kept for later, too."""
    return abs(now - at) <= tolerance_ms


def from_base64(raw: bytes) -> bytes | None:
    """Strictly decoded standard base64, or None."""
    try:
        return base64.b64decode(raw, validate=True)
    except (binascii.Error, ValueError):
        return None


def deferred(knobs: Mapping[str, str]) -> bool:
    """Whether a value waits for a connection's config, so that a contract alone cannot be judged."""
    return any("{config." in value for value in knobs.values())


def unknown_knobs(knobs: Mapping[str, str], known: frozenset[str]) -> list[str]:
    return [f"{name} is not a knob of this scheme; it has {', '.join(sorted(known))}" for name in knobs.keys() - known]


def wrong_knobs(problems: Sequence[str]) -> Invalid:
    return Invalid(
        "CD6011", f"The signature settings are wrong: {'; '.join(problems)}.", remedy="Correct the contract."
    )


def unusable(why: str) -> Invalid:
    return Invalid("CD6012", f"The signing secret cannot be used: {why}.", remedy="Enter it again, as issued.")
