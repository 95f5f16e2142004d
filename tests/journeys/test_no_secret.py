"""No secret anywhere but where it is sealed: answers, lines, metrics, the database, what receivers get.

Canaries stand for every kind of secret. Each is looked for as it is and in the dresses in which a leak comes: hex,
base64 at its three alignments, base64url, percent-encoded. The search itself is tried on planted ones.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest

from api.house import Answer
from journeys.floor import (
    EVENT,
    Floor,
    Receiver,
    event,
    floor_in,
    order,
    plain,
    product,
    receiving,
    shopify,
    until,
)

WEBHOOK_KEY = b"canary-webhook-key-5b1e7f0c"
CORE_KEY = b"canary-core-push-key-91c4d2"
CLIENT_SECRET = "canary-client-secret-77aa31"
TILL = "canary-till-secret-2f9e04d8"
REFUSED = "canary-refused-value-c81d3b"
EMAIL = "canary.buyer.4410@shop.example"
STREET = "Canary Street 4410, third floor"


def whsec(key: bytes) -> str:
    return "whsec_" + base64.b64encode(key).decode()


def dresses(canary: bytes) -> dict[str, bytes]:
    """Each form that a leak may take. Of base64 the outer characters depend on what stands beside it: left away."""
    found = {
        "raw": canary,
        "hex": canary.hex().encode(),
        "HEX": canary.hex().upper().encode(),
        "percent": quote(canary, safe="").encode(),
        "percent all": "".join(f"%{byte:02X}" for byte in canary).encode(),
        "json": json.dumps(canary.decode("latin-1"))[1:-1].encode(),
    }
    for shift in range(3):
        for name, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
            text = encode(b"\0" * shift + canary).rstrip(b"=")
            found[f"{name} at {shift}"] = text[(0, 2, 3)[shift] : len(text) - 1]
    return found


@dataclass
class Sweep:
    """`secrets` by name; `find` says which of them stand in some bytes, and how."""

    secrets: dict[str, bytes] = field(default_factory=dict)

    def find(self, raw: bytes) -> set[tuple[str, str]]:
        return {
            (name, dress)
            for name, canary in self.secrets.items()
            for dress, form in dresses(canary).items()
            if form in raw
        }


@dataclass
class Swept:
    """A floor on which everything has happened once, with every answer that was given."""

    floor: Floor
    receiver: Receiver
    answers: list[tuple[str, bytes]]
    sweep: Sweep


class Listening:
    """Keeps what the API answers, but for the one answer that shows a new token."""

    def __init__(self, floor: Floor) -> None:
        self.answers: list[tuple[str, bytes]] = []
        self._call = floor.house.call
        floor.house.call = self.call  # type: ignore[method-assign]

    def call(self, method: str, path: str, *rest: Any, **named: Any) -> Answer:
        answer = self._call(method, path, *rest, **named)
        if (method, path) != ("POST", "/v1/tokens"):
            self.answers.append((f"{method} {path}", repr(answer.headers).encode() + answer.raw))
        return answer


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swept]:
    with receiving() as receiver, floor_in(tmp_path_factory.mktemp("swept"), receiver.address) as floor:
        heard = Listening(floor)
        live(floor, receiver)
        root = (floor.data / "root.key").read_text().strip()
        secrets = {
            "webhook key": WEBHOOK_KEY,
            "webhook secret": whsec(WEBHOOK_KEY).encode(),
            "core key": CORE_KEY,
            "core secret": whsec(CORE_KEY).encode(),
            "client secret": CLIENT_SECRET.encode(),
            "till secret": TILL.encode(),
            "refused value": REFUSED.encode(),
            "root key": root.encode(),
            "root key, raw": base64.b64decode(root),
            "token of the administrator": secret_of(floor.house.token),
            **{f"token of {name}": secret_of(text) for name, text in floor.house.tokens.items()},
        }
        yield Swept(floor, receiver, heard.answers, Sweep(secrets))


def secret_of(token: str) -> bytes:
    """`cdt_<id>_<secret>`: the id is of 26 characters and may be shown."""
    return token[len("cdt_") + 26 + 1 :].encode()


def live(floor: Floor, receiver: Receiver) -> None:
    """Every kind of secret is set, used, used wrongly and refused; every page is looked at."""
    house = floor.house
    floor.store("north")
    config = {"url": f"http://{receiver.address}/hook"}
    floor.connect("north", "webhook.custom", config, signing_secret=whsec(WEBHOOK_KEY))
    tills = floor.connect("north", "orders.generic", {}, signing_secret=TILL)
    shop = floor.connect("north", "orders.shopify", {}, client_secret=CLIENT_SECRET)
    push = {"mode": "push", "url": f"http://{receiver.address}/core", "secret": whsec(CORE_KEY)}
    house.ok("PUT", "/v1/stores/north/core", push)
    sold = order("o-1", buyer={"email": EMAIL}, ship_to={"name": "Canary Buyer", "address": STREET})
    assert plain(floor, tills, sold, TILL).status == 202
    assert plain(floor, tills, order("o-2"), TILL + "x").status == 401
    assert shopify(floor, shop, {"customer": EMAIL}, CLIENT_SECRET, "orders/create", "w").status == 422
    assert floor.publish("north", product("A-1"), product("A-2")).status == 202
    base = f"/v1/stores/north/connections/{tills}"
    for method, path, body in (
        ("PUT", f"{base}/credentials/no_such_slot", {"value": REFUSED}),
        ("PUT", f"{base}/credentials/signing_secret", {"value": REFUSED, "surplus": REFUSED}),
        ("PUT", f"{base}/credentials/signing_secret", {"value": [REFUSED]}),
        ("PUT", f"{base}/config", {"config": {"client_secret": REFUSED}}),
        ("PUT", "/v1/stores/north/core", {"mode": "push", "url": "nonsense", "secret": REFUSED}),
        ("POST", "/v1/stores", {"id": REFUSED + "!"}),
    ):
        assert house.call(method, path, body).status in (400, 404, 422), (method, path)
    assert house.call("GET", "/v1/stores", token="cdt_" + REFUSED).status == 401
    assert house.call("POST", "/v1/stores/north/events", product("A-3"), house.token + "x", EVENT).status == 401
    floor.at_rest("north")
    document = house.ok("GET", "/openapi.json")
    connections = [one["id"] for one in house.ok("GET", "/v1/stores/north/connections")["items"]]
    for path, operations in document["paths"].items():
        for connection in connections if "get" in operations else ():
            names = {"store": "north", "connection": connection, "integration": "orders.generic"}
            filled = path.format_map({"route": "order-in", "event_id": "A-1-1", **names})
            if not filled.endswith(("/data", "/inbox")):
                house.call("GET", filled)
    for path in ("/metrics", "/healthz", "/readyz", "/docs"):
        house.call("GET", path)


def files(floor: Floor) -> dict[str, bytes]:
    """What lies on the disk, but for the root key's own file; the WAL as it stands while it is served."""
    return {
        path.name: path.read_bytes() for path in floor.data.rglob("*") if path.is_file() and path.name != "root.key"
    }


