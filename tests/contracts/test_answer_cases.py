"""The answer cases beside the shipped contracts, through the drivers' own reading of an answer and `decide`; and what
the retry rules of those contracts come to."""

from __future__ import annotations

from functools import partial
from typing import assert_never

import msgspec
import pytest

from crossdock.contracts.cases import Case, CaseKind, GivenAnswer, Outcome, read_cases
from crossdock.contracts.catalogue import Catalogue
from crossdock.delivery.decide import cap_ms, decide, longest_span_ms
from crossdock.delivery.driver import Parcel
from crossdock.drivers.answers import answer_of
from crossdock.drivers.egress import EgressFailure, HttpAnswer
from crossdock.drivers.http_json import interpret
from crossdock.drivers.smtp import answer_of_code
from crossdock.model.attempt import Answer, AnswerKind, Decision, Expire, Park, Retry, Settle
from crossdock.model.connection import ConnectionState
from crossdock.model.contract import Contract, Route
from crossdock.model.ids import ConnectionId, CorrelationId, EventId, Instant, LaneId, Position, StoreId
from crossdock.stores.ways import Way

CATALOGUE = Catalogue.shipped()
NOW = Instant(1_760_000_000_000)
RESERVED = (".example", ".test", ".invalid")  # RFC 2606: nobody can register one and receive what was never meant


def answer_cases() -> list[tuple[Contract, Case]]:
    found = []
    for one in CATALOGUE.readings:
        read, findings = read_cases(one.folder.texts["cases.yaml"], "cases.yaml")
        assert read is not None, findings
        found += [(one.contract, case) for case in read.of(CaseKind.ANSWER)]
    return found


def routes() -> list[tuple[Contract, Route]]:
    return [(contract, route) for contract in CATALOGUE.contracts() for route in contract.routes]


def name(value: object) -> str:
    return getattr(value, "name", "") or getattr(value, "id", "")


def parcel() -> Parcel:
    return Parcel(
        position=Position(1),
        event_id=EventId("evt-1"),
        type="any",
        source="/any",
        occurred_at=NOW,
        data={},
        idempotency_key="any:evt-1",
        key="",
        correlation_id=CorrelationId("cor-1"),
        attempt=1,
    )


def way(contract: Contract, route: Route) -> Way:
    lane = LaneId(StoreId("north"), ConnectionId("con_1"), route.name)
    return Way(lane, contract, route, {}, ConnectionState.ENABLED, 1, {}, {})


def answers(contract: Contract, route: Route, given: GivenAnswer) -> Answer:
    """As the route's driver reads what the case says that the far end did."""
    if given.timeout_after_send:
        return answer_of(EgressFailure(AnswerKind.TIMEOUT, "timeout", 0), route.retry, NOW)
    if route.driver == "smtp/1":
        if given.status < 300:
            return Answer(AnswerKind.TAKEN, f"smtp_{given.status}", 0, given.status)
        kind, code, status = answer_of_code(given.status, route.retry)
        return Answer(kind, code, 0, status)
    headers = {} if given.retry_after_seconds is None else {"retry-after": str(given.retry_after_seconds)}
    body = b""
    if route.batch is not None:
        item = {"event_id": "evt-1", route.batch.status: given.status}
        body = msgspec.json.encode({route.batch.results or "results": [item]})
    said = HttpAnswer(given.status, headers, body, 0)
    if route.driver == "http-json/1":
        return interpret(way(contract, route), (parcel(),), said, NOW)[0]
    return answer_of(said, route.retry, NOW)


def outcome(decision: Decision) -> Outcome | None:
    match decision:
        case Settle():
            return Outcome.SETTLE
        case Retry():
            return Outcome.RETRY
        case Park():
            return Outcome.PARK
        case Expire():
            return None
        case _:
            assert_never(decision)


def test_every_outbound_route_has_a_case_for_each_way_that_a_try_ends() -> None:
    held = {(contract.id, case.route, case.outcome) for contract, case in answer_cases()}
    wanted = {(c.id, r.name, one) for c, r in routes() if r.direction == "outbound" for one in Outcome}
    assert wanted <= held


@pytest.mark.parametrize(("contract", "case"), answer_cases(), ids=name)
def test_an_answer_ends_a_try_as_its_case_promises(contract: Contract, case: Case) -> None:
    route = contract.route(case.route)
    assert route is not None
    assert case.answer is not None
    answer = answers(contract, route, case.answer)
    for drawn in (0.0, 0.5, 0.999):
        decision = decide(answer, attempt=1, first_at=NOW, now=NOW, rule=route.retry, dice=partial(float, drawn))
        assert outcome(decision) is case.outcome
        if isinstance(decision, Retry) and case.answer.retry_after_seconds:
            assert decision.not_before >= NOW + case.answer.retry_after_seconds * 1000


@pytest.mark.parametrize(("contract", "route"), routes(), ids=name)
def test_the_tries_last_as_long_as_the_contract_says(contract: Contract, route: Route) -> None:
    """Full jitter halves each wait on average: also then it is the time that ends the tries, and not their number."""
    rule = route.retry
    expected_ms = sum(cap_ms(rule, attempt) for attempt in range(1, rule.attempts_max)) // 2
    assert longest_span_ms(rule) == rule.for_ms
    assert rule.for_ms <= expected_ms <= rule.for_ms * 1.3


@pytest.mark.parametrize("contract", CATALOGUE.contracts(), ids=name)
def test_a_shipped_contract_names_no_host_that_could_be_someones(contract: Contract) -> None:
    for one in contract.destinations:
        for host in (one.live, one.sandbox):
            assert not host or host.endswith(RESERVED)
