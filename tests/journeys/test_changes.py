"""What an operator changes while events flow: roll back, rotate, pause, replay, disable. Each over real sockets."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from api.house import House, house_in, settings_in
from crossdock import wiring
from crossdock.model.ids import Instant
from journeys.floor import (
    SECRET,
    Floor,
    Received,
    Receiver,
    floor_in,
    order,
    plain,
    post_in,
    product,
    receiving,
    until,
)

NEW_SECRET = "whsec_" + base64.b64encode(b"rotated " * 4).decode()
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Floor]:
    with floor_in(tmp_path_factory.mktemp("changes"), receiver.address) as made:
        yield made


@pytest.fixture(autouse=True)
def kind_again(receiver: Receiver) -> None:
    receiver.status = 204


def hook(floor: Floor, store: str, receiver: Receiver, path: str) -> str:
    """A store with an enabled webhook; the address of its connection."""
    floor.store(store)
    config = {"url": f"http://{receiver.address}{path}"}
    connection = floor.connect(store, "webhook.custom", config, signing_secret=SECRET)
    return f"/v1/stores/{store}/connections/{connection}"


def at(receiver: Receiver, path: str) -> list[Received]:
    return [one for one in receiver.came if one.path == path]


def test_a_rollback_while_enabled_brings_back_the_very_configuration(floor: Floor, receiver: Receiver) -> None:
    base = hook(floor, "back", receiver, "/old")
    first = floor.house.ok("GET", base)["config"]
    floor.publish("back", product("a"))
    floor.at_rest("back")
    changed = {"url": f"http://{receiver.address}/new", "sellable_only": False}
    assert floor.house.ok("PUT", f"{base}/config", {"config": changed})["revision"] == 2
    floor.publish("back", product("b"))
    floor.at_rest("back")
    back = floor.house.ok("POST", f"{base}/rollback", {"revision": 1})
    assert (back["state"], json.dumps(back["config"])) == ("enabled", json.dumps(first))
    floor.publish("back", product("c"))
    floor.at_rest("back")
    assert [one.event["data"]["sku"] for one in at(receiver, "/old")] == ["a", "c"]
    assert [one.event["data"]["sku"] for one in at(receiver, "/new")] == ["b"]


def test_a_receiver_that_is_gone_pauses_its_connection_and_no_other(floor: Floor, receiver: Receiver) -> None:
    base = hook(floor, "gone", receiver, "/gone")
    other = hook(floor, "beside", receiver, "/beside")
    receiver.status = 410
    floor.publish("gone", product("a"))
    paused = until(lambda: (shown := floor.house.ok("GET", base))["state"] == "paused" and shown, "a pause")
    assert "410" in paused["reason"] or "gone" in paused["reason"].lower()
    receiver.status = 204
    floor.publish("beside", product("a"))
    floor.at_rest("beside")
    assert floor.house.ok("GET", other)["state"] == "enabled"
    floor.house.ok("POST", f"{base}/resume")
    floor.at_rest("gone")
    assert [one.status for one in at(receiver, "/gone")] == [410, 204]
    assert len({one.headers["webhook-id"] for one in at(receiver, "/gone")}) == 1


def test_what_is_parked_is_sent_again_after_a_look(floor: Floor, receiver: Receiver) -> None:
    base = hook(floor, "parked", receiver, "/parked")
    receiver.status = 422
    floor.publish("parked", product("a"), product("b"))
    lanes = {one["route"]: one for one in floor.at_rest("parked")}
    assert lanes["product-changed"]["parked"] == 2
    route = f"{base}/routes/product-changed"
    held = floor.house.ok("GET", f"{route}/held")["items"]
    assert {one["state"] for one in held} == {"parked"}
    receiver.status = 204
    dry = floor.house.ok("POST", f"{route}/replay", {})
    assert (dry["dry_run"], dry["selected"], dry["counts"]) == (True, 2, {"parked.rejected": 2})
    assert {one.status for one in at(receiver, "/parked")} == {422}
    assert floor.house.ok("POST", f"{route}/replay", {"dry_run": False})["selected"] == 2
    lanes = {one["route"]: one for one in floor.at_rest("parked")}
    assert (lanes["product-changed"]["parked"], lanes["product-changed"]["delivered"]) == (0, 2)
    came = at(receiver, "/parked")
    assert sorted(one.status for one in came) == [204, 204, 422, 422]
    assert len({one.headers["webhook-id"] for one in came}) == 2
    actions = [one["action"] for one in floor.house.ok("GET", "/v1/stores/parked/audit?limit=200")["items"]]
    assert "lane.replayed" in actions


def test_a_correlation_id_is_followed_from_the_request_to_the_attempt(floor: Floor, receiver: Receiver) -> None:
    base = hook(floor, "followed", receiver, "/followed")
    headers = {"content-type": "application/cloudevents+json", "x-correlation-id": "till-7-sale-42"}
    kept = floor.house.call("POST", "/v1/stores/followed/events", product("a"), floor.core("followed"), headers)
    assert kept.headers["x-correlation-id"] == kept.json["correlation_id"] == "till-7-sale-42"
    floor.at_rest("followed")
    (shown,) = floor.house.ok("GET", f"/v1/stores/followed/events/{kept.json['event_id']}")["items"]
    (tried,) = floor.house.ok("GET", f"{base}/routes/product-changed/attempts")["items"]
    assert shown["correlation_id"] == tried["correlation_id"] == "till-7-sale-42"

    def told() -> set[str]:
        lines = [line for line in floor.log.read_text().splitlines() if "correlation=till-7-sale-42" in line]
        return {line.split()[1] for line in lines}

    until(lambda: told() >= {"ingest.accepted", "delivery.attempted"}, "its lines")


def test_a_disabled_connection_answers_as_an_unknown_one(floor: Floor) -> None:
    floor.store("closed")
    connection = floor.connect("closed", "orders.generic", {}, signing_secret="till")
    assert plain(floor, connection, order("o-1"), "till").status == 202
    floor.house.ok("POST", f"/v1/stores/closed/connections/{connection}/disable")
    honest = plain(floor, connection, order("o-2"), "till")
    forged = plain(floor, connection, order("o-2"), "wrong")
    unknown = plain(floor, "con_" + "0" * 26, order("o-2"), "till")
    unsigned = post_in(floor, connection, b"{}", {})
    assert (honest.status, forged.status, unknown.status, unsigned.status) == (403, 401, 401, 401)
    assert honest.raw == forged.raw == unknown.raw == unsigned.raw
    assert forged.headers.keys() == unknown.headers.keys() == unsigned.headers.keys()
    assert [one["accepted"] for one in floor.lanes("closed")] == [1]


def good(secret: str, came: Received) -> bool:
    """Whether the independent library accepts it; its clock is set to what was signed."""
    signed = datetime.fromtimestamp(int(came.headers["webhook-timestamp"]), UTC)
    fresh = dict(came.headers)
    expected = Webhook(secret).sign(fresh["webhook-id"], signed, came.raw.decode())
    within = expected in fresh["webhook-signature"].split()
    if abs(time.time() - signed.timestamp()) < 60:
        try:
            Webhook(secret).verify(came.raw, fresh)
        except WebhookVerificationError:
            assert not within
        else:
            assert within
    return within


def test_a_rotated_secret_overlaps_and_then_ends(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = [0]
    real = wiring.clock
    for part in (wiring.app, wiring.ground):
        monkeypatch.setattr(part, "clock", lambda: Instant(real() + ahead[0]))
    with receiving() as receiver:
        settings = settings_in(tmp_path_factory.mktemp("rotation"), loopback_allow=receiver.address)
        with house_in(settings) as house:
            base = rotated_hook(house, receiver)
            house.ok("PUT", f"{base}/credentials/signing_secret", {"value": NEW_SECRET})
            send(house, "during")
            ahead[0] = 2 * DAY_MS + 1_000
            send(house, "after")
            before, during, after = receiver.wait_for(3)
    assert [good(SECRET, one) for one in (before, during, after)] == [True, True, False]
    assert [good(NEW_SECRET, one) for one in (before, during, after)] == [False, True, True]
    assert [len(one.headers["webhook-signature"].split()) for one in (before, during, after)] == [1, 2, 1]


def rotated_hook(house: House, receiver: Receiver) -> str:
    """One event has left under the first secret."""
    house.token = house.ok("POST", "/v1/tokens", {"role": "platform_admin", "days": 30})["token"]
    house.ok("POST", "/v1/stores", {"id": "north"})
    config = {"url": f"http://{receiver.address}/rotated"}
    made = house.ok("POST", "/v1/stores/north/connections", {"integration": "webhook.custom", "config": config})
    base = f"/v1/stores/north/connections/{made['id']}"
    house.ok("PUT", f"{base}/credentials/signing_secret", {"value": SECRET})
    house.ok("POST", f"{base}/validate")
    house.ok("POST", f"{base}/enable")
    send(house, "before")
    return base


def send(house: House, sku: str) -> None:
    """Publishes, and waits until it has arrived."""
    kind = {"content-type": "application/cloudevents+json"}
    kept = house.call("POST", "/v1/stores/north/events", product(sku), house.token_of("core", "north"), kind)
    assert kept.status == 202, kept.raw
    until(lambda: not any(one["waiting"] for one in house.ok("GET", "/v1/stores/north/lanes")["items"]), "arrival")
