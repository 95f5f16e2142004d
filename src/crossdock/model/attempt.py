"""One try to deliver: what the far end said, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from crossdock.model.ids import CorrelationId, EventId, Instant, Position


class AnswerKind(StrEnum):
    """What the far end said, whatever the protocol."""

    TAKEN = "taken"  # it has it
    BUSY = "busy"  # 429, 503, 4yz: later, perhaps with a time
    BROKEN = "broken"  # 5xx, a protocol error: later
    REJECTED = "rejected"  # it will never take this one
    UNAUTHORISED = "unauthorised"  # our credential is not accepted
    GONE = "gone"  # 410: do not call again
    TIMEOUT = "timeout"  # no answer in time; it may have been taken
    UNREACHABLE = "unreachable"  # no connection: DNS, refused, TLS
    FORBIDDEN = "forbidden"  # our own egress guard or contract said no
    UNRENDERABLE = "unrenderable"  # the mapping cannot make a request of this event
    UNSENT = "unsent"  # nothing was called: it ended by itself, and the code says how; no driver answers so


@dataclass(frozen=True, slots=True)
class Answer:
    """`code` classifies without data (`http_503`, `smtp_451`, `timeout`); `retry_after_ms` is the far end's wish.
    `left`: so many calls more it takes within `left_ms`, as it says; not kept with the attempt."""

    kind: AnswerKind
    code: str
    took_ms: int
    status: int | None = None
    retry_after_ms: int | None = None
    left: int | None = field(default=None, compare=False)
    left_ms: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Attempt:
    """The record of one try, kept with the lane, or of an end without one (UNSENT). Never a body, a header value or a
    token."""

    position: Position
    event_id: EventId
    number: int
    at: Instant
    answer: Answer
    next: str
    correlation_id: CorrelationId
    not_before: Instant | None = None


class ParkReason(StrEnum):
    REJECTED = "rejected"
    UNRENDERABLE = "unrenderable"
    FORBIDDEN = "forbidden"
    EXHAUSTED = "exhausted"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Settle:
    """Done."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Later. `pause` asks that the connection be paused, with the reason; the entry waits meanwhile."""

    not_before: Instant
    reason: str
    pause: str | None = None


@dataclass(frozen=True, slots=True)
class Park:
    """Set aside for a person."""

    reason: ParkReason
    pause: str | None = None


@dataclass(frozen=True, slots=True)
class Expire:
    """Too old to be worth sending, as the contract says."""


Decision = Settle | Retry | Park | Expire
