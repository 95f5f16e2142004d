"""How a far end in trouble is treated: one probe, a budget of retries, its own limits, its account's quota."""

from __future__ import annotations

from dataclasses import replace

import pytest
from delivery_world import REJECTED, ROUTE, TAKEN, FarEnd, World, contract_of
from hypothesis import given
from hypothesis import strategies as st

from crossdock.delivery.budget import Budget, Retries
from crossdock.delivery.learned import PROCESS_GRANTS, STORE_GRANTS, Learned
from crossdock.delivery.meter import Meter
from crossdock.delivery.pace import Pace
from crossdock.journal.books import due_at
from crossdock.model.attempt import Answer, AnswerKind
from crossdock.model.contract import Account, DeliveryRule, Rate
from crossdock.model.ids import ConnectionId, Instant, RouteName, StoreId
from crossdock.model.lane import HeldState
from crossdock.model.limits import (
    BREAKER_FAILURES,
    HOUR_MS,
    MINUTE_MS,
    PROCESS_RETRIES_PER_SECOND,
    RETRIES_GRANTED_MAX,
    RETRIES_GRANTED_PER_MINUTE,
    RETRIES_SAVED_MAX,
    RETRY_AFTER_MS_MAX,
    RETRY_SHARE,
    RETRY_TRUST,
    SECOND_MS,
    STORE_RETRIES_PER_SECOND,
)
from crossdock.stores.port import OpenLane

NOW = Instant(1_000_000)
BROKEN = Answer(AnswerKind.BROKEN, "http_500", 1, 500)
WIDE = replace(ROUTE, ordering=(), delivery=DeliveryRule(concurrency=8))


def half() -> float:
    return 0.5


# The budget


def spend_all(retries: Retries, now: Instant) -> int:
    """How many retries may be made at once."""
    made = 0
    while retries.spare(now):
        retries.called(retry=True, now=now)
        made += 1
    return made


def test_retries_are_a_share_of_first_attempts_and_a_few_a_minute() -> None:
    retries = Retries(Budget())
    assert spend_all(retries, NOW) == RETRIES_GRANTED_MAX
    for _ in range(100):
        retries.called(retry=False, now=NOW)
    assert spend_all(retries, NOW) == 100 * RETRY_SHARE
    later = Instant(NOW + MINUTE_MS)
    assert spend_all(retries, later) == RETRIES_GRANTED_PER_MINUTE
    assert spend_all(retries, Instant(later + HOUR_MS)) == RETRIES_GRANTED_MAX


def test_without_a_token_it_says_when_there_is_one() -> None:
    retries = Retries(Budget())
    spend_all(retries, NOW)
    ready = retries.ready_at(NOW)
    assert NOW < ready <= NOW + MINUTE_MS // RETRIES_GRANTED_PER_MINUTE + 1
    assert retries.spare(Instant(ready - 2)) == 0
    assert retries.spare(ready) == 1


def test_whoever_has_come_back_is_met_by_ever_more_retries() -> None:
    retries = Retries(Budget())
    rounds = []
    for _ in range(12):
        retried = retries.spare(NOW)
        rounds.append(retried)
        for _ in range(retried):
            retries.called(retry=True, now=NOW)
            retries.answered(well=True, retry=True)
    assert rounds[0] == RETRIES_GRANTED_MAX
    assert rounds == [*rounds[:1], *sorted(rounds[1:])]
    assert rounds[-1] > 2 * rounds[1]


@given(st.lists(st.booleans(), min_size=1, max_size=400))
def test_a_far_end_that_goes_on_failing_pays_no_retry_back(answers: list[bool]) -> None:
    budget, run = Budget(), 0
    for well in answers:
        before = budget.earned
        budget.answered(well, retry=True)
        run = run + 1 if well else 0
        assert budget.earned == before or run > RETRY_TRUST
        assert budget.earned <= RETRIES_SAVED_MAX


def test_many_far_ends_that_fail_at_once_do_not_add_up() -> None:
    learned = Learned()
    made = sum(spend_all(learned.retries(StoreId(f"s{store}"), Pace(4)), NOW) for store in range(60) for _ in range(20))
    assert made == PROCESS_GRANTS.burst == 2 * PROCESS_RETRIES_PER_SECOND


def test_one_store_cannot_take_the_retries_of_the_others() -> None:
    learned = Learned()
    bad, good = StoreId("bad"), StoreId("good")
    assert sum(spend_all(learned.retries(bad, Pace(4)), NOW) for _ in range(100)) == STORE_GRANTS.burst
    assert STORE_GRANTS.burst == 2 * STORE_RETRIES_PER_SECOND
    assert spend_all(learned.retries(good, Pace(4)), NOW) == RETRIES_GRANTED_MAX


def test_what_is_earned_needs_no_grant() -> None:
    emptied = Meter(PROCESS_GRANTS)
    emptied.spend(PROCESS_GRANTS.burst, NOW)
    budget = Budget()
    for _ in range(50):
        budget.tried()
    assert Retries(budget, (emptied,)).spare(NOW) == 10


async def test_a_receiver_that_fails_half_of_the_time_is_not_attacked_and_loses_nothing() -> None:
    calls = 0

    def every_other(way: object, parcel: object) -> Answer:
        nonlocal calls
        calls += 1
        return BROKEN if calls % 2 else TAKEN

    far = FarEnd(every_other)
    world = await World(far, WIDE).begin()
    for number in range(200):
        await world.publish({"sku": f"k{number}"})
    await world.deliver(5 * MINUTE_MS, steps=300)
    firsts = sum(parcels[0].attempt == 1 for _, parcels in far.calls)
    allowed = firsts * RETRY_SHARE + RETRIES_GRANTED_MAX + 5 * RETRIES_GRANTED_PER_MINUTE
    assert firsts == 200
    assert len(far.calls) - firsts <= allowed
    waiting = await world.engine.lanes.held(world.lane(), HeldState.RETRYING, 0, 1_000)  # type: ignore[arg-type]
    assert waiting, "some of them wait for the budget"
    assert due_at([row for row, _ in waiting], world.now)
    await world.deliver(HOUR_MS, steps=1_200)
    assert (await world.count())["delivered"] == 200


