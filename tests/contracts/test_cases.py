"""The cases beside the shipped contracts, run, and real payloads from outside."""

from __future__ import annotations

import copy
import csv
import json
import os
from pathlib import Path

import pytest

from crossdock.contracts.cases import Case, CaseKind, read_cases
from crossdock.contracts.catalogue import Catalogue
from crossdock.contracts.config import check_config
from crossdock.contracts.expressions import evaluate, fill, predicate
from crossdock.contracts.project import join, minimise, split
from crossdock.contracts.schemas import validate
from crossdock.contracts.show import show
from crossdock.credentials.secret import Secret
from crossdock.ingest.shaping import knobs_of
from crossdock.model.contract import Contract, Route
from crossdock.model.ids import Instant, Json, JsonObject
from crossdock.signing import SCHEMES, SignedRequest, Verified

CATALOGUE = Catalogue.shipped()
SAMPLES = Path(os.environ.get("CROSSDOCK_SAMPLES", Path(__file__).resolve().parents[2] / "../shared/samples"))
real = pytest.mark.skipif(not SAMPLES.is_dir(), reason="no samples folder (set CROSSDOCK_SAMPLES)")


def cases(*kinds: CaseKind) -> list[tuple[Contract, Case]]:
    found = []
    for one in CATALOGUE.readings:
        read, findings = read_cases(one.folder.texts["cases.yaml"], "cases.yaml")
        assert read is not None, findings
        found += [(one.contract, case) for case in read.cases if case.kind in kinds]
    return found


def name(value: object) -> str:
    return value.name.replace(" ", "-") if isinstance(value, Case) else getattr(value, "id", "")


def pepper(text: str) -> str:
    return f"pepper({text})"


def config_of(contract: Contract, case: Case) -> JsonObject:
    return check_config(contract, case.config) if case.config or not contract.config.get("required") else {}


def inbound(route: Route, payload: Json, config: JsonObject) -> JsonObject:
    document: Json = {"data": payload, "config": config, "event": {"type": route.event.type}}
    mapped = evaluate(route.mapping, document) if route.mapping else payload
    assert isinstance(mapped, dict)
    return minimise(mapped, route.fields, pepper)


def at(contract_id: str, route: str) -> Route:
    contract = CATALOGUE.get(contract_id)
    assert contract is not None
    found = contract.route(route)
    assert found is not None
    return found


@pytest.mark.parametrize(("contract", "case"), cases(CaseKind.REQUEST), ids=name)
def test_an_event_becomes_the_request_that_its_case_promises(contract: Contract, case: Case) -> None:
    route, config = contract.route(case.route), config_of(contract, case)
    assert route is not None
    assert validate(route.event.document, case.event) == []
    body, personal = split(case.event, route.event.classes)
    whole = join(body, personal)
    event: JsonObject = {"id": "evt-1", "type": route.event.type, "time": "2026-03-01T10:15:00Z"}
    assert route.when is None or predicate(route.when, {"event": event, "data": whole, "config": config})
    data = minimise(whole, route.fields, pepper)
    if route.mail is not None:
        names = {**data, "config": config}
        mail = {part: fill(getattr(route.mail, part), names) for part in ("sender", "recipient", "subject")}
        assert mail == case.expect
        assert fill(route.mail.text, names)
        return
    mapping = route.request.mapping if route.request else None
    rendered = evaluate(mapping, {"event": event, "data": data, "config": config}) if mapping else data
    assert rendered == case.expect


@pytest.mark.parametrize(("contract", "case"), cases(CaseKind.INBOUND), ids=name)
def test_a_payload_becomes_the_event_that_its_case_promises(contract: Contract, case: Case) -> None:
    route = contract.route(case.route)
    assert route is not None
    assert route.source is not None
    assert validate(route.source.payload_schema or {}, case.event) == []
    data = inbound(route, case.event, config_of(contract, case))
    assert data == case.expect
    assert validate(route.event.document, data) == []


