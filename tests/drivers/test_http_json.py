"""http-json/1: what it renders, and what it makes of any answer."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from driver_samples import NOW, RULE, TRACE, bearer, parcel, way
from hypothesis import given
from hypothesis import strategies as st
from loopback import local_egress, serving, target

from crossdock.credentials.secret import Secret
from crossdock.drivers.answers import answer_of, kind_of, retry_after_ms
from crossdock.drivers.egress import EgressFailure, HttpAnswer, HttpRequest
from crossdock.drivers.http_json import HttpJson, interpret, render
from crossdock.model.attempt import Answer, AnswerKind
from crossdock.model.contract import Auth, AuthScheme, Batch, IdempotencyRule, Request
from crossdock.model.limits import HOUR_MS, RETRY_AFTER_MS_MAX
from crossdock.stores.ways import Way

MAPPING = "{id: event.id, name: data.title, cents: data.price.amount, region: config.region}"
PUT = Request("PUT", "api", "/v3/items/{sku}", MAPPING, {"X-Region": "{config.region}"})
POST = Request("POST", "api", "/in", "{id: event.id}", item_id="")
BATCH = Batch(50, 1_000_000, 0, per_item=True, results="results", status="status")


def product_way(port: int = 1, **other: object) -> Way:
    auth, secrets = bearer()
    values: dict[str, object] = {"request": PUT, "auth": auth, "secrets": secrets}
    return way(targets={"api": target(port, "/v3/items/{sku}", "/in")}, **{**values, **other})  # type: ignore[arg-type]


def rendered(one: Way, *parcels: object) -> HttpRequest:
    request = render(one, parcels or (parcel(),))  # type: ignore[arg-type]
    assert isinstance(request, HttpRequest)
    return request


def answered(status: int, body: object = None, **headers: str) -> HttpAnswer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpAnswer(status, named, b"" if body is None else json.dumps(body).encode(), 7)


def test_a_request_is_what_the_contract_says() -> None:
    request = rendered(product_way(), parcel(traceparent=TRACE))
    assert (request.method, request.path) == ("PUT", "/v3/items/A%2F1")
    assert json.loads(request.body) == {"id": "evt-1", "name": "Kettle", "cents": 1999, "region": "eu"}
    headers = dict(request.headers)
    assert headers["authorization"] == "Bearer hush"
    assert headers["idempotency-key"] == "north:evt-1"
    assert headers["x-region"] == "eu"
    assert headers["traceparent"] == TRACE
    assert headers["content-type"] == "application/json"


def test_a_retry_renders_the_same_request() -> None:
    assert rendered(product_way(), parcel(attempt=1)) == rendered(product_way(), parcel(attempt=9))


def test_without_a_mapping_the_data_goes_as_it_is() -> None:
    assert json.loads(rendered(product_way(request=Request("POST", "api", "/in"))).body) == parcel().data


@pytest.mark.parametrize(
    ("auth", "secrets", "name", "value"),
    [
        (Auth(AuthScheme.API_KEY_HEADER, "token", header="X-Api-Key"), {"token": b"k"}, "x-api-key", "k"),
        (
            Auth(AuthScheme.BASIC, "token", username="user"),
            {"token": b"p", "user": b"u"},
            "authorization",
            "Basic dTpw",
        ),
        (Auth(AuthScheme.BASIC, "token", username="literal"), {"token": b"p"}, "authorization", "Basic bGl0ZXJhbDpw"),
    ],
)
def test_each_way_to_authenticate(auth: Auth, secrets: dict[str, bytes], name: str, value: str) -> None:
    held = {slot: (Secret(raw), Secret(b"previous")) for slot, raw in secrets.items()}
    assert dict(rendered(product_way(auth=auth, secrets=held)).headers)[name] == value


@pytest.mark.parametrize("slots", [{}, {"token": ()}, {"user": (Secret(b"u"),)}])
def test_a_missing_credential_is_unauthorised_and_nothing_is_sent(slots: dict[str, tuple[Secret, ...]]) -> None:
    answer = render(product_way(secrets=slots), (parcel(),))
    assert isinstance(answer, Answer)
    assert (answer.kind, answer.code) == (AnswerKind.UNAUTHORISED, "credential_missing")


@pytest.mark.parametrize(
    "rule",
    [
        Request("PUT", "api", "/v3/items/{absent}"),
        Request("PUT", "api", "/v3/items/{price}"),
        Request("POST", "api", "/in", "no_such_function(data)"),
        Request("POST", "api", "/in", None, {"x": "{absent}"}),
    ],
)
def test_what_cannot_be_mapped_is_unrenderable(rule: Request) -> None:
    answer = render(product_way(request=rule), (parcel(),))
    assert isinstance(answer, Answer)
    assert answer.kind is AnswerKind.UNRENDERABLE


def test_an_unknown_destination_is_forbidden() -> None:
    answer = render(product_way(request=Request("POST", "elsewhere", "/in")), (parcel(),))
    assert isinstance(answer, Answer)
    assert answer.kind is AnswerKind.FORBIDDEN


def test_a_batch_is_one_list_in_order_with_one_stable_key() -> None:
    one = product_way(request=POST, batch=BATCH)
    parcels = tuple(parcel(number) for number in (1, 2, 3))
    request = rendered(one, *parcels)
    assert json.loads(request.body) == {"items": [{"id": "evt-1"}, {"id": "evt-2"}, {"id": "evt-3"}]}
    assert dict(request.headers)["idempotency-key"] == dict(rendered(one, *parcels).headers)["idempotency-key"]
    assert dict(request.headers)["idempotency-key"] != dict(rendered(one, *parcels[:2]).headers)["idempotency-key"]


def test_items_of_a_batch_are_answered_one_by_one() -> None:
    one = product_way(request=POST, batch=BATCH)
    parcels = tuple(parcel(number) for number in range(1, 7))
    said = answered(207, {"results": [{"status": 201}, {"status": "429"}, {"status": 422}, {}, "odd"]})
    kinds = [answer.kind for answer in interpret(one, parcels, said, NOW)]
    broken = AnswerKind.BROKEN
    assert kinds == [AnswerKind.TAKEN, AnswerKind.BUSY, AnswerKind.REJECTED, broken, broken, broken]


def test_items_of_a_batch_may_be_named_instead_of_ordered() -> None:
    named = Request("POST", "api", "/in", "{id: event.id}", item_id="id")
    one = product_way(request=named, batch=BATCH)
    said = answered(200, {"results": [{"id": "evt-3", "status": 500}, {"id": "evt-1", "status": 200}]})
    kinds = [answer.kind for answer in interpret(one, tuple(parcel(number) for number in (1, 2, 3)), said, NOW)]
    assert kinds == [AnswerKind.TAKEN, AnswerKind.BROKEN, AnswerKind.BROKEN]


@pytest.mark.parametrize("body", [b"", b"[", b"{}", b'{"results": 3}', b"\xff", b"[" * 100_000])
def test_an_unreadable_result_is_broken_for_every_item(body: bytes) -> None:
    one = product_way(request=POST, batch=BATCH)
    answers = interpret(one, (parcel(1), parcel(2)), HttpAnswer(200, {}, body, 1), NOW)
    assert [answer.kind for answer in answers] == [AnswerKind.BROKEN] * 2


def test_a_refused_batch_holds_for_every_item() -> None:
    one = product_way(request=POST, batch=BATCH)
    answers = interpret(one, (parcel(1), parcel(2)), answered(429, retry_after="3"), NOW)
    assert [(answer.kind, answer.retry_after_ms) for answer in answers] == [(AnswerKind.BUSY, 3_000)] * 2


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, AnswerKind.TAKEN), (202, AnswerKind.TAKEN), (204, AnswerKind.TAKEN),
        (301, AnswerKind.REJECTED), (304, AnswerKind.REJECTED), (308, AnswerKind.REJECTED),
        (400, AnswerKind.REJECTED), (401, AnswerKind.UNAUTHORISED), (403, AnswerKind.UNAUTHORISED),
        (404, AnswerKind.REJECTED), (408, AnswerKind.BROKEN), (409, AnswerKind.REJECTED),
        (410, AnswerKind.GONE), (422, AnswerKind.REJECTED), (425, AnswerKind.BROKEN),
        (429, AnswerKind.BUSY), (500, AnswerKind.BROKEN), (502, AnswerKind.BROKEN),
        (503, AnswerKind.BUSY), (504, AnswerKind.BROKEN),
    ],
)  # fmt: skip
def test_what_a_status_means(status: int, kind: AnswerKind) -> None:
    assert kind_of(status, RULE) is kind


def test_the_contracts_own_lists_come_first() -> None:
    rule = replace(RULE, permanent=frozenset({401, 410, 503}), auth=frozenset({401, 407}))
    kinds = {status: kind_of(status, rule) for status in (401, 403, 407, 410, 503)}
    rejected, unauthorised = AnswerKind.REJECTED, AnswerKind.UNAUTHORISED
    assert kinds == {401: rejected, 403: rejected, 407: unauthorised, 410: rejected, 503: rejected}


@given(st.integers(100, 599), st.text(max_size=40), st.integers(0, 2**42))
def test_every_answer_has_a_meaning(status: int, header: str, now: int) -> None:
    answer = answer_of(HttpAnswer(status, {"retry-after": header}, b"", 1), RULE, NOW)
    assert (answer.status, answer.code) == (status, f"http_{status}")
    assert answer.retry_after_ms is None or 0 <= answer.retry_after_ms <= RETRY_AFTER_MS_MAX
    wait_ms = retry_after_ms(header, type(NOW)(now))
    assert wait_ms is None or 0 <= wait_ms <= RETRY_AFTER_MS_MAX


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_every_batch_answer_has_one_answer_per_item(results: object) -> None:
    one = product_way(request=POST, batch=BATCH)
    answers = interpret(one, (parcel(1), parcel(2)), answered(200, {"results": results}), NOW)
    assert len(answers) == 2


@pytest.mark.parametrize(
    ("value", "wait_ms"),
    [
        (None, None), ("", None), ("0", 0), ("120", 120_000), (" 5 ", 5_000), ("99999999", RETRY_AFTER_MS_MAX),
        ("-1", None),        ("1.5", None), ("soon", None), ("\u0663", None), ("Fri, 99 Foo 2025 00:00:00 GMT", None),
        (format_datetime(datetime.fromtimestamp((NOW + 90_000) / 1000, UTC), usegmt=True), 90_000),
        (format_datetime(datetime.fromtimestamp((NOW - 90_000) / 1000, UTC), usegmt=True), 0),
        (format_datetime(datetime.fromtimestamp((NOW + 48 * HOUR_MS) / 1000, UTC), usegmt=True), RETRY_AFTER_MS_MAX),
    ],
)  # fmt: skip
def test_retry_after_is_read_in_both_forms(value: str | None, wait_ms: int | None) -> None:
    assert retry_after_ms(value, NOW) == wait_ms


def test_a_failure_of_the_egress_keeps_its_kind_and_hides_its_reason() -> None:
    answer = answer_of(EgressFailure(AnswerKind.UNREACHABLE, "unreachable", 5, "not_public"), RULE, NOW)
    assert answer == Answer(AnswerKind.UNREACHABLE, "unreachable", 5)


async def test_it_delivers_over_a_real_socket() -> None:
    raw = b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
    made = b"HTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n"
    async with serving(raw, made) as receiver, local_egress(receiver.port) as egress:
        driver, one = HttpJson(egress), product_way(receiver.port)
        first = await driver.deliver(one, (parcel(),), NOW)
        second = await driver.deliver(one, (parcel(attempt=2),), NOW)
    assert (first[0].kind, first[0].retry_after_ms, second[0].kind) == (AnswerKind.BUSY, 7_000, AnswerKind.TAKEN)
    assert receiver.requests[0] == receiver.requests[1]
    assert receiver.requests[0][0].startswith("PUT /v3/items/A%2F1 HTTP/1.1\r\n")


async def test_a_sku_cannot_climb_out_of_its_path() -> None:
    async with serving(b"") as receiver, local_egress(receiver.port) as egress:
        answers = await HttpJson(egress).deliver(
            product_way(receiver.port), (parcel(data={"sku": "../admin", "price": {}}),), NOW
        )
    assert answers[0].kind in {AnswerKind.FORBIDDEN, AnswerKind.UNRENDERABLE}
    assert receiver.connections == 0


def test_no_header_for_the_key_where_the_contract_names_none() -> None:
    one = product_way(idempotency=IdempotencyRule(("event.id",)))
    assert "idempotency-key" not in dict(rendered(one).headers)
    assert "hush" not in repr(rendered(one))
