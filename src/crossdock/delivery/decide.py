"""What follows from an answer: settle, retry, park or expire. Pure.

Full jitter over an exponential schedule: the n-th retry waits a uniformly drawn part of min(max, first * 2^(n-1)). That
spreads the retries of many entries best and needs the fewest calls in all (Amazon Builders' Library, "Timeouts,
retries, and backoff with jitter").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from crossdock.model.attempt import Answer, AnswerKind, Decision, Expire, Park, ParkReason, Retry, Settle
from crossdock.model.contract import RetryRule
from crossdock.model.ids import Instant
from crossdock.model.limits import RETRY_AFTER_MS_MAX

PAUSE_CREDENTIAL_REFUSED = "credential_refused"
PAUSE_GONE = "gone"
PAUSE_EXHAUSTED = "exhausted"

RETRY_AFTER_JITTER_SHARE = 0.1
"""What is added to a Retry-After, at most: so that all who heard the same time do not come back in the same instant."""


def decide(
    answer: Answer, *, attempt: int, first_at: Instant, now: Instant, rule: RetryRule, dice: Callable[[], float]
) -> Decision:
    """What to do after the `attempt`-th try (1, 2, ...) of an entry that was first tried at `first_at`.

    The contract's own lists come first: a status that it calls permanent parks, one that it calls auth pauses, whatever
    the driver made of it.
    """
    if answer.kind is AnswerKind.TAKEN:
        return Settle()
    if answer.status is not None and answer.status in rule.permanent:
        return Park(ParkReason.REJECTED)
    if answer.status is not None and answer.status in rule.auth:
        return _paused(PAUSE_CREDENTIAL_REFUSED, answer, attempt, now, rule)
    return _by_kind(answer, attempt, first_at, now, rule, dice)


def expiring(decision: Decision, expires_at: Instant | None) -> Decision:
    """The decision, or Expire where a retry would come when the event is no longer worth sending."""
    if isinstance(decision, Retry) and expires_at is not None and decision.not_before >= expires_at:
        return Expire()
    return decision


def cap_ms(rule: RetryRule, attempt: int) -> int:
    """The longest wait after the `attempt`-th try: it doubles from `first_ms` up to `max_ms`."""
    doublings = min(max(attempt, 1) - 1, 62)
    return min(rule.max_ms, rule.first_ms << doublings)


def longest_span_ms(rule: RetryRule) -> int:
    """How long the tries of one entry can stretch, from the first to the last, without a Retry-After."""
    total = 0
    for attempt in range(1, rule.attempts_max):
        total += cap_ms(rule, attempt)
        if total >= rule.for_ms:
            return rule.for_ms
    return total


def _by_kind(
    answer: Answer, attempt: int, first_at: Instant, now: Instant, rule: RetryRule, dice: Callable[[], float]
) -> Decision:
    match answer.kind:
        case AnswerKind.TAKEN:
            return Settle()
        case AnswerKind.REJECTED:
            return Park(ParkReason.REJECTED)
        case AnswerKind.UNRENDERABLE:
            return Park(ParkReason.UNRENDERABLE)
        case AnswerKind.FORBIDDEN | AnswerKind.UNSENT:
            return Park(ParkReason.FORBIDDEN)
        case AnswerKind.UNAUTHORISED:
            return _paused(PAUSE_CREDENTIAL_REFUSED, answer, attempt, now, rule)
        case AnswerKind.GONE:
            return _paused(PAUSE_GONE, answer, attempt, now, rule)
        case AnswerKind.BUSY | AnswerKind.BROKEN | AnswerKind.TIMEOUT | AnswerKind.UNREACHABLE:
            return _later(answer, attempt, first_at, now, rule, dice)
        case _:
            assert_never(answer.kind)


def _later(
    answer: Answer, attempt: int, first_at: Instant, now: Instant, rule: RetryRule, dice: Callable[[], float]
) -> Decision:
    not_before = Instant(now + _wait_ms(answer, attempt, rule, dice))
    if attempt < rule.attempts_max and not_before - first_at <= rule.for_ms:
        return Retry(not_before, answer.code)
    if rule.pause_when_exhausted:
        return _paused(PAUSE_EXHAUSTED, answer, attempt, now, rule)
    return Park(ParkReason.EXHAUSTED)


def _wait_ms(answer: Answer, attempt: int, rule: RetryRule, dice: Callable[[], float]) -> int:
    drawn = dice()
    jittered = int(drawn * (cap_ms(rule, attempt) + 1))
    if answer.retry_after_ms is None:
        return jittered
    wish = min(max(answer.retry_after_ms, 0), RETRY_AFTER_MS_MAX)
    return max(jittered, wish + int(drawn * min(rule.first_ms, wish * RETRY_AFTER_JITTER_SHARE)))


def _paused(pause: str, answer: Answer, attempt: int, now: Instant, rule: RetryRule) -> Retry:
    # The entry keeps its place and is tried when the connection resumes: nothing is lost while a person looks.
    return Retry(Instant(now + cap_ms(rule, attempt)), answer.code, pause=pause)
