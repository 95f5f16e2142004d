"""The clients and the outbox against a real Crossdock."""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
import time
import urllib.request
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from crossdock.client import AsyncCrossdock, Conflict, Crossdock, InboxEvent, Refused, Reject
from crossdock.client.outbox import Backlog, Outbox, Relayed
from served import Installation, product

SECRET = "generic-secret-of-at-least-24-bytes"


@pytest.fixture(scope="module")
def shop(installation: Installation) -> Crossdock:
    return installation.client(installation.store("sofia"))


def positions(client: Crossdock, event_id: str, store: str = "sofia") -> list[int]:
    return [item["position"] for item in client.event(store, event_id)["items"]]


def test_the_same_event_published_twice_is_kept_once(shop: Crossdock) -> None:
    event = shop.complete(product("once"))
    first = shop.publish("sofia", event)
    assert shop.publish("sofia", event) == first
    assert shop.publish("sofia", [event, product("other")])[0] == first[0]
    assert len(positions(shop, event["id"])) == 1


def test_the_same_id_with_other_content_is_a_conflict(shop: Crossdock) -> None:
    event = shop.complete(product("changed"))
    shop.publish("sofia", event)
    with pytest.raises(Conflict) as caught:
        shop.publish("sofia", {**event, "data": {**event["data"], "stock": 99}})
    assert caught.value.code == "CD1016"


def test_a_batch_with_one_bad_event_is_refused_whole_with_its_place(shop: Crossdock) -> None:
    good = shop.complete(product("good"))
    with pytest.raises(Refused) as caught:
        shop.publish("sofia", [good, {"type": "product.changed", "data": {"sku": 1}}])
    assert any(pointer.startswith("/1/") for pointer in caught.value.pointers)
    with pytest.raises(Refused):
        shop.event("sofia", good["id"])


async def test_the_async_client_publishes_what_the_sync_one_sees(installation: Installation, shop: Crossdock) -> None:
    async with AsyncCrossdock(installation.url, shop._token) as later:
        receipts = await later.publish("sofia", [product(f"async-{number}") for number in range(1_200)])
    assert len({receipt.event_id for receipt in receipts}) == 1_200
    assert len(positions(shop, receipts[-1].event_id)) == 1


class DiesAfterPublishing:
    def __init__(self, client: Crossdock) -> None:
        self.client = client

    def publish(self, store: str, events: Any, *, within_seconds: float | None = None) -> Any:
        self.client.publish(store, events, within_seconds=within_seconds)
        raise KeyboardInterrupt


def test_an_outbox_relay_that_died_repeats_and_the_server_keeps_each_once(shop: Crossdock, tmp_path: Path) -> None:
    outbox = Outbox(lambda: sqlite3.connect(tmp_path / "shop.db"))
    outbox.create_table()
    connection = sqlite3.connect(tmp_path / "shop.db")
    ids = [outbox.add(connection, "sofia", product(f"outbox-{number}")) for number in range(5)]
    ids.append(outbox.add(connection, "sofia", {"type": "product.changed", "data": {"sku": 5}}))
    connection.commit()
    connection.close()
    with pytest.raises(KeyboardInterrupt):
        outbox.relay(DiesAfterPublishing(shop), name="relay-1", events_max=5)
    assert outbox.relay(shop, name="relay-1") == Relayed(published=5, set_aside=1)
    assert outbox.backlog() == Backlog(0, 1)
    assert [len(positions(shop, name)) for name in ids[:5]] == [1] * 5
    found = [positions(shop, name)[0] for name in ids[:5]]
    assert found == sorted(found)
    assert outbox.set_aside()[0].code.startswith("CD1")


def order_in(installation: Installation, connection: str, number: int) -> None:
    """An order of a third party, signed as the contract says."""
    body = json.dumps(
        {
            "order_id": f"o-{number}",
            "revision": 1,
            "placed_at": "2026-11-22T10:00:00Z",
            "status": "paid",
            "total": {"amount": 10.5, "currency": "EUR"},
            "lines": [{"sku": "a", "qty": 1}],
        }
    ).encode()
    stamp = str(int(time.time()))
    signature = hmac.new(SECRET.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    headers = {"content-type": "application/json", "X-Timestamp": stamp, "X-Signature": signature}
    request = urllib.request.Request(f"{installation.url}/in/{connection}", body, headers)
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 202


def door(installation: Installation, store: str) -> tuple[Crossdock, str]:
    client = installation.client(installation.store(store))
    connection = client.connect(store, "orders.generic")["id"]
    client.configure(store, connection, {})
    client.set_credential(store, connection, "signing_secret", SECRET)
    client.validate(store, connection)
    client.enable(store, connection)
    return client, connection


def test_what_came_in_is_consumed_acknowledged_and_rejected(installation: Installation) -> None:
    client, connection = door(installation, "varna")
    for number in range(4):
        order_in(installation, connection, number)
    seen: list[str] = []

    def handle(item: InboxEvent) -> None:
        seen.append(item.data["order_id"])
        if item.data["order_id"] == "o-1":
            raise Reject("unknown_sku")
        if item.data["order_id"] == "o-2" and seen.count("o-2") == 1:
            raise OSError("the core's database is away")

    def done() -> bool:
        (lane,) = client.lanes("varna")["items"]
        return bool(lane["waiting"] == 0)

    with pytest.raises(OSError, match="away"):
        client.consume("varna", handle, wait_seconds=0, stop=done)
    client.consume("varna", handle, wait_seconds=0, stop=done)
    assert sorted(set(seen)) == ["o-0", "o-1", "o-2", "o-3"]
    assert seen.count("o-0") == 1
    (lane,) = client.lanes("varna")["items"]
    assert (lane["delivered"], lane["parked"], lane["closes"]) == (3, 1, True)
    (held,) = client.held("varna", connection, "order-in")["items"]
    assert held["reason"] == "rejected"
    tried = client.attempts("varna", connection, "order-in", position=held["position"])["items"]
    assert "unknown_sku" in tried[0]["code"]


async def test_a_long_poll_brings_what_comes_while_it_waits(installation: Installation) -> None:
    client, connection = door(installation, "burgas")
    order_in(installation, connection, 1)
    async with (
        AsyncCrossdock(installation.url, client._token) as later,
        aclosing(later.inbox("burgas", wait_seconds=10)) as arrivals,
    ):
        async for item in arrivals:
            assert item.type == "order.received"
            item.ack()
            break


def test_everything_acknowledged_survives_a_killed_server(installation: Installation) -> None:
    client = installation.client(installation.store("ruse"))
    receipts = client.publish("ruse", [product(f"kill-{number}") for number in range(200)])
    installation.stop(lambda process: process.kill())
    installation.start()
    client = installation.client(client._token)  # the address is another one
    assert [len(positions(client, receipt.event_id, "ruse")) for receipt in receipts[::20]] == [1] * 10
    assert client.publish("ruse", product("after"))
