"""How a far end may answer: honestly, rudely, or with a lie. Pure: a manner and a request give bytes and an ending.

A far end that says 2xx in a whole answer has taken what it was sent: that is what 2xx means. Every other manner may
have taken it or not, and the sender cannot know."""

from __future__ import annotations

import json
from dataclasses import dataclass
from email.utils import formatdate
from enum import StrEnum

from crossdock.model.ids import Instant


class Manner(StrEnum):
    OK = "ok"
    NO_CONTENT = "no_content"
    CHUNKED = "chunked"
    INTERIM = "interim"  # 100 and 103 before the answer
    BY_CLOSE = "by_close"  # no length: the close is the end
    CLOSING = "closing"  # a whole answer, and `connection: close`
    SLOW = "slow"
    DRIPPING = "dripping"  # a whole answer, byte by byte
    TALKATIVE = "talkative"  # bytes that nobody asked for, after a whole answer
    CUT_BEFORE = "cut_before"  # taken, and the line is cut before the answer
    CUT_INSIDE = "cut_inside"  # taken, and the line is cut in the answer
    RESET = "reset"  # not taken
    LATE = "late"  # taken, and answered when nobody waits any more
    HANG = "hang"
    GARBAGE = "garbage"
    TWO_LENGTHS = "two_lengths"
    TOO_LONG = "too_long"  # says more bytes than come
    ENDLESS = "endless"
    HUGE_HEADERS = "huge_headers"
    REDIRECT = "redirect"
    UPGRADE = "upgrade"
    SPENT = "spent"  # taken, and that was the last one for so many seconds
    THROTTLED = "throttled"  # 429 with seconds
    RESTING = "resting"  # 503 with a date
    BROKEN = "broken"
    FALSE_OK = "false_ok"  # 200 with an error in its body: for a batch it is one, elsewhere 2xx counts
    REJECTED = "rejected"
    UNAUTHORISED = "unauthorised"
    GONE = "gone"


HONEST = (Manner.OK, Manner.NO_CONTENT, Manner.CHUNKED, Manner.INTERIM, Manner.BY_CLOSE, Manner.CLOSING)
TAKING = frozenset(
    {
        *HONEST,
        Manner.SPENT,
        Manner.SLOW,
        Manner.DRIPPING,
        Manner.TALKATIVE,
        Manner.CUT_BEFORE,
        Manner.CUT_INSIDE,
        Manner.LATE,
    }
)
"""What has been taken when the answer begins. FALSE_OK takes too, where there are no items to refuse."""
PERHAPS = frozenset(
    {
        Manner.GARBAGE, Manner.TWO_LENGTHS, Manner.TOO_LONG, Manner.ENDLESS, Manner.HUGE_HEADERS, Manner.BROKEN,
        Manner.HANG,
    }
)  # fmt: skip
"""Taken or not, who knows."""
REFUSING = {Manner.REJECTED: 422, Manner.UNAUTHORISED: 401, Manner.GONE: 410}


@dataclass(frozen=True, slots=True)
class Spoken:
    """`pieces` follow each other, each so many seconds after the one before; `end` is close, reset or nothing."""

    pieces: tuple[tuple[float, bytes], ...]
    end: str = ""


def spoken(manner: Manner, body: bytes, now: Instant, wait_s: int) -> Spoken:  # noqa: C901  # one line per manner
    """`now` is the far end's own clock; `wait_s` what it asks for, or how slow it is."""
    whole = answer(200, body)
    match manner:
        case Manner.NO_CONTENT if not body:
            return Spoken(((0.0, b"HTTP/1.1 204 No Content\r\n\r\n"),))
        case Manner.CHUNKED:
            head = b"HTTP/1.1 202 Accepted\r\ntransfer-encoding: chunked\r\n\r\n"
            return Spoken(
                ((0.0, head), (0.01, b"%x\r\n%s\r\n" % (len(body), body) if body else b""), (0, b"0\r\n\r\n"))
            )
        case Manner.INTERIM:
            return Spoken(((0.0, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n"), (0.02, whole)))
        case Manner.BY_CLOSE:
            return Spoken(((0.0, b"HTTP/1.1 200 OK\r\n\r\n" + body),), "close")
        case Manner.CLOSING:
            return Spoken(((0.0, answer(200, body, "connection: close\r\n")),), "close")
        case Manner.SLOW:
            return Spoken(((min(wait_s, 4) + 0.3, whole),))
        case Manner.DRIPPING:
            return Spoken(tuple((0.01, whole[at : at + 16]) for at in range(0, len(whole), 16)))
        case Manner.TALKATIVE:
            return Spoken(((0.0, whole + b"and more"),))
        case Manner.CUT_BEFORE:
            return Spoken((), "close")
        case Manner.CUT_INSIDE:
            return Spoken(((0.0, whole[: len(whole) - max(1, len(body) // 2)]),), "close")
        case Manner.RESET:
            return Spoken((), "reset")
        case Manner.LATE:
            return Spoken(((7.5, whole),))
        case Manner.HANG:
            return Spoken(())
        case _:
            return _rude(manner, body, now, wait_s)


def _rude(manner: Manner, body: bytes, now: Instant, wait_s: int) -> Spoken:
    match manner:
        case Manner.SPENT:
            return Spoken(((0.0, answer(200, body, f'ratelimit: "calls";r=0;t={wait_s}\r\n')),))
        case Manner.THROTTLED:
            return Spoken(((0.0, answer(429, b"", f"retry-after: {wait_s}\r\n")),))
        case Manner.RESTING:
            until = formatdate(now // 1_000 + wait_s, usegmt=True)
            return Spoken(((0.0, answer(503, b"", f"retry-after: {until}\r\n")),))
        case Manner.TOO_LONG:
            return Spoken(((0.0, b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n" + (body or b"{}")),), "close")
        case Manner.ENDLESS:
            head = b"HTTP/1.1 500 Oh\r\ntransfer-encoding: chunked\r\n\r\n"
            return Spoken(((0.0, head), *((0.2, b"4000\r\n" + b"x" * 0x4000 + b"\r\n") for _ in range(24))))
        case Manner.FALSE_OK:
            return Spoken(((0.0, answer(200, body or b'{"error": "nothing was done"}')),))
        case _:
            return Spoken(((0.0, FIXED[manner] if manner in FIXED else answer(REFUSING.get(manner, 200), body)),))


def answer(status: int, body: bytes, more: str = "") -> bytes:
    return f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{more}\r\n".encode() + body


def results_of(ids: list[str], statuses: list[int]) -> bytes:
    """A batch's answer, item by item."""
    told = [{"event_id": one, "status": status} for one, status in zip(ids, statuses, strict=True)]
    return json.dumps({"results": told}).encode()


FIXED: dict[Manner, bytes] = {
    Manner.GARBAGE: b"\x16\x03\x01\x02\x00 this is no HTTP\r\n\r\n",
    Manner.TWO_LENGTHS: b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    Manner.HUGE_HEADERS: b"HTTP/1.1 200 OK\r\n" + b"x-more: " + b"y" * 40_000 + b"\r\n\r\n",
    Manner.REDIRECT: answer(302, b"", "location: http://10.0.0.1/\r\n"),
    Manner.UPGRADE: b"HTTP/1.1 101 Switching\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
    Manner.BROKEN: answer(500, b"oops"),
}
