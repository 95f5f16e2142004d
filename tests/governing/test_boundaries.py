"""Sentences of the governing document that no other test proves: over a served installation where that is possible."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import subprocess
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from crossdock.contracts.catalogue import Catalogue, folder_of
from crossdock.contracts.judgement import lint_folder
from crossdock.contracts.read import CONTRACT_FILE, Folder
from crossdock.model.contract import Direction, Environment, Purpose, Surface
from journeys.floor import (
    EVENT,
    ROOT,
    SECRET,
    Floor,
    Receiver,
    event,
    floor_in,
    order,
    plain,
    post_in,
    product,
    receiving,
)

CATALOGUE = Catalogue.shipped()
SHIPPED = Path(str(resources.files("crossdock.catalogue")))
NORTH, SOUTH = "north", "south"
KEYS = {NORTH: "the till of the north signs so", SOUTH: "the till of the south signs so"}
ACME_KEY = "acme signs its orders with this one"
SANDBOX = "api.sandbox.acme-market.example"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Floor]:
    host_map = f"{SANDBOX}={receiver.address}"
    with floor_in(tmp_path_factory.mktemp("governing"), receiver.address, host_map=host_map) as made:
        for store in (NORTH, SOUTH):
            made.store(store)
        yield made


@pytest.fixture(scope="module")
def tills(floor: Floor) -> dict[str, str]:
    return {store: floor.connect(store, "orders.generic", {}, signing_secret=key) for store, key in KEYS.items()}


@pytest.fixture(autouse=True)
def kind_again(receiver: Receiver) -> Iterator[None]:
    yield
    receiver.status = 204
    receiver.hold.set()


def folder(contract_id: str) -> Folder:
    return folder_of(SHIPPED / contract_id, contract_id)


def codes(contract_id: str, change: dict[str, Any], without: str = "") -> set[str]:
    """The rules that a shipped contract breaks once it is changed so."""
    good = folder(contract_id)
    document = {**yaml.safe_load(good.texts[CONTRACT_FILE]), **change}
    document.pop(without, None)
    # JSON is YAML: it comes back as it was.
    changed = Folder(good.name, {**good.texts, CONTRACT_FILE: json.dumps(document)})
    return {one.code for one in lint_folder(changed, CATALOGUE.schemas)}


def test_every_integration_says_its_direction_purpose_surface_and_owner() -> None:
    assert {str(one) for one in Direction} == {"outbound", "inbound", "bidirectional"}
    assert {str(one) for one in Surface} == {"storefront", "backend", "admin", "platform"}
    assert {str(one) for one in Purpose} >= {"marketplace", "analytics", "notification", "webhook"}
    assert {str(one) for one in Purpose} >= {"order_ingestion", "catalog_import"}
    assert {str(one) for one in Purpose} >= {"observability", "ci_cd", "infrastructure"}
    for contract in CATALOGUE.contracts():
        for key in ("direction", "purpose", "surface", "owner"):
            assert codes(contract.id, {}, without=key), f"{contract.id} is taken without {key}"
        flows = {route.direction for route in contract.routes}
        both = {Direction.INBOUND, Direction.OUTBOUND}
        assert flows == (both if contract.direction is Direction.BIDIRECTIONAL else {contract.direction})


def test_a_good_contract_written_anew_breaks_nothing() -> None:
    """So that what the other tests here find comes from their change."""
    assert [codes(one.id, {}) for one in CATALOGUE.contracts()] == [set()] * len(CATALOGUE.contracts())


def test_the_catalogue_has_an_example_of_each_kind() -> None:
    kinds = {(one.direction, one.purpose) for one in CATALOGUE.contracts()}
    assert (Direction.BIDIRECTIONAL, Purpose.MARKETPLACE) in kinds
    assert (Direction.OUTBOUND, Purpose.ANALYTICS) in kinds
    assert (Direction.OUTBOUND, Purpose.NOTIFICATION) in kinds
    assert (Direction.OUTBOUND, Purpose.WEBHOOK) in kinds
    assert (Direction.INBOUND, Purpose.ORDER_INGESTION) in kinds


@pytest.mark.parametrize("key", ["sla", "billing", "price", "uptime"])
def test_a_contract_has_no_word_for_what_is_no_goal(key: str) -> None:
    assert codes("webhook.custom", {key: {"amount": 1}}) == {"S001"}


def test_no_provider_is_built_in() -> None:
    """Providers are contracts: what is code speaks a protocol, and no provider's kit is among the dependencies."""
    drivers = {route.driver for one in CATALOGUE.contracts() for route in one.routes if route.driver}
    assert drivers == {"http-json/1", "webhook/1", "smtp/1", "core-push/1"}
    declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8").lower()
    assert not re.findall(r'"(?:shopify|stripe|boto|sp-api|python-amazon|twilio|sendgrid)\w*', declared)


