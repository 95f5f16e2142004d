"""What an HTTP answer means for delivery: pure, and total over every status.

Statuses are read as RFC 9110 and RFC 6585 define them; a contract's own lists come first, `permanent` before `auth`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from crossdock.drivers.egress import EgressFailure, HttpAnswer
from crossdock.drivers.rate_limits import left_of
from crossdock.model.attempt import Answer, AnswerKind
from crossdock.model.contract import RetryRule
from crossdock.model.ids import Instant
from crossdock.model.limits import RETRY_AFTER_MS_MAX

_SECONDS = re.compile(r"[0-9]{1,10}")
_LATER = frozenset({408, 425})  # Request Timeout, Too Early: the request was not the fault
_BUSY = frozenset({429, 503})
_WAITS = frozenset({AnswerKind.BUSY, AnswerKind.BROKEN})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def kind_of(status: int, rule: RetryRule) -> AnswerKind:
    """What a status means under a route's rule. A redirect is never followed, so it is a rejection."""
    if status in rule.permanent:
        return AnswerKind.REJECTED
    if status in rule.auth:
        return AnswerKind.UNAUTHORISED
    if status in _BUSY:
        return AnswerKind.BUSY
    if status == 410:
        return AnswerKind.GONE
    if 200 <= status <= 299:
        return AnswerKind.TAKEN
    if 300 <= status <= 499 and status not in _LATER:
        return AnswerKind.REJECTED
    return AnswerKind.BROKEN


def retry_after_ms(value: str | None, now: Instant) -> int | None:
    """A Retry-After header (RFC 9110 section 10.2.3: seconds or an HTTP date) in ms from `now`, at most
    RETRY_AFTER_MS_MAX; None for none or a malformed one."""
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        return min(int(text) * 1000, RETRY_AFTER_MS_MAX)
    try:
        at = parsedate_to_datetime(text)
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        wait_ms = (at - _EPOCH) // timedelta(milliseconds=1) - now
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return max(0, min(wait_ms, RETRY_AFTER_MS_MAX))


def answer_of(outcome: HttpAnswer | EgressFailure, rule: RetryRule, now: Instant) -> Answer:
    """The answer for a whole request. The code classifies (`http_503`) and holds nothing of the far end's text."""
    match outcome:
        case EgressFailure(kind, code, took_ms):
            return Answer(kind, code, took_ms)
        case HttpAnswer(status, headers, _, took_ms):
            kind = kind_of(status, rule)
            wait_ms = retry_after_ms(headers.get("retry-after"), now) if kind in _WAITS else None
            left, left_ms = left_of(headers, now) or (None, None)
            return Answer(kind, f"http_{status}", took_ms, status, wait_ms, left, left_ms)


def item_answer(status: object, rule: RetryRule, took_ms: int) -> Answer:
    """The answer for one item of a batch, from the status that the far end gave it: `item_422` where it refused that
    one."""
    if isinstance(status, str) and status.isascii() and status.isdigit() and len(status) == 3:
        status = int(status)
    if not isinstance(status, int) or isinstance(status, bool) or not 100 <= status <= 599:
        return Answer(AnswerKind.BROKEN, "item_missing", took_ms)
    kind = kind_of(status, rule)
    return Answer(kind, f"{'item' if kind is AnswerKind.REJECTED else 'http'}_{status}", took_ms, status)
