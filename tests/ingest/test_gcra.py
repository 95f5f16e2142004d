"""The meter never lets more in than its rate, and lets in whoever waited as long as it said."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crossdock.ingest.gcra import Allowed, Meters, TooSoon, address_key, decide
from crossdock.model.contract import Rate
from crossdock.model.ids import Instant

RATES = st.builds(Rate, st.integers(1, 50), st.integers(1, 5_000), st.integers(1, 20))
GAPS = st.lists(st.integers(0, 400), min_size=1, max_size=80)
START = 1_790_000_000_000


@given(RATES, GAPS)
def test_no_window_ever_has_more_than_the_burst_and_the_rate(rate: Rate, gaps: list[int]) -> None:
    meter, now, let_in = 0, START, list[int]()
    for gap in gaps:
        now += gap
        answer = decide(rate, meter, Instant(now))
        if isinstance(answer, Allowed):
            meter = answer.meter
            let_in.append(now)
    for first in range(len(let_in)):
        for last in range(first, len(let_in)):
            window = let_in[last] - let_in[first]
            assert (last - first + 1) * rate.per_ms <= rate.burst * rate.per_ms + window * rate.limit


@given(RATES, GAPS)
def test_whoever_waits_as_told_is_let_in_and_not_a_ms_earlier(rate: Rate, gaps: list[int]) -> None:
    meter, now = 0, START
    for gap in gaps:
        now += gap
        answer = decide(rate, meter, Instant(now))
        if isinstance(answer, TooSoon):
            assert answer.retry_after_ms >= 1
            assert isinstance(decide(rate, meter, Instant(now + answer.retry_after_ms)), Allowed)
            assert isinstance(decide(rate, meter, Instant(now + answer.retry_after_ms - 1)), TooSoon)
        else:
            meter = answer.meter


@given(RATES)
def test_a_burst_is_let_in_at_once_and_no_more(rate: Rate) -> None:
    meters = Meters(rate)
    assert [meters.charge("k", Instant(START)) for _ in range(rate.burst)] == [0] * rate.burst
    assert meters.charge("k", Instant(START)) > 0
    assert meters.charge("other", Instant(START)) == 0


def test_a_clock_set_back_silences_nobody() -> None:
    rate = Rate(10, 1_000, 5)
    answer = decide(rate, (START + 86_400_000) * rate.limit, Instant(START))
    assert answer == Allowed(START * rate.limit + rate.per_ms)


def test_a_batch_costs_its_events_but_never_more_than_the_burst() -> None:
    meters = Meters(Rate(10, 1_000, 100))
    assert meters.charge("k", Instant(START), cost=60) == 0
    assert meters.charge("k", Instant(START), cost=60) == 2_000
    assert meters.charge("j", Instant(START), cost=5_000) == 0
    assert meters.charge("j", Instant(START)) == 100


def test_the_table_stays_bounded() -> None:
    meters = Meters(Rate(1, 1_000, 1), keys_max=3)
    for key in "abcd":
        meters.charge(key, Instant(START))
    assert len(meters) == 3
    assert meters.charge("a", Instant(START)) == 0
    assert meters.charge("d", Instant(START)) > 0


def test_looking_charges_nothing() -> None:
    meters = Meters(Rate(1, 1_000, 1))
    assert [meters.wait_ms("k", Instant(START)) for _ in range(5)] == [0] * 5
    meters.charge("k", Instant(START))
    assert meters.wait_ms("k", Instant(START)) == 1_000


def test_an_ipv6_sender_is_its_network() -> None:
    assert address_key("2001:db8:1:2:3::4") == address_key("2001:db8:1:2::ffff") == "2001:db8:1:2::/64"
    assert address_key("::ffff:192.0.2.7") == address_key("192.0.2.7") == "192.0.2.7"
    assert address_key("fe80::1%eth0") == "fe80::/64"
    assert address_key("not:an:address") == "not:an:address"