async def test_a_retry_that_waits_for_the_budget_spends_no_attempt() -> None:
    far = FarEnd(lambda way, parcel: BROKEN)
    patient = replace(WIDE, retry=replace(ROUTE.retry, max_ms=2_000, attempts_max=1_000))
    world = await World(far, patient).begin()
    for number in range(15):  # fewer than trip the breaker at once
        await world.publish({"sku": f"k{number}"})
    await world.deliver(30 * SECOND_MS, steps=120)
    rows = [row for row, _ in await world.engine.lanes.held(world.lane(), None, 0, 99)]  # type: ignore[arg-type]
    assert sum(row.attempts for row in rows) == len(far.calls)


async def test_an_event_that_expires_while_it_waits_for_the_budget_says_so() -> None:
    far = FarEnd(lambda way, parcel: BROKEN if len(far.calls) % 3 else REJECTED)
    route = replace(WIDE, expires_after_ms=MINUTE_MS, retry=replace(ROUTE.retry, max_ms=2_000, attempts_max=100))
    world = await World(far, route).begin()
    for number in range(150):
        await world.publish({"sku": f"k{number}"})
    await world.deliver(10 * MINUTE_MS, steps=200)
    count = await world.count()
    assert count["waiting"] == 0
    assert count["expired"] + count["parked"] == 150
    assert count["expired"] > 50


# The probe


def test_of_two_lanes_of_a_connection_one_probes() -> None:
    pace = Pace(8)
    for _ in range(BREAKER_FAILURES):
        pace.heard(BROKEN, NOW, half)
    later = pace.ready_at()
    assert pace.begin(later, half) == (1, 1)
    assert pace.begin(later, half) == (0, 0)
    pace.end(1)
    assert pace.begin(later, half) == (1, 1)


def test_turns_of_one_connection_share_its_concurrency() -> None:
    pace = Pace(8)
    assert pace.begin(NOW, half) == (8, None)
    assert pace.begin(NOW, half) == (1, None)
    pace.end(8)
    assert pace.begin(NOW, half) == (7, None)


# What the far end says is left


def test_a_far_end_that_has_nothing_left_is_not_called_before_it_says() -> None:
    pace = Pace(8)
    pace.heard(replace(TAKEN, left=0, left_ms=30_000), NOW, half)
    assert not pace.open_at(Instant(NOW + 29_999))
    assert pace.open_at(Instant(NOW + 30_000))


def test_a_far_end_that_has_little_left_gets_no_more_than_that() -> None:
    pace = Pace(8)
    pace.heard(replace(TAKEN, left=3, left_ms=30_000), NOW, half)
    assert pace.begin(NOW, half) == (3, 3)
    pace.end(3)
    assert pace.begin(Instant(NOW + 30_000), half) == (8, None)


def test_no_far_end_silences_its_lane_for_longer_than_a_retry_after_may() -> None:
    pace = Pace(8)
    pace.heard(replace(TAKEN, left=0, left_ms=10 * RETRY_AFTER_MS_MAX), NOW, half)
    assert pace.open_at(Instant(NOW + RETRY_AFTER_MS_MAX))


# The account


@pytest.mark.parametrize("by", ["", "shop"])
async def test_routes_of_a_connection_share_the_quota_of_its_account(by: str) -> None:
    world = await World(FarEnd(), ROUTE, stores=("one", "two")).furnish()
    learned = Learned()
    quota = Account(Rate(limit=10, per_ms=1_000, burst=10), by)
    way = world.ways[world.lane()]
    contract = replace(contract_of(ROUTE), account=quota)
    first = replace(way, contract=contract, config={"shop": "s-1"})
    second = replace(first, lane=replace(first.lane, route=RouteName("other")))
    elsewhere = replace(first, lane=replace(first.lane, connection=ConnectionId("con_more")))
    foreign = replace(first, lane=world.lane("two"))
    learned.rates(first).spend(10, NOW)
    assert learned.rates(second).spare(NOW) == 0
    assert learned.rates(elsewhere).spare(NOW) == (0 if by else 10)
    assert learned.rates(foreign).spare(NOW) == 10, "no store can use up another's"
    assert learned.rates(second).ready_at(NOW) == NOW + 100
    learned.fade(Instant(NOW + 999), lambda connection: False, ())
    assert learned.accounts
    learned.fade(Instant(NOW + 1_000), lambda connection: False, ())
    assert not learned.accounts


async def test_two_routes_together_call_no_more_often_than_their_account_allows() -> None:
    far = FarEnd()
    world = await World(far, replace(ROUTE, ordering=())).begin()
    quota = Account(Rate(limit=10, per_ms=1_000, burst=10))
    other = replace(world.route, name=RouteName("other"))
    lane = replace(world.lane(), route=other.name)
    await world.commit(OpenLane(lane))
    for one, route in ((world.lane(), world.route), (lane, other)):
        way = world.ways[world.lane()]
        contract = replace(contract_of(route), account=quota)
        world.ways[one] = replace(way, lane=one, route=route, contract=contract)
    for number in range(60):
        await world.publish({"sku": f"k{number}"})
    await world.deliver()
    assert len(far.calls) == 10
    await world.deliver(2_000, steps=40)
    assert 28 <= len(far.calls) <= 30
    await world.deliver(20_000, steps=40)
    assert len(far.calls) == 120