def test_coupling_must_be_written_down_and_both_ways_have_secrets_of_their_own() -> None:
    assert codes("marketplace.acme", {}, without="coupling")
    for contract in CATALOGUE.contracts():
        if contract.direction is not Direction.BIDIRECTIONAL:
            continue
        document = yaml.safe_load(folder(contract.id).texts[CONTRACT_FILE])
        out = {document["auth"]["secret"]}
        into = {route["source"]["secret"] for route in document["routes"] if "source" in route}
        assert into
        assert not out & into


def test_what_no_contract_documents_does_not_happen(floor: Floor) -> None:
    house = floor.house
    core = floor.core(NORTH)
    unknown = event("gossip.heard", "g-1", {"text": "x"})
    refused = house.call("POST", f"/v1/stores/{NORTH}/events", unknown, core, EVENT)
    assert (refused.status, refused.json["code"]) == (422, "CD1015")
    surplus = product("A-1")
    surplus["data"]["supplier"] = "nobody asked"
    refused = house.call("POST", f"/v1/stores/{NORTH}/events", surplus, core, EVENT)
    assert (refused.status, [one["pointer"] for one in refused.json["problems"]]) == (422, ["/data"])
    wish = {"integration": "homemade.sync", "config": {}}
    assert house.call("POST", f"/v1/stores/{NORTH}/connections", wish).status in (404, 422)


def test_an_integration_moves_nothing_before_it_is_enabled(floor: Floor, receiver: Receiver) -> None:
    config = {"url": f"http://{receiver.address}/quiet"}
    wish = {"integration": "webhook.custom", "config": config}
    made = floor.house.ok("POST", f"/v1/stores/{NORTH}/connections", wish)
    base = f"/v1/stores/{NORTH}/connections/{made['id']}"
    assert made["state"] == "draft"
    floor.house.ok("PUT", f"{base}/credentials/signing_secret", {"value": SECRET})
    floor.house.ok("POST", f"{base}/validate")
    assert floor.publish(NORTH, product("quiet")).status == 202
    floor.house.ok("POST", f"{base}/enable")
    assert floor.publish(NORTH, product("loud")).status == 202
    floor.at_rest(NORTH)
    came = [one.event["data"]["sku"] for one in receiver.came if one.path == "/quiet"]
    assert came == ["loud"]
    floor.house.ok("POST", f"{base}/disable")


def test_one_stores_secret_opens_no_other_stores_door(floor: Floor, tills: dict[str, str]) -> None:
    assert plain(floor, tills[NORTH], order("n-1"), KEYS[NORTH]).status == 202
    assert plain(floor, tills[SOUTH], order("n-2"), KEYS[NORTH]).status == 401
    named = {**order("n-3"), "number": "store: south"}
    assert plain(floor, tills[NORTH], named, KEYS[NORTH]).status == 202
    assert floor.pull(SOUTH, wait_seconds=0) == []
    items = floor.pull(NORTH)
    assert [one["event"]["data"]["order_id"] for one in items] == ["n-1", "n-3"]
    floor.ack(NORTH, *items)


def test_one_event_of_the_core_reaches_its_own_stores_receivers_alone(floor: Floor, receiver: Receiver) -> None:
    bases = []
    for store in (NORTH, SOUTH):
        config = {"url": f"http://{receiver.address}/only-{store}"}
        name = floor.connect(store, "webhook.custom", config, signing_secret=SECRET)
        bases.append(f"/v1/stores/{store}/connections/{name}")
    for store in (NORTH, SOUTH):
        assert floor.publish(store, product(f"sku-of-{store}")).status == 202
        floor.at_rest(store)
    for store in (NORTH, SOUTH):
        came = [one.event["data"]["sku"] for one in receiver.came if one.path == f"/only-{store}"]
        assert came == [f"sku-of-{store}"]
    foreign = floor.house.call("POST", f"/v1/stores/{SOUTH}/events", product("x"), floor.core(NORTH), EVENT)
    unknown = floor.house.call("POST", "/v1/stores/nobody/events", product("x"), floor.core(NORTH), EVENT)
    assert (foreign.status, foreign.json["code"]) == (unknown.status, unknown.json["code"])
    for base in bases:
        floor.house.ok("POST", f"{base}/disable")


