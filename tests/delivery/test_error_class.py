"""What kind of trouble an answer is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.drivers.answers import answer_of, item_answer
from crossdock.drivers.egress import CODES, EgressFailure, HttpAnswer
from crossdock.model.attempt import Answer, AnswerKind
from crossdock.model.contract import RetryRule
from crossdock.model.error_class import OF_KIND, ErrorClass, error_class
from crossdock.model.ids import Instant

RULE = RetryRule(first_ms=1_000, max_ms=60_000, attempts_max=10, for_ms=3_600_000)


def heard(status: int) -> ErrorClass | None:
    return error_class(answer_of(HttpAnswer(status, {}, b"", 1), RULE, Instant(0)))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, None),
        (204, None),
        (302, ErrorClass.HTTP_3XX),
        (400, ErrorClass.HTTP_INVALID),
        (401, ErrorClass.CREDENTIAL),
        (403, ErrorClass.CREDENTIAL),
        (404, ErrorClass.HTTP_NOT_FOUND),
        (408, ErrorClass.HTTP_4XX),
        (409, ErrorClass.HTTP_CONFLICT),
        (410, ErrorClass.HTTP_GONE),
        (413, ErrorClass.HTTP_TOO_LARGE),
        (418, ErrorClass.HTTP_4XX),
        (422, ErrorClass.HTTP_INVALID),
        (429, ErrorClass.THROTTLED),
        (500, ErrorClass.HTTP_5XX),
        (503, ErrorClass.HTTP_5XX),
    ],
)
def test_a_status_has_a_class(status: int, expected: ErrorClass | None) -> None:
    assert heard(status) is expected


@pytest.mark.parametrize(
    ("why", "expected"),
    [
        ("dns", ErrorClass.DNS),
        ("not_public", ErrorClass.DNS),
        ("own_address", ErrorClass.DNS),
        ("connect", ErrorClass.CONNECT),
        ("tls", ErrorClass.TLS),
        ("deadline", ErrorClass.CONNECT),
    ],
)
def test_a_connection_that_was_not_made_has_a_class(why: str, expected: ErrorClass) -> None:
    failure = EgressFailure(AnswerKind.UNREACHABLE, CODES.get(why, "unreachable"), 1, why)
    assert error_class(answer_of(failure, RULE, Instant(0))) is expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(AnswerKind.TIMEOUT, "timeout", 1), ErrorClass.TIMEOUT),
        (Answer(AnswerKind.UNRENDERABLE, "mapping", 0), ErrorClass.MAPPING),
        (Answer(AnswerKind.UNAUTHORISED, "credential_missing", 0), ErrorClass.CREDENTIAL),
        (Answer(AnswerKind.FORBIDDEN, "host", 0), ErrorClass.FORBIDDEN),
        (Answer(AnswerKind.BROKEN, "driver_failed", 0), ErrorClass.INTERNAL),
        (Answer(AnswerKind.BROKEN, "results_unreadable", 1, 200), ErrorClass.ANSWER),
        (Answer(AnswerKind.BUSY, "smtp_451", 1, 451), ErrorClass.THROTTLED),
        (Answer(AnswerKind.REJECTED, "smtp_550", 1, 550), ErrorClass.REJECTED_ITEM),
        (item_answer(422, RULE, 1), ErrorClass.REJECTED_ITEM),
        (item_answer(500, RULE, 1), ErrorClass.HTTP_5XX),
        (Answer(AnswerKind.UNSENT, "expired", 0), None),
    ],
)
def test_what_is_no_status_has_a_class_too(answer: Answer, expected: ErrorClass | None) -> None:
    assert error_class(answer) is expected


@given(st.sampled_from(list(AnswerKind)), st.text(max_size=20), st.none() | st.integers(0, 999))
def test_every_trouble_has_a_class(kind: AnswerKind, code: str, status: int | None) -> None:
    for one in (code, f"http_{status}"):
        assert (error_class(Answer(kind, one, 1, status)) is None) == (kind not in OF_KIND)