def test_no_secret_is_in_any_answer(swept: Swept) -> None:
    assert len(swept.answers) > 60
    assert {name for name, _ in swept.answers} >= {"GET /metrics", "GET /v1/audit", "GET /v1/doctor", "GET /v1/tokens"}
    leaks = {(name, *found) for name, raw in swept.answers for found in swept.sweep.find(raw)}
    assert leaks == set()


def test_no_secret_reaches_a_receiver(swept: Swept) -> None:
    came = b"".join(repr(one.headers).encode() + one.raw for one in swept.receiver.came)
    assert {one.path for one in swept.receiver.came} == {"/hook", "/core"}
    assert swept.sweep.find(came) == set()


def test_no_secret_and_no_person_is_on_the_disk_or_in_the_lines(swept: Swept) -> None:
    sweep = Sweep({**swept.sweep.secrets, "email": EMAIL.encode(), "street": STREET.encode()})
    running = files(swept.floor)
    assert {"crossdock.db", "crossdock.db-wal"} <= set(running)
    assert {(name, *found) for name, raw in running.items() for found in sweep.find(raw)} == set()
    swept.floor.restart()
    assert {(name, *found) for name, raw in files(swept.floor).items() for found in sweep.find(raw)} == set()
    lines = swept.floor.log.read_bytes()
    assert b"ingest.accepted" in lines
    assert b"process.stopped" in lines
    assert sweep.find(lines) == set()


@pytest.mark.parametrize("dress", sorted(dresses(b"0123456789abcdef")))
@pytest.mark.parametrize("before", [b"", b"x", b"xy", b"xyz"])
def test_a_planted_canary_is_found(dress: str, before: bytes) -> None:
    canary = b"canary \xff of 24 bytes/+?"
    encode = {"base64": base64.b64encode, "base64url": base64.urlsafe_b64encode}.get(dress.split(maxsplit=1)[0])
    planted = encode(before + canary + b"end") if encode else before + dresses(canary)[dress] + b"end"
    assert Sweep({"planted": canary}).find(planted)
    assert not Sweep({"planted": canary}).find(b"nothing of it " * 50)


def test_the_sweep_looks_where_a_leak_would_be(swept: Swept) -> None:
    planted = "canary-planted-where-it-is-allowed"
    floor = swept.floor
    sent = event("product.changed", planted, {"sku": "A-9", "revision": 1, "sellable": True})
    assert floor.house.call("POST", "/v1/stores/north/events", sent, floor.core("north"), EVENT).status == 202
    floor.at_rest("north")
    floor.house.ok("GET", f"/v1/stores/north/events/{planted}")
    sweep = Sweep({"planted": planted.encode()})
    assert sweep.find(b"".join(files(floor).values()))
    assert sweep.find(b"".join(raw for _, raw in swept.answers))
    assert until(lambda: sweep.find(floor.log.read_bytes()))
