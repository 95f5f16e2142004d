"""What is left of a far end's quota, as its headers say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.drivers.answers import answer_of
from crossdock.drivers.egress import HttpAnswer
from crossdock.drivers.rate_limits import NAMES, left_of
from crossdock.model.contract import RetryRule
from crossdock.model.ids import Instant
from crossdock.model.limits import RETRY_AFTER_MS_MAX

NOW = Instant(1_790_000_000_000)
RULE = RetryRule(first_ms=1_000, max_ms=60_000, attempts_max=10, for_ms=3_600_000)


@pytest.mark.parametrize(
    ("headers", "left"),
    [
        ({}, None),
        # draft-ietf-httpapi-ratelimit-headers-10, sections 4.2 and 1.2
        ({"ratelimit": '"default";r=50;t=30'}, (50, 30_000)),
        ({"ratelimit": '"problemPolicy";r=0;t=10'}, (0, 10_000)),
        ({"ratelimit": '"burst";r=10;t=1, "daily";r=3;t=5400'}, (3, 5_400_000)),
        ({"ratelimit": '"odd, name;r=0";r=7;t=9'}, (7, 9_000)),
        # its versions 0 to 7
        ({"ratelimit": "limit=100, remaining=50, reset=5"}, (50, 5_000)),
        ({"ratelimit-limit": "100", "ratelimit-remaining": "0", "ratelimit-reset": "50"}, (0, 50_000)),
        # never standardised: seconds from now, seconds and milliseconds since 1970
        ({"x-ratelimit-remaining": "12", "x-ratelimit-reset": "60"}, (12, 60_000)),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1790000030"}, (0, 30_000)),
        ({"x-rate-limit-remaining": "4", "x-rate-limit-reset": "1790000000"}, (4, 0)),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1790000030000"}, (0, 30_000)),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1.5"}, (0, 1_500)),
        # the one with the least left counts
        ({"ratelimit": '"a";r=5;t=1', "x-ratelimit-remaining": "2", "x-ratelimit-reset": "9"}, (2, 9_000)),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "99999999999999"}, (0, RETRY_AFTER_MS_MAX)),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "31622400"}, (0, RETRY_AFTER_MS_MAX)),
        # half of it, or nonsense, says nothing
        ({"x-ratelimit-remaining": "0"}, None),
        ({"ratelimit": '"default";r=50'}, None),
        ({"ratelimit": "soon"}, None),
        ({"x-ratelimit-remaining": "-1", "x-ratelimit-reset": "60"}, None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "tomorrow"}, None),
    ],
)
def test_what_is_left_is_read(headers: dict[str, str], left: tuple[int, int] | None) -> None:
    assert left_of(headers, NOW) == left


TEXTS = st.text(max_size=60) | st.from_regex(r"[\"a-z;,=rt0-9. ]{0,60}", fullmatch=True)


@given(st.dictionaries(st.sampled_from(sorted(NAMES)), TEXTS))
def test_whatever_a_far_end_says_it_is_read_or_left_and_bounded(headers: dict[str, str]) -> None:
    found = left_of(headers, NOW)
    assert found is None or (found[0] >= 0 and 0 <= found[1] <= RETRY_AFTER_MS_MAX)


@pytest.mark.parametrize("status", [200, 404, 429, 503])
def test_every_answer_may_say_what_is_left(status: int) -> None:
    answer = answer_of(HttpAnswer(status, {"ratelimit": '"q";r=3;t=7'}, b"", 1), RULE, NOW)
    assert (answer.left, answer.left_ms) == (3, 7_000)
