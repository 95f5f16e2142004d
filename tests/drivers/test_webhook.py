"""webhook/1 and core-push/1, checked with the independent `standardwebhooks` package."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime

import pytest
import standardwebhooks
from driver_samples import NOW, TRACE, parcel, way
from hypothesis import given
from hypothesis import strategies as st
from loopback import local_egress, serving, target

from crossdock.credentials.secret import Secret
from crossdock.drivers.egress import HttpRequest
from crossdock.drivers.webhook import Webhook, body_of, message_id, render
from crossdock.model.attempt import Answer, AnswerKind
from crossdock.model.connection import CoreMode
from crossdock.model.ids import EventId, Instant
from crossdock.stores.ways import Way

NEW, OLD = ("whsec_" + base64.b64encode(bytes([fill] * 32)).decode() for fill in (7, 9))
SECRETS = {"signing": (Secret(NEW.encode()), Secret(OLD.encode()))}
RECEIVER = target(1, "/hook?shop=1")


def present() -> Instant:
    """The independent verifier reads the real clock, and a test may run long after it was read from its file."""
    return Instant(int(datetime.now(UTC).timestamp()) * 1000)


def hook_way(**other: object) -> Way:
    return way(**{"targets": {"receiver": RECEIVER}, "secrets": SECRETS, **other})  # type: ignore[arg-type]


def rendered(one: Way, **other: object) -> HttpRequest:
    request = render(one, parcel(**other), present())  # type: ignore[arg-type]
    assert isinstance(request, HttpRequest)
    return request


@pytest.mark.parametrize("secret", [NEW, OLD])
def test_an_independent_verifier_accepts_each_secret_of_a_rotation(secret: str) -> None:
    request = rendered(hook_way())
    event = standardwebhooks.Webhook(secret).verify(request.body, dict(request.headers))
    assert event["data"] == parcel().data


@pytest.mark.parametrize("secret", ["whsec_" + base64.b64encode(b"x" * 32).decode()])
def test_another_secret_or_a_changed_byte_does_not_verify(secret: str) -> None:
    request = rendered(hook_way())
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(secret).verify(request.body, dict(request.headers))
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(NEW).verify(request.body.replace(b"Kettle", b"kettle"), dict(request.headers))


def test_the_body_is_a_cloudevent_in_structured_form() -> None:
    request = rendered(hook_way(), extensions=(("crossdockhops", 1), ("data", "no"), ("Bad-Name", 1)))
    assert json.loads(request.body) == {
        "specversion": "1.0",
        "id": "evt-1",
        "source": "/shop/north",
        "type": "product.changed",
        "time": "2025-10-09T08:53:20.000Z",
        "datacontenttype": "application/json",
        "crossdockhops": 1,
        "data": parcel().data,
    }
    assert dict(request.headers)["content-type"] == "application/cloudevents+json; charset=utf-8"


def test_a_retry_and_a_replay_carry_the_same_bytes_and_id_at_another_time() -> None:
    one = hook_way()
    first, later = (
        render(one, parcel(attempt=1), NOW),
        render(one, parcel(attempt=5, replay=True), Instant(NOW + 60_000)),
    )
    assert isinstance(first, HttpRequest)
    assert isinstance(later, HttpRequest)
    assert first.body == later.body
    before, after = dict(first.headers), dict(later.headers)
    assert before["webhook-id"] == after["webhook-id"] == "evt-1"
    assert (before["webhook-timestamp"], after["webhook-timestamp"]) == (str(NOW // 1000), str(NOW // 1000 + 60))
    assert ("crossdock-replay" in before, after["crossdock-replay"]) == (False, "1")


def test_the_order_of_keys_does_not_change_the_bytes() -> None:
    assert body_of(parcel(data={"a": 1, "b": {"c": 2, "d": 3}})) == body_of(
        parcel(data={"b": {"d": 3, "c": 2}, "a": 1})
    )


@pytest.mark.parametrize(
    ("parent", "goes"), [(TRACE, True), ("00-x", False), (TRACE + "\r\nx: y", False), (None, False)]
)
def test_a_sound_trace_goes_on(parent: str | None, goes: bool) -> None:
    assert ("traceparent" in dict(rendered(hook_way(), traceparent=parent).headers)) is goes


def test_the_path_keeps_the_query_of_the_stores_url() -> None:
    assert rendered(hook_way()).path == "/hook?shop=1"


def test_a_push_to_the_core_uses_its_endpoint_and_its_secret() -> None:
    core = target(1, "/crossdock", host="core.example")
    request = rendered(way(targets={"core": core}, secrets={"core": (Secret(OLD.encode()),)}, core=CoreMode.PUSH))
    assert (request.target, request.path) == (core, "/crossdock")
    standardwebhooks.Webhook(OLD).verify(request.body, dict(request.headers))


@pytest.mark.parametrize(
    ("other", "kind", "code"),
    [
        ({"targets": {}}, AnswerKind.FORBIDDEN, "destination_unknown"),
        ({"secrets": {}}, AnswerKind.UNAUTHORISED, "credential_missing"),
        ({"secrets": {"signing": (Secret(b"whsec_short"),)}}, AnswerKind.UNAUTHORISED, "credential_unusable"),
    ],
)
def test_what_cannot_be_signed_is_not_sent(other: dict[str, object], kind: AnswerKind, code: str) -> None:
    assert render(hook_way(**other), parcel(), NOW) == Answer(kind, code, 0)


@given(st.text(min_size=1, max_size=255).filter(lambda text: max(text) < "\ud800" or min(text) > "\udfff"))
def test_any_event_id_gives_a_message_id_without_a_dot(event_id: str) -> None:
    one = message_id(parcel(event_id=EventId(event_id)))
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,128}", one)
    assert one == message_id(parcel(event_id=EventId(event_id)))


async def test_it_delivers_over_a_real_socket_and_410_is_gone() -> None:
    ok, gone = (f"HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n".encode() for status in (204, 410))
    async with serving(ok, gone) as receiver, local_egress(receiver.port) as egress:
        driver = Webhook(egress)
        one = hook_way(targets={"receiver": target(receiver.port, "/hook")})
        answers = [(await driver.deliver(one, (parcel(),), present()))[0].kind for _ in range(2)]
    assert answers == [AnswerKind.TAKEN, AnswerKind.GONE]
    head, body = receiver.requests[0]
    headers = dict(line.split(": ", 1) for line in head.strip().split("\r\n")[1:])
    standardwebhooks.Webhook(NEW).verify(body, headers)


def test_its_two_names() -> None:
    assert [Webhook(None).name, Webhook(None, "core-push/1").name] == ["webhook/1", "core-push/1"]  # type: ignore[arg-type]
