"""What follows from an answer."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.delivery.decide import cap_ms, decide, expiring, longest_span_ms
from crossdock.model.attempt import Answer, AnswerKind, Expire, Park, ParkReason, Retry, Settle
from crossdock.model.contract import RetryRule
from crossdock.model.ids import Instant
from crossdock.model.limits import DAY_MS, HOUR_MS, RETRY_AFTER_MS_MAX, SECOND_MS

RULE = RetryRule(first_ms=5_000, max_ms=HOUR_MS, attempts_max=20, for_ms=3 * DAY_MS, permanent=frozenset({400, 422}))
NOW = Instant(1_700_000_000_000)
LATER_KINDS = (AnswerKind.BUSY, AnswerKind.BROKEN, AnswerKind.TIMEOUT, AnswerKind.UNREACHABLE)
rules = st.builds(
    RetryRule,
    first_ms=st.integers(1, HOUR_MS),
    max_ms=st.integers(1, DAY_MS),
    attempts_max=st.integers(1, 50),
    for_ms=st.integers(1, 30 * DAY_MS),
)
draws = st.floats(0, 1, exclude_max=True)


def answer(kind: AnswerKind, status: int | None = None, retry_after_ms: int | None = None) -> Answer:
    return Answer(kind, str(kind), 12, status, retry_after_ms)


def half() -> float:
    return 0.5


def test_what_was_taken_is_settled() -> None:
    assert decide(answer(AnswerKind.TAKEN, 200), attempt=1, first_at=NOW, now=NOW, rule=RULE, dice=half) == Settle()


@pytest.mark.parametrize(
    ("kind", "status", "reason"),
    [
        (AnswerKind.REJECTED, 409, ParkReason.REJECTED),
        (AnswerKind.BROKEN, 422, ParkReason.REJECTED),
        (AnswerKind.UNRENDERABLE, None, ParkReason.UNRENDERABLE),
        (AnswerKind.FORBIDDEN, None, ParkReason.FORBIDDEN),
    ],
)
def test_what_can_never_succeed_is_parked_at_once(kind: AnswerKind, status: int | None, reason: ParkReason) -> None:
    assert decide(answer(kind, status), attempt=1, first_at=NOW, now=NOW, rule=RULE, dice=half) == Park(reason)


@pytest.mark.parametrize(
    ("kind", "status", "pause"),
    [
        (AnswerKind.GONE, 410, "gone"),
        (AnswerKind.UNAUTHORISED, None, "credential_refused"),
        (AnswerKind.REJECTED, 403, "credential_refused"),
        (AnswerKind.BROKEN, 401, "credential_refused"),
    ],
)
def test_what_every_entry_would_meet_pauses_the_connection_and_parks_nothing(
    kind: AnswerKind, status: int, pause: str
) -> None:
    decision = decide(answer(kind, status), attempt=99, first_at=NOW, now=NOW, rule=RULE, dice=half)
    assert isinstance(decision, Retry)
    assert decision.pause == pause


def test_a_status_that_the_contract_calls_permanent_parks_even_where_it_would_pause() -> None:
    rule = replace(RULE, permanent=frozenset({410}))
    decision = decide(answer(AnswerKind.GONE, 410), attempt=1, first_at=NOW, now=NOW, rule=rule, dice=half)
    assert decision == Park(ParkReason.REJECTED)


@given(st.sampled_from(LATER_KINDS), st.integers(1, 60), rules, draws)
def test_full_jitter_stays_between_nothing_and_the_cap(
    kind: AnswerKind, attempt: int, rule: RetryRule, draw: float
) -> None:
    decision = decide(answer(kind), attempt=attempt, first_at=NOW, now=NOW, rule=rule, dice=lambda: draw)
    if isinstance(decision, Retry):
        assert NOW <= decision.not_before <= NOW + cap_ms(rule, attempt) <= NOW + rule.max_ms


def test_full_jitter_reaches_the_whole_range() -> None:
    seeded = random.Random(4)
    waits = []
    for _ in range(2_000):
        decision = decide(answer(AnswerKind.BROKEN), attempt=3, first_at=NOW, now=NOW, rule=RULE, dice=seeded.random)
        assert isinstance(decision, Retry)
        waits.append(decision.not_before - NOW)
    assert min(waits) < 0.05 * 20_000
    assert max(waits) > 0.95 * 20_000
    assert 9_000 < sum(waits) / len(waits) < 11_000


@given(rules, st.integers(1, 60), st.integers(0, 2 * RETRY_AFTER_MS_MAX), draws)
def test_a_retry_never_comes_before_retry_after_nor_far_behind_it(
    rule: RetryRule, attempt: int, wish: int, draw: float
) -> None:
    busy = answer(AnswerKind.BUSY, 503, wish)
    decision = decide(busy, attempt=attempt, first_at=NOW, now=NOW, rule=rule, dice=lambda: draw)
    obeyed = min(wish, RETRY_AFTER_MS_MAX)
    if isinstance(decision, Retry):
        assert decision.not_before >= NOW + obeyed
        assert decision.not_before <= NOW + max(rule.max_ms, obeyed * 1.1)


@given(rules, st.integers(0, 60), st.integers(0, 40 * DAY_MS), draws)
def test_neither_the_attempts_nor_the_time_of_a_contract_are_exceeded(
    rule: RetryRule, attempt: int, age: int, draw: float
) -> None:
    first_at = Instant(NOW - age)
    decision = decide(
        answer(AnswerKind.TIMEOUT), attempt=attempt, first_at=first_at, now=NOW, rule=rule, dice=lambda: draw
    )
    if isinstance(decision, Retry):
        assert attempt < rule.attempts_max
        assert decision.not_before <= first_at + rule.for_ms
    else:
        assert decision == Park(ParkReason.EXHAUSTED)


def test_an_exhausted_entry_waits_for_a_person_where_the_contract_says_pause() -> None:
    rule = replace(RULE, pause_when_exhausted=True)
    decision = decide(answer(AnswerKind.TIMEOUT), attempt=20, first_at=NOW, now=NOW, rule=rule, dice=half)
    assert isinstance(decision, Retry)
    assert decision.pause == "exhausted"


def test_a_retry_that_would_come_too_late_expires() -> None:
    retry = Retry(Instant(NOW + 10), "http_503")
    assert expiring(retry, Instant(NOW + 10)) == Expire()
    assert expiring(retry, Instant(NOW + 11)) == retry
    assert expiring(retry, None) == retry
    assert expiring(Settle(), Instant(NOW - 1)) == Settle()


@pytest.mark.parametrize(
    ("rule", "span_ms"),
    [
        (RULE, 5_115 * SECOND_MS + 9 * HOUR_MS),  # 5 s doubling ten times is 1 h 25 min, then nine hours
        (replace(RULE, attempts_max=100), 3 * DAY_MS),  # enough attempts: the time decides
        (replace(RULE, attempts_max=1), 0),
    ],
)
def test_a_schedule_spans_what_its_rule_says(rule: RetryRule, span_ms: int) -> None:
    assert longest_span_ms(rule) == span_ms
    now, attempt = NOW, 1
    while True:
        decision = decide(
            answer(AnswerKind.BROKEN), attempt=attempt, first_at=NOW, now=now, rule=rule, dice=lambda: 0.999_999_999
        )
        if not isinstance(decision, Retry):
            break
        now, attempt = decision.not_before, attempt + 1
    assert span_ms - HOUR_MS <= now - NOW <= span_ms
