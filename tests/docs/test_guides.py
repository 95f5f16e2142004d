"""The Python of the guides runs as it is written, against a served installation."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import WebhookVerificationError

from served import Installation

GUIDES = Path(__file__).resolve().parents[2] / "docs" / "guides"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ORDER = {
    "order_id": "A-1",
    "channel": "web",
    "placed_at": "2026-03-01T10:15:00Z",
    "total": {"amount": 10.5, "currency": "EUR"},
    "lines": [{"sku": "S", "qty": 1}],
    "customer": {"id": "c-1", "email": "bo@buyer.example", "first_name": "Bo", "country": "DE"},
}
INCOMING = {"order_id": "X-1", "revision": 1, "placed_at": "2026-03-01T10:15:00Z", "status": "placed"}


class Once(threading.Event):
    """Is set from the second look on: one round of a loop."""

    def is_set(self) -> bool:
        before = super().is_set()
        self.set()
        return before


def blocks(guide: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (GUIDES / guide).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_a_sale_leaves_through_the_outbox_and_an_order_comes_in_as_the_guides_say(
    installation: Installation, tmp_path: Path
) -> None:
    installation.store("north")
    installation.webhook("north")
    token = installation.json("token", "create", "--role", "core")["token"]
    shop = tmp_path / "shop.db"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(shop)

    made = connect()
    made.execute("CREATE TABLE orders (id)")
    made.close()
    publishing, consuming = blocks("platform-engineer.md")
    signing, verifying = blocks("integrator.md")

    names: dict[str, Any] = {"connect": connect, "order": ORDER, "url": installation.url, "token": token}
    exec(publishing, names | {"stop": Once()})
    installation.receiver.wait_for(1)
    headers, event = installation.receiver.came[0]
    assert event["data"]["order_id"] == "A-1"
    received: dict[str, Any] = {"secret": SECRET, "body": installation.receiver.raw[0], "headers": headers}
    exec(verifying, received)
    assert received["event"] == event
    with pytest.raises(WebhookVerificationError):
        exec(verifying, received | {"body": installation.receiver.raw[0] + b" "})
    assert headers["webhook-id"] == event["id"]

    inbound = installation.json("connect", "new", "north", "orders.generic")
    slot = ("connect", "credential", "north", inbound["id"], "signing_secret")
    installation.json(*slot, given="a-long-secret-for-the-till-0123456789")
    installation.json("connect", "validate", "north", inbound["id"])
    installation.json("connect", "enable", "north", inbound["id"])
    body = json.dumps(
        INCOMING | {"total": {"amount": 1, "currency": "EUR"}, "lines": [{"sku": "S", "qty": 1}]}
    ).encode()
    signed: dict[str, Any] = {"secret": b"a-long-secret-for-the-till-0123456789", "body": body}
    exec(signing, signed)
    with urllib.request.urlopen(
        urllib.request.Request(inbound["inbound"]["order-in"], body, signed["headers"])
    ) as answer:
        assert answer.status == 202
    came: list[str] = []
    stop = threading.Event()

    def handle(item: Any) -> None:
        came.append(item.event["data"]["order_id"])
        stop.set()

    exec(publishing.split("\n\n")[0] + "\n" + consuming, names | {"handle": handle, "stop": stop})
    assert came == ["X-1"]
