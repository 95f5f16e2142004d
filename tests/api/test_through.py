"""Events in and out of a whole installation: to a receiver on loopback, and into the inbox."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from api.house import NORTH, House, house_in, settings_in

KIND = {"content-type": "application/cloudevents+json"}
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
LOOKS = 400


class Receiver(http.server.BaseHTTPRequestHandler):
    seen: list[dict[str, object]] = []
    status = 204

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.seen.append({"body": json.loads(body), "id": self.headers["webhook-id"]})
        self.send_response(type(self).status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *said: object) -> None:
        """Quiet."""


@contextmanager
def receiver() -> Iterator[int]:
    Receiver.seen, Receiver.status = [], 204
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def through(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, int]]:
    with receiver() as port:
        settings = settings_in(tmp_path_factory.mktemp("through"), loopback_allow=f"127.0.0.1:{port}")
        with house_in(settings) as house:
            house.ok("POST", "/v1/stores", {"id": NORTH})
            yield house, port


def enabled(house: House, integration: str, config: dict[str, object], value: str) -> str:
    made = house.ok("POST", f"/v1/stores/{NORTH}/connections", {"integration": integration, "config": config})
    base = f"/v1/stores/{NORTH}/connections/{made['id']}"
    house.ok("PUT", f"{base}/credentials/signing_secret", {"value": value})
    house.ok("POST", f"{base}/validate")
    assert house.ok("POST", f"{base}/enable")["state"] == "enabled"
    return str(made["id"])


def until_at_rest(house: House) -> list[dict[str, object]]:
    """The ledgers, once nothing waits. Each look is a request; there are at most LOOKS."""
    ledgers: list[dict[str, object]] = []
    for _ in range(LOOKS):
        ledgers = house.ok("GET", f"/v1/stores/{NORTH}/lanes")["items"]
        if not any(one["waiting"] for one in ledgers if one["route"] != "order-in"):
            return ledgers
        time.sleep(0.01)
    raise AssertionError(ledgers)


def publish(house: House, name: str, sku: str) -> str:
    event = {
        "specversion": "1.0",
        "id": name,
        "source": "/shop",
        "type": "product.changed",
        "data": {"sku": sku, "revision": 1, "sellable": True},
    }
    answer = house.call("POST", f"/v1/stores/{NORTH}/events", event, house.token_of("core", NORTH), KIND)
    assert answer.status == 202, answer.raw
    return answer.headers["x-correlation-id"]


def test_an_event_leaves_and_can_be_followed_and_sent_again(through: tuple[House, int]) -> None:
    house, port = through
    name = enabled(house, "webhook.custom", {"url": f"http://127.0.0.1:{port}/in"}, SECRET)
    correlation = publish(house, "evt-1", "A-1")
    ledgers = until_at_rest(house)
    assert all(one["closes"] for one in ledgers)
    assert [one["body"]["data"]["sku"] for one in Receiver.seen] == ["A-1"]
    route = f"/v1/stores/{NORTH}/connections/{name}/routes/product-changed"
    attempts = house.ok("GET", f"{route}/attempts")["items"]
    assert [(one["answer"], one["correlation_id"]) for one in attempts] == [("taken", correlation)]
    states = {
        one["route"]: one["state"] for one in house.ok("GET", f"/v1/stores/{NORTH}/events/evt-1")["items"][0]["lanes"]
    }
    assert states["product-changed"] == "resolved"
    dry = house.ok("POST", f"{route}/replay", {"position": 1, "parked_only": False})
    assert (dry["selected"], dry["counts"]) == (1, {"resolved": 1})
    assert len(Receiver.seen) == 1
    house.ok("POST", f"{route}/replay", {"position": 1, "parked_only": False, "dry_run": False})
    until_at_rest(house)
    assert len(Receiver.seen) == 2
    assert Receiver.seen[0]["id"] == Receiver.seen[1]["id"]


def test_a_receiver_that_is_gone_pauses_its_connection_on_the_record(through: tuple[House, int]) -> None:
    house, port = through
    name = enabled(house, "webhook.custom", {"url": f"http://127.0.0.1:{port}/gone"}, SECRET)
    Receiver.status = 410
    publish(house, "evt-2", "A-2")
    state: dict[str, object] = {}
    for _ in range(LOOKS):
        state = house.ok("GET", f"/v1/stores/{NORTH}/connections/{name}")
        if state["state"] == "paused":
            break
        time.sleep(0.01)
    assert state["state"] == "paused"
    assert state["reason"]
    entries = house.ok("GET", f"/v1/stores/{NORTH}/audit?limit=200")["items"]
    assert any(one["actor"] == "delivery" and one["action"] == "connection.paused" for one in entries)


def test_an_order_comes_in_and_is_pulled_and_acknowledged(through: tuple[House, int]) -> None:
    house, _ = through
    config = {"timestamp_unit": "s"}
    name = enabled(house, "orders.generic", config, "a shared secret of the till")
    body = json.dumps({"order_id": "o-1", "revision": 1, "lines": [{"sku": "A-1", "qty": 1}]}).encode()
    at = str(int(time.time()))
    signature = hmac.new(b"a shared secret of the till", f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {"x-signature": signature, "x-timestamp": at, "content-type": "application/json"}
    kept = house.call("POST", f"/in/{name}", body, "", headers)
    assert kept.status == 202, kept.raw
    core = house.token_of("core", NORTH)
    page = house.ok("GET", f"/v1/stores/{NORTH}/inbox?wait_seconds=5", token=core)["items"]
    assert [(one["connection"], one["event"]["data"]["order_id"]) for one in page] == [(name, "o-1")]
    marks = {"acked": [page[0]["handle"]], "rejected": []}
    path = f"/v1/stores/{NORTH}/inbox/ack"
    assert house.ok("POST", path, marks, token=core) == {"acked": 1, "rejected": 0, "again": 0, "unknown": 0}
    assert house.ok("POST", path, marks, token=core)["again"] == 1
    assert house.ok("GET", f"/v1/stores/{NORTH}/inbox", token=core)["items"] == []
    assert house.call("GET", f"/v1/stores/{NORTH}/inbox").status == 403