def test_a_sale_is_answered_while_its_receiver_hangs(floor: Floor, receiver: Receiver) -> None:
    config = {"url": f"http://{receiver.address}/hangs"}
    base = f"/v1/stores/{NORTH}/connections/" + floor.connect(NORTH, "webhook.custom", config, signing_secret=SECRET)
    receiver.hold.clear()
    assert floor.publish(NORTH, product("slow-0")).status == 202
    before = len([one for one in receiver.came if one.path == "/hangs"])
    while before == 0:
        receiver.wait_for(len(receiver.came) + 1)
        before = len([one for one in receiver.came if one.path == "/hangs"])
    # A delivery is under way and nobody answers it; the core's events are kept and answered all the same.
    for number in range(20):
        assert floor.publish(NORTH, product(f"slow-{number + 1}")).status == 202
    assert not receiver.hold.is_set()
    assert any(one["waiting"] for one in floor.lanes(NORTH))
    receiver.hold.set()
    floor.at_rest(NORTH)
    floor.house.ok("POST", f"{base}/disable")


def acme_order(floor: Floor, connection: str, number: str, key: str) -> int:
    items = [{"item_id": "A-1", "quantity": 1}]
    body = json.dumps({"order": {"id": number, "version": 1, "items": items}}).encode()
    moment = str(int(time.time()))
    digest = hmac.new(key.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {"x-acme-signature": f"v1={digest}", "x-acme-timestamp": moment, "x-acme-event": "order.created"}
    return post_in(floor, f"{connection}/order-in", body, headers).status


def test_a_marketplace_that_is_down_still_brings_its_orders(floor: Floor, receiver: Receiver) -> None:
    secrets = {"api_key": "the key of the store at acme", "webhook_secret": ACME_KEY}
    connection = floor.connect(SOUTH, "marketplace.acme", {"seller_id": "SELLER0001"}, **secrets)
    receiver.status = 503
    assert floor.publish(SOUTH, product("B-1")).status == 202
    assert acme_order(floor, connection, "m-1", ACME_KEY) == 202
    # The secret of one way opens nothing of the other.
    assert acme_order(floor, connection, "m-2", secrets["api_key"]) == 401
    (item,) = floor.pull(SOUTH)
    assert item["event"]["data"]["order_id"] == "m-1"
    floor.ack(SOUTH, item)
    lanes = {one["route"]: one for one in floor.lanes(SOUTH) if one["connection"] == connection}
    assert (lanes["order-in"]["delivered"], lanes["product-push"]["delivered"]) == (1, 0)
    assert lanes["product-push"]["waiting"] == 1
    assert all(one["closes"] for one in lanes.values())
    floor.house.ok("POST", f"/v1/stores/{SOUTH}/connections/{connection}/disable")


SECRETS = {
    "an API token": rb"cdt_[a-z0-9]{26}_[A-Za-z0-9_-]{43}",
    "a private key": rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}",
    "a key of a cloud": rb"\bAKIA[0-9A-Z]{16}\b",
}


def test_no_secret_is_committed() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is not a checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    tracked = [ROOT / name.decode() for name in listed.split(b"\0") if name]
    assert len(tracked) > 100
    assert [one for one in tracked if one.name in ("root.key", ".env") or one.suffix in (".db", ".pem", ".p12")] == []
    found = [
        (path.name, what)
        for path in tracked
        if path.is_file()
        for what, pattern in SECRETS.items()
        if re.search(pattern, path.read_bytes())
    ]
    assert found == []
    assert re.search(SECRETS["an API token"], b"cdt_" + b"a" * 26 + b"_" + b"B" * 43)


def test_a_contract_has_no_place_for_a_secret() -> None:
    slots = {"signing_secret": {"type": "secret", "rotate": "P180D", "overlap": "P2D", "value": "x"}}
    assert "S001" in codes("webhook.custom", {"credentials": slots})


def test_every_decision_says_why() -> None:
    decisions = sorted((ROOT / "docs/adr").glob("[0-9]*.md"))
    assert len(decisions) > 5
    for path in decisions:
        text = path.read_text(encoding="utf-8")
        for word in ("**Decision.**", "**Because.**", "**Instead of.**", "**Harm if wrong.**"):
            assert word in text, (path.name, word)


def test_there_is_one_kind_of_environment_per_installation() -> None:
    assert {str(one) for one in Environment} == {"local", "staging", "production"}
    for contract in CATALOGUE.contracts():
        document = yaml.safe_load(folder(contract.id).texts[CONTRACT_FILE])
        for where in document.get("destinations", {}).values():
            assert "live" not in where or where["sandbox"] != where["live"]
