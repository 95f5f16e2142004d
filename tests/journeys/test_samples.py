"""Real input goes through a served installation: orders in, products and orders out, catalogues as they are.

Each journey runs on our own samples, and on published ones of others where they are on this machine (SOURCES.md there
says whose they are).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from crossdock.contracts.catalogue import Catalogue
from journeys.floor import (
    EVENT,
    OWN,
    SECRET,
    SHARED,
    Floor,
    Receiver,
    event,
    floor_in,
    order,
    receiving,
    shopify,
    until,
)

CLIENT_SECRET = "the client secret of the app"
NOT_LISTED = ("browser_ip", "note", "payment_details", "billing_address", "cart", "credit_card", "phone", "grams")


@dataclass(frozen=True)
class Samples:
    """Where each kind of sample lies; several files of one kind are tried one after the other."""

    name: str
    webhooks: dict[str, Path]
    spree: tuple[Path, ...]
    medusa: tuple[Path, ...]
    acp: tuple[Path, ...]
    orders: tuple[Path, ...]

    def webhook(self, kind: str) -> dict[str, Any]:
        return json.loads(self.webhooks[kind].read_text(encoding="utf-8"))[kind]


KINDS = ("order", "product", "customer")
ALL = (
    Samples(
        "own",
        {kind: OWN / f"shopify-{kind}.json" for kind in KINDS},
        (OWN / "catalogue-spree.csv",),
        (OWN / "catalogue-medusa.csv",),
        (OWN / "catalogue.json",),
        (OWN / "orders.csv",),
    ),
    Samples(
        "published",
        {kind: SHARED / f"webhooks/shopify/{kind}.json" for kind in KINDS},
        (SHARED / "catalogs/spree/products.csv",),
        tuple(
            SHARED / "catalogs/medusa" / f"{name}.csv"
            for name in ("exported-products-comma", "v1-template", "invalid-prices")
        ),
        (SHARED / "catalogs/acp/examples.feed.json",),
        tuple(SHARED / "orders/fivetran" / f"{name}.csv" for name in ("shopify_order_data", "shopify_gql_order_data")),
    ),
)


@pytest.fixture(params=ALL, ids=lambda one: one.name)
def samples(request: pytest.FixtureRequest) -> Samples:
    one: Samples = request.param
    if not all(path.exists() for path in one.webhooks.values()):
        pytest.skip(f"no published samples at {SHARED}: set CROSSDOCK_SAMPLES")
    return one


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Floor]:
    with floor_in(tmp_path_factory.mktemp("samples"), receiver.address) as made:
        yield made


def fresh(floor: Floor, samples: Samples, what: str) -> str:
    store = f"{what}-{samples.name}"
    floor.store(store)
    return store


def test_a_shopify_order_reaches_the_cores_inbox_in_canonical_form(floor: Floor, samples: Samples) -> None:
    store = fresh(floor, samples, "orders-in")
    connection = floor.connect(store, "orders.shopify", {}, client_secret=CLIENT_SECRET)
    given = samples.webhook("order")
    kept = shopify(floor, connection, given, CLIENT_SECRET, "orders/create", "w-1")
    assert kept.status == 200, kept.raw
    (item,) = floor.pull(store)
    assert item["event"]["type"] == "order.received"
    assert item["event"]["id"] == kept.json["event_id"]
    data = item["event"]["data"]
    assert data["order_id"] == str(given["id"])
    assert data["total"] == {"amount": float(given["total_price"]), "currency": given["currency"]}
    assert [one["qty"] for one in data["lines"]] == [one["quantity"] for one in given["line_items"]]
    assert all(one["sku"] for one in data["lines"])
    assert data["buyer"] == {"email": given["email"]}
    assert data["ship_to"]["name"] == given["shipping_address"]["name"]
    assert data["ship_to"]["address"] == given["shipping_address"]["address1"]
    schema = Catalogue.shipped().schema("order.received", 1)
    assert schema is not None
    assert set(data) <= set(schema.document["properties"])
    assert not [word for word in NOT_LISTED if word in json.dumps(data)]
    floor.ack(store, item)
    assert [(one["accepted"], one["delivered"]) for one in floor.at_rest(store)] == [(1, 1)]


def products_of(payload: dict[str, Any]) -> list[dict[str, Any]]:
    """A Shopify product as our own events, one for each variant."""
    revision = int(datetime.fromisoformat(payload["updated_at"]).timestamp())
    return [
        {
            "sku": one.get("sku") or str(one["id"]),
            "revision": revision,
            "title": f"{payload['title']}, {one['title']}",
            "price": {"amount": float(one["price"]), "currency": "EUR"},
            "stock": one["inventory_quantity"],
            "sellable": one["inventory_quantity"] > 0,
        }
        for one in payload["variants"]
    ]


def test_a_shopify_product_leaves_as_signed_webhooks(floor: Floor, samples: Samples, receiver: Receiver) -> None:
    store = fresh(floor, samples, "products-out")
    path = f"/{samples.name}/products"
    config = {"url": f"http://{receiver.address}{path}", "sellable_only": False}
    floor.connect(store, "webhook.custom", config, signing_secret=SECRET)
    wanted = products_of(samples.webhook("product"))
    events = [event("product.changed", f"p-{at}", data) for at, data in enumerate(wanted)]
    assert floor.publish(store, *events).status == 202
    floor.at_rest(store)
    came = [one for one in receiver.came if one.path == path]
    sent = [Webhook(SECRET).verify(one.raw, one.headers)["data"] for one in came]
    latest = {one["sku"]: one for one in wanted}
    assert {one["sku"]: one for one in sent} == latest


def test_a_customer_is_no_order_and_nothing_of_it_is_kept(floor: Floor, samples: Samples) -> None:
    store = fresh(floor, samples, "no-customers")
    connection = floor.connect(store, "orders.shopify", {}, client_secret=CLIENT_SECRET)
    customer = samples.webhook("customer")
    honest = shopify(floor, connection, customer, CLIENT_SECRET, "customers/update", "w-2")
    assert (honest.status, honest.json["code"]) == (422, "CD1011")
    disguised = shopify(floor, connection, customer, CLIENT_SECRET, "orders/create", "w-3")
    assert (disguised.status, disguised.json["code"]) == (422, "CD1010")
    assert {one["pointer"] for one in disguised.json["problems"]} >= {"/line_items", "/total_price"}
    assert customer["email"].encode() not in honest.raw + disguised.raw
    assert floor.pull(store, wait_seconds=0) == []
    assert [one["accepted"] for one in floor.lanes(store)] == [0]
    floor.end()
    kept = b"".join(path.read_bytes() for path in floor.data.glob("crossdock.db*"))
    floor.start()
    assert customer["email"].encode() not in kept
    assert customer["email"] not in floor.log.read_text()


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [row for row in csv.DictReader(file) if any(row.values())]


def whole(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def of_spree(row: dict[str, str]) -> dict[str, Any]:
    price = {"amount": float(row["price"]), "currency": row["currency"]}
    return {"sku": row["sku"], "title": row["name"], "price": price, "stock": whole(row["inventory_count"])}


def of_medusa(row: dict[str, str]) -> dict[str, Any]:
    dollars = row.get("Price USD") or row.get("Variant Price USD") or ""
    return {
        "sku": row.get("Variant SKU") or row.get("Variant Sku") or "",
        "title": f"{row['Product Title']}, {row['Variant Title']}",
        "price": {"amount": float(dollars), "currency": "USD"} if dollars else None,
        "stock": whole(row.get("Variant Inventory Quantity") or ""),
    }


def of_acp(document: dict[str, Any]) -> list[dict[str, Any]]:
    products = [one for part in document.values() if isinstance(part, dict) for one in part.get("products", ()) if one]
    variants = [variant for one in products for variant in one.get("variants", ())]
    return [
        {
            "sku": one["id"],
            "title": one["title"],
            "gtin": next((code["value"] for code in one.get("barcodes", ()) if code["type"] == "GTIN"), None),
        }
        for one in variants
    ]


def catalogue(samples: Samples, kind: str) -> list[dict[str, Any]]:
    """Every row as product data; what a row does not have is left out."""
    if kind == "acp":
        found = [one for path in samples.acp for one in of_acp(json.loads(path.read_text()))]
    else:
        adapt = {"spree": of_spree, "medusa": of_medusa}[kind]
        found = [adapt(row) for path in getattr(samples, kind) for row in rows(path)]
    return [
        {name: value for name, value in {**one, "revision": at, "sellable": True}.items() if value is not None}
        for at, one in enumerate(found)
    ]


def wrong_with(data: dict[str, Any]) -> set[str]:
    """What our schema must refuse, said a second time by hand."""
    wrong = set() if data["sku"] else {"/data/sku"}
    currency = data.get("price", {}).get("currency", "EUR")
    if len(currency) != 3 or not currency.isupper():
        wrong.add("/data/price/currency")
    return wrong | ({"/data/gtin"} if len(data.get("gtin", "")) > 14 else set())


@pytest.mark.parametrize("kind", ["spree", "medusa", "acp"])
def test_a_catalogue_goes_through_row_by_row(floor: Floor, samples: Samples, receiver: Receiver, kind: str) -> None:
    store = fresh(floor, samples, f"catalogue-{kind}")
    path = f"/{samples.name}/{kind}"
    config = {"url": f"http://{receiver.address}{path}"}
    floor.connect(store, "webhook.custom", config, signing_secret=SECRET)
    given = catalogue(samples, kind)
    accepted, refused = 0, 0
    for at, data in enumerate(given):
        sent = event("product.changed", f"row-{at}", data)
        answer = floor.house.call("POST", f"/v1/stores/{store}/events", sent, floor.core(store), EVENT)
        assert answer.status in (202, 422), answer.raw
        wrong = wrong_with(data)
        pointers = {one["pointer"] for one in answer.json["problems"]} if answer.status == 422 else set()
        assert pointers == wrong, (data, answer.raw)
        accepted, refused = accepted + (answer.status == 202), refused + (answer.status == 422)
    assert accepted + refused == len(given) > 0
    lanes = {one["route"]: one for one in floor.at_rest(store)}
    lane = lanes["product-changed"]
    assert lane["accepted"] == accepted == lane["delivered"] + lane["superseded"]
    assert lanes["order-placed"]["filtered"] == accepted
    came = [one.event["data"] for one in receiver.came if one.path == path]
    assert len(came) == lane["delivered"]
    newest = {one["sku"]: one for one in given if not wrong_with(one)}
    assert {one["sku"]: one for one in came} == newest


def placed(row: dict[str, str]) -> dict[str, Any]:
    """A row of an order table as `order.placed`: an amount, a buyer, no lines in this table."""
    customer = {"id": row["customer_id"] or f"guest-{row['id']}"}
    moment = row["created_at"].replace(" ", "T").rstrip("Z") + "Z"
    return {
        "order_id": row["id"],
        "placed_at": moment,
        "total": {
            "amount": float(row.get("total_price") or row.get("total_price_set_shop_amount") or 0),
            "currency": row.get("currency") or row.get("currency_code") or "",
        },
        "lines": [],
        "customer": {**customer, "email": row["email"]} if row["email"] else customer,
    }


def test_orders_of_a_table_leave_without_the_person(floor: Floor, samples: Samples, receiver: Receiver) -> None:
    store = fresh(floor, samples, "orders-out")
    path = f"/{samples.name}/orders"
    config = {"url": f"http://{receiver.address}{path}"}
    floor.connect(store, "webhook.custom", config, signing_secret=SECRET)
    given = [placed(row) for one in samples.orders for row in rows(one)]
    assert len({one["order_id"] for one in given}) == len(given) > 0
    accepted = 0
    for data in given:
        sent = event("order.placed", f"o-{data['order_id']}", data)
        answer = floor.house.call("POST", f"/v1/stores/{store}/events", sent, floor.core(store), EVENT)
        if "@" in data["customer"].get("email", "@"):
            assert answer.status == 202, answer.raw
        else:
            # Such tables hold a digest where the address was: no address, and so refused, by its place alone.
            assert answer.status == 422, answer.raw
            assert {one["pointer"] for one in answer.json["problems"]} == {"/data/customer/email"}
            assert data["customer"].pop("email").encode() not in answer.raw
            again = floor.house.call("POST", f"/v1/stores/{store}/events", sent, floor.core(store), EVENT)
            assert again.status == 202, again.raw
        accepted += 1
    lanes = {one["route"]: one for one in floor.at_rest(store)}
    assert lanes["order-placed"]["delivered"] == accepted == len(given)
    came = [one.event["data"] for one in receiver.came if one.path == path]
    assert sorted(one["order_id"] for one in came) == sorted(one["order_id"] for one in given)
    assert {one["total"]["amount"] for one in came} == {one["total"]["amount"] for one in given}
    clear = {one["customer"]["id"] for one in given}
    assert not clear & {one["customer"]["id"] for one in came}
    assert all(set(one["customer"]) == {"id"} for one in came)


def test_a_wrong_signature_over_a_real_payload_keeps_nothing(floor: Floor, samples: Samples) -> None:
    store = fresh(floor, samples, "forged")
    connection = floor.connect(store, "orders.shopify", {}, client_secret=CLIENT_SECRET)
    forged = shopify(floor, connection, samples.webhook("order"), "another secret", "orders/create", "w-4")
    unknown = shopify(floor, "con_" + "0" * 26, order("x"), "another secret", "orders/create", "w-4")
    assert (forged.status, forged.raw) == (401, unknown.raw)
    assert until(lambda: floor.lanes(store))[0]["accepted"] == 0