@pytest.mark.parametrize(("contract", "case"), cases(CaseKind.SIGNATURE), ids=name)
def test_a_signature_is_accepted_as_its_case_promises(contract: Contract, case: Case) -> None:
    route = contract.route(case.route)
    assert route is not None
    assert route.source is not None
    knobs = knobs_of(route.source, config_of(contract, case))
    request = SignedRequest("POST", "https://crossdock.example/in/x", dict(case.headers), case.body.encode())
    verdict = SCHEMES[route.source.verify].verify(
        request, [Secret(case.secret.encode())], knobs, route.source.tolerance_ms, Instant(case.now_ms)
    )
    assert isinstance(verdict, Verified) is case.accepted


def test_a_shown_contract_is_json_and_lists_every_field_with_its_class() -> None:
    for contract in CATALOGUE.contracts():
        shown = show(contract)
        assert json.loads(json.dumps(shown)) == shown
        assert [len(route["fields"]) for route in shown["routes"]] == [len(one.fields) for one in contract.routes]


@real
def test_a_real_shopify_order_becomes_a_valid_order() -> None:
    route = at("orders.shopify", "order-in")
    order = json.loads((SAMPLES / "webhooks/shopify/order.json").read_text())["order"]
    assert route.source is not None
    assert route.source.payload_schema is not None
    assert validate(route.source.payload_schema, order) == []
    data = inbound(route, order, {})
    assert validate(route.event.document, data) == []
    assert len(data["lines"]) == len(order["line_items"])
    body, personal = split(data, route.event.classes)
    assert set(personal) == {"/buyer/email", "/ship_to/name", "/ship_to/address", "/ship_to/city", "/ship_to/zip"}
    assert order["email"] not in json.dumps(body)
    without_sku = copy.deepcopy(order)
    without_sku["line_items"][0]["sku"] = ""
    assert inbound(route, without_sku, {})["lines"][0]["sku"] == str(order["line_items"][0]["variant_id"])


@real
@pytest.mark.parametrize("kind", ["product", "customer"])
def test_a_real_shopify_payload_of_another_kind_is_no_order(kind: str) -> None:
    route = at("orders.shopify", "order-in")
    payload = json.loads((SAMPLES / f"webhooks/shopify/{kind}.json").read_text())[kind]
    assert route.source is not None
    assert f"{kind}s/update" not in route.source.topics
    assert validate(route.source.payload_schema or {}, payload) != []


def variant_event(row: dict[str, str]) -> JsonObject:
    return {
        "sku": row["sku"] or row["id"],
        "revision": int(row["updated_at"].replace("-", "").replace(":", "").replace(" ", "")[:14]),
        "title": row["display_name"],
        "price": {"amount": float(row["price"]), "currency": "USD"},
        "stock": int(row["inventory_quantity"]),
        "sellable": row["available_for_sale"] == "TRUE",
    }


@real
def test_real_catalogue_rows_become_valid_product_events() -> None:
    schema = CATALOGUE.schema("product.changed")
    assert schema is not None
    with (SAMPLES / "orders/fivetran/shopify_gql_product_variant_data.csv").open(encoding="utf-8-sig") as file:
        events = [variant_event(row) for row in csv.DictReader(file)]
    assert events
    route = at("marketplace.acme", "product-push")
    for event in events:
        assert validate(schema.document, event) == []
        data = minimise(event, route.fields, pepper)
        assert route.request is not None
        item = evaluate(
            route.request.mapping or "@",
            {"data": data, "event": {}, "config": {"seller_id": "S", "safety_stock": 2, "auto_publish": False}},
        )
        assert item["item_id"] == event["sku"]
        assert item["quantity"] == max(event["stock"] - 2, 0)


@real
def test_real_product_rows_become_valid_product_events() -> None:
    schema = CATALOGUE.schema("product.changed", 2)
    assert schema is not None
    with (SAMPLES / "orders/fivetran/shopify_product_data.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert rows
    for row in rows:
        event = {"sku": row["id"], "revision": 1, "title": row["title"], "sellable": row["published_at"] != ""}
        assert validate(schema.document, event) == []
