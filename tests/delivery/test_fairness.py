"""Who may send, and how much."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from crossdock.delivery.fairness import (
    Caps,
    Flow,
    Latency,
    RoundRobin,
    Turns,
    wait_cost_max,
)
from crossdock.delivery.meter import Meter
from crossdock.delivery.pace import (
    BREAKER_MOVES,
    Breaker,
    BreakerSignal,
    BreakerState,
    Pace,
)
from crossdock.model.attempt import Answer, AnswerKind
from crossdock.model.contract import Rate
from crossdock.model.ids import ConnectionId, Instant, StoreId
from crossdock.model.limits import (
    BREAKER_FAILURES,
    BREAKER_OPEN_MS_MAX,
    BREAKER_OPEN_MS_MIN,
    CONCURRENCY_FIRST,
    DAY_MS,
    FAST_AGAIN_MS,
    LANE_IN_FLIGHT_MAX,
    SLOW_MS,
)

NOW = Instant(1_000_000)
BROKEN = Answer(AnswerKind.BROKEN, "http_500", 1, 500)
TAKEN = Answer(AnswerKind.TAKEN, "http_200", 1, 200)


def half() -> float:
    return 0.5


@given(st.lists(st.integers(1, 64), min_size=2, max_size=12), st.integers(50, 300))
def test_no_lane_with_work_starves_whatever_the_others_cost(costs: list[int], rounds: int) -> None:
    quantum = 64
    turns: RoundRobin[int] = RoundRobin(quantum)
    for flow in range(len(costs)):
        turns.enter(flow)
    served, visits = [0] * len(costs), [0] * len(costs)
    for _ in range(rounds):
        found = turns.next(lambda flow: True)
        assert found is not None
        flow, allowed = found
        cost = min(allowed, costs[flow])
        turns.charge(flow, cost)
        served[flow] += cost
        visits[flow] += 1
        assert max(visits) - min(visits) <= 1
    for one, other in itertools.combinations(range(len(costs)), 2):
        if costs[one] == costs[other] == quantum:
            assert abs(served[one] - served[other]) <= 2 * quantum


def test_a_lane_that_is_not_able_keeps_its_place_and_gains_nothing() -> None:
    turns: RoundRobin[str] = RoundRobin(10)
    for flow in ("a", "b"):
        turns.enter(flow)
    for _ in range(5):
        assert turns.next(lambda flow: flow == "b") == ("b", 10)
        turns.charge("b", 10)
    assert turns.next(lambda flow: True) == ("a", 10)
    assert turns.next(lambda flow: False) is None


WEIGHTS = st.dictionaries(st.sampled_from([StoreId(name) for name in "abcdef"]), st.integers(1, 8), min_size=2)


def turns_of(weights: Mapping[StoreId, int], connections: Mapping[StoreId, int], quantum: int) -> Turns:
    turns = Turns(quantum)
    for store, weight in weights.items():
        for number in range(connections[store]):
            turns.enter((store, ConnectionId(f"{store}{number}")), weight)
    return turns


@given(WEIGHTS, st.data())
def test_stores_share_by_their_weights_however_many_connections_each_has(
    weights: dict[StoreId, int], data: st.DataObject
) -> None:
    connections = {store: data.draw(st.integers(1, 5)) for store in weights}
    turns, rounds = turns_of(weights, connections, 10), 20
    spent: Counter[StoreId] = Counter()
    by_flow: Counter[Flow] = Counter()
    for _ in range(rounds * len(weights) * max(weights.values())):
        found = turns.next(lambda _: True, lambda _: True)
        assert found is not None
        (store, connection), allowed = found
        turns.charge((store, connection), allowed)
        spent[store] += allowed
        by_flow[store, connection] += 1
    for one, other in itertools.combinations(weights, 2):
        # Each gets its weight's share, give or take what one turn may spend.
        assert abs(spent[one] * weights[other] - spent[other] * weights[one]) <= 40 * weights[one] * weights[other]
    for store, visits in itertools.groupby(sorted(by_flow), key=lambda flow: flow[0]):
        counts = [by_flow[flow] for flow in visits]
        assert len(counts) == connections[store]
        assert max(counts) - min(counts) <= 1


@given(WEIGHTS, st.integers(1, 64), st.integers(0, 40), st.randoms(use_true_random=False))
def test_no_store_with_work_waits_longer_than_the_bound_that_is_stated(
    weights: dict[StoreId, int], quantum: int, over: int, dice: random.Random
) -> None:
    connections = {store: dice.randint(1, 4) for store in weights}
    turns = turns_of(weights, connections, quantum)
    waited = dict.fromkeys(weights, 0)
    bounds = {
        store: wait_cost_max({other: weight for other, weight in weights.items() if other != store}, quantum, over)
        for store in weights
    }
    for _ in range(100):
        found = turns.next(lambda _: True, lambda _: True)
        assert found is not None
        (store, connection), allowed = found
        cost = dice.randint(0, allowed + over)
        turns.charge((store, connection), cost)
        waited[store] = 0
        for other in weights:
            if other != store:
                waited[other] += cost
                assert waited[other] <= bounds[other]


def test_a_store_whose_caps_are_full_holds_nobody_up() -> None:
    turns = turns_of({StoreId("a"): 1, StoreId("b"): 1}, {StoreId("a"): 3, StoreId("b"): 1}, 10)
    for _ in range(3):
        found = turns.next(lambda store: store == "b", lambda _: True)
        assert found is not None
        assert found[0] == ("b", "b0")
    for number in range(3):
        turns.leave((StoreId("a"), ConnectionId(f"a{number}")))
    assert len(turns) == 1


def test_what_a_connection_that_turns_slow_has_in_flight_is_taken_off_the_fast_senders() -> None:
    caps = Caps()
    hanging = [(StoreId(f"s{number}"), ConnectionId(f"c{number}")) for number in range(50)]
    while caps.free(Latency.FAST) > 0:
        for flow in hanging:
            caps.take(*flow, CONCURRENCY_FIRST)
    fine = StoreId("fine"), ConnectionId("fine")
    assert caps.room(*fine) == 0
    for _, connection in hanging:
        caps.sort(connection, Latency.SLOW)
    assert caps.room(*fine) == LANE_IN_FLIGHT_MAX
    assert caps.free(Latency.SLOW) < 0
    assert all(caps.room(*flow) < 0 for flow in hanging)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 40), st.sampled_from(Latency)), max_size=60)
)
def test_the_caps_are_never_exceeded_and_everything_is_given_back(steps: list[tuple[int, int, int, Latency]]) -> None:
    caps = Caps(connection_max=10, store_max=15, class_max={Latency.FAST: 30, Latency.SLOW: 5})
    taken: list[tuple[StoreId, ConnectionId, int]] = []
    for store, connection, wanted, latency in steps:
        place = StoreId(f"s{store}"), ConnectionId(f"c{store}-{connection}")
        if caps.connections.get(place[1], 0) <= caps.free(latency):
            caps.sort(place[1], latency)
        taken.append((*place, caps.take(*place, wanted)))
        if len(taken) % 4 == 0:
            caps.give_back(*taken.pop(0))
        assert all(caps.free(latency) >= 0 for latency in Latency)
        assert all(number <= 15 for number in caps.stores.values())
        assert all(number <= 10 for number in caps.connections.values())
        assert caps.total == sum(number for _, _, number in taken)
    for one in taken:
        caps.give_back(*one)
    assert (caps.total, caps.stores, caps.connections, caps.slow) == (0, {}, {}, set())


def test_one_store_cannot_take_all_senders() -> None:
    caps = Caps()
    for number in range(100):
        caps.take(StoreId("greedy"), ConnectionId(f"c{number}"), 64)
    assert caps.take(StoreId("other"), ConnectionId("c"), 64) == 64


def test_the_breaker_has_a_move_for_every_state_and_signal() -> None:
    assert set(BREAKER_MOVES) == set(itertools.product(BreakerState, BreakerSignal))


def test_the_breaker_opens_after_failures_in_a_row_probes_once_and_closes_on_success() -> None:
    pace = Pace(4)
    for _ in range(BREAKER_FAILURES - 1):
        pace.heard(BROKEN, NOW, half)
    pace.heard(TAKEN, NOW, half)
    for _ in range(BREAKER_FAILURES - 1):
        pace.heard(BROKEN, NOW, half)
    assert pace.open_at(NOW)
    pace.heard(BROKEN, NOW, half)
    assert not pace.open_at(NOW)
    assert NOW + BREAKER_OPEN_MS_MIN // 2 <= pace.ready_at() <= NOW + BREAKER_OPEN_MS_MIN
    later = pace.ready_at()
    assert pace.begin(later, half) == (1, 1)
    pace.heard(TAKEN, later, half)
    assert pace.breaker == Breaker()


def test_each_probe_that_fails_lengthens_the_rest_up_to_its_bound() -> None:
    pace, now, rests = Pace(4), NOW, []
    for _ in range(BREAKER_FAILURES):
        pace.heard(BROKEN, now, half)
    for _ in range(10):
        rests.append(pace.ready_at() - now)
        now = pace.ready_at()
        assert pace.begin(now, half) == (1, 1)
        pace.heard(BROKEN, now, half)
        pace.end(1)
    assert rests == sorted(rests)
    assert rests[-1] == BREAKER_OPEN_MS_MAX * 3 // 4


def test_a_late_answer_does_not_close_an_open_breaker() -> None:
    pace = Pace(4)
    for _ in range(BREAKER_FAILURES):
        pace.heard(BROKEN, NOW, half)
    pace.heard(TAKEN, NOW, half)
    assert not pace.open_at(NOW)


def test_retry_after_rests_the_connection_for_that_time() -> None:
    pace = Pace(4)
    pace.heard(Answer(AnswerKind.BUSY, "http_429", 1, 429, 3_000), NOW, half)
    assert not pace.open_at(Instant(NOW + 2_999))
    assert pace.open_at(Instant(NOW + 3_000))


def test_concurrency_begins_small_doubles_a_round_and_ends_at_the_contract() -> None:
    pace, seen = Pace(64), []
    for _ in range(5):
        at_once, _ = pace.begin(NOW, half)
        seen.append(at_once)
        for _ in range(at_once):
            pace.heard(TAKEN, NOW, half)
        pace.end(at_once)
    assert seen == [CONCURRENCY_FIRST, 16, 32, 64, 64]
    assert Pace(3).begin(NOW, half) == (3, None)


def test_after_a_rest_a_far_end_is_met_by_one_call_and_not_by_all_that_waits() -> None:
    pace, now = grown(Pace(64)), NOW
    for _ in range(BREAKER_FAILURES):
        pace.heard(BROKEN, now, half)
    now = pace.ready_at()
    assert pace.begin(now, half) == (1, 1)
    pace.heard(TAKEN, now, half)
    pace.end(1)
    seen = []
    for _ in range(6):
        at_once, _ = pace.begin(now, half)
        seen.append(at_once)
        for _ in range(at_once):
            pace.heard(TAKEN, now, half)
        pace.end(at_once)
    assert seen == [2, 4, 8, 16, 32, 32]  # doubled up to half of what it took before; then a round brings one more


def test_a_far_end_is_slow_after_slow_answers_or_while_one_is_awaited_and_fast_again_well_below() -> None:
    pace = Pace(4)
    pace.heard(replace(TAKEN, took_ms=SLOW_MS * 2), NOW, half)
    assert not pace.slow
    for _ in range(8):
        pace.heard(replace(TAKEN, took_ms=SLOW_MS * 2), NOW, half)
    assert pace.slow
    while pace.latency_ms >= FAST_AGAIN_MS:
        assert pace.slow
        assert not pace.as_new(Instant(NOW + DAY_MS))
        pace.heard(TAKEN, NOW, half)
    assert not pace.slow
    pace.drags()
    assert pace.slow


def grown(pace: Pace) -> Pace:
    """After many answers that were good."""
    for _ in range(1_000):
        pace.heard(TAKEN, NOW, half)
    return pace


def test_concurrency_halves_on_crowding_once_a_burst_and_grows_back_to_the_contract() -> None:
    pace = grown(Pace(16))
    crowded = Answer(AnswerKind.TIMEOUT, "timeout", 1)
    for _ in range(5):
        pace.heard(crowded, NOW, half)
    assert pace.begin(NOW, half) == (8, None)
    pace.end(8)
    for _ in range(1_000):
        pace.heard(TAKEN, NOW, half)
    assert pace.begin(NOW, half) == (16, None)


@given(
    st.lists(st.sampled_from(list(AnswerKind)), max_size=200),
    st.integers(1, 64),
    st.floats(0, 1, exclude_max=True),
)
def test_concurrency_stays_between_one_and_the_contract(kinds: list[AnswerKind], bound: int, draw: float) -> None:
    pace = Pace(bound)
    for number, kind in enumerate(kinds):
        pace.heard(Answer(kind, "x", 1), Instant(NOW + number * 500), lambda: draw)
        assert 1 <= pace.concurrency <= bound


@given(st.integers(1, 50), st.integers(10, 5_000), st.integers(1, 20), st.lists(st.integers(0, 400), max_size=60))
def test_a_rate_is_never_exceeded_and_a_full_one_says_when(
    limit: int, per_ms: int, burst: int, waits: list[int]
) -> None:
    meter, now, calls = Meter(Rate(limit, per_ms, burst)), NOW, 0
    for wait in waits:
        now = Instant(now + wait)
        spare = meter.spare(now)
        meter.spend(spare, now)
        calls += spare
        assert calls <= burst + (now - NOW) * limit / per_ms + 1e-6
        ready = meter.ready_at(now)
        if meter.spare(now) == 0:
            assert ready > now
        assert meter.spare(ready) >= 1


@given(WEIGHTS)
def test_a_store_with_a_weight_has_that_many_turns_in_a_round_although_a_turn_never_spends_more_than_a_quantum(
    weights: dict[StoreId, int],
) -> None:
    turns, window, rounds = turns_of(weights, dict.fromkeys(weights, 2), 256), 256, 3
    spent: Counter[StoreId] = Counter()
    for _ in range(rounds * sum(weights.values())):
        found = turns.next(lambda _: True, lambda _: True)
        assert found is not None
        flow, allowed = found
        turns.charge(flow, min(allowed, window))
        spent[flow[0]] += min(allowed, window)
    assert spent == {store: rounds * weight * window for store, weight in weights.items()}
