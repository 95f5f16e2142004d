"""Did every party receive exactly what it should? Pure: records in, sentences with yes or no out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from crossdock.demo.world import NORTH, SOUTH, World


@dataclass(frozen=True, slots=True)
class Sentence:
    """One thing that must hold. `seen` says what was found."""

    what: str
    ok: bool
    seen: str


def verdict(world: World, records: dict[str, Any], lanes: list[dict[str, Any]]) -> list[Sentence]:
    return [
        *_marketplace(world, records["marketplace"]),
        *_analytics(world, records["sink"]),
        *_receiver(world, records["receiver"]),
        *_mail(world, records["mail"]),
        *_core(world, records["commerce"]),
        *_senders(records),
        *_ledgers(world, lanes),
        *_walls(records),
    ]


def _marketplace(world: World, seen: dict[str, Any]) -> Iterable[Sentence]:
    wanted = {product["sku"]: product for product in world.products[NORTH]}  # the last revision of each
    got = seen["items"]
    same = [sku for sku, product in wanted.items() if sku in got and _listed(got[sku], product)]
    yield Sentence(
        "The marketplace holds the last revision of each product, and no other store's",
        set(got) == set(wanted) and len(same) == len(wanted),
        f"{len(same)} of {len(wanted)} products in {seen['calls']} calls, answers {seen['answers']}",
    )
    yield Sentence(
        "A call that was repeated carried the same key and the same body",
        seen["same_key_other_body"] == 0,
        f"{seen['keys']} keys, {seen['same_key_other_body']} with two bodies",
    )
    yield Sentence("The cost price never left", "7.77" not in json.dumps(got), "searched every item")


def _listed(item: dict[str, Any], product: dict[str, Any]) -> bool:
    """As the shipped contract maps it: two units are kept back from the listing by default."""
    return bool(
        item["version"] == product["revision"]
        and item["title"] == product["title"]
        and item["quantity"] == max(product["stock"] - 2, 0)
    )


def _leaves(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value


def _analytics(world: World, seen: dict[str, Any]) -> Iterable[Sentence]:
    text = json.dumps(seen["facts"])
    wanted = {order["order_id"] for order in world.orders[SOUTH]}
    got = {leaf for fact in seen["facts"].values() for leaf in _leaves(fact) if leaf in wanted}
    yield Sentence(
        "The analytics sink holds each of south's orders",
        got == wanted and len(seen["facts"]) == len(wanted),
        f"{len(got)} of {len(wanted)} orders in {seen['requests']} requests",
    )
    known = [order["customer"] for order in world.orders[SOUTH]]
    leaked = [person["email"] for person in known if person["email"] in text or f'"{person["id"]}"' in text]
    yield Sentence("No customer can be named from the facts", not leaked, f"{len(leaked)} names found")


def _receiver(world: World, seen: dict[str, Any]) -> Iterable[Sentence]:
    """Of a product only the last revision must arrive: the contract lets an older one that waits be superseded."""
    orders = {order["order_id"] for order in world.orders[NORTH]}
    products = {f"{product['sku']} {product['revision']}" for product in world.products[NORTH]}
    last = {f"{sku} 3" for sku in {product["sku"] for product in world.products[NORTH]}}
    got = list(seen["subjects"].values())
    yield Sentence(
        "North's receiver has each of north's events, once, every signature good",
        orders | last <= set(got) <= orders | products and len(set(got)) == len(got) and seen["invalid"] == 0,
        f"{len(orders & set(got))} of {len(orders)} orders, {len(last & set(got))} of {len(last)} products, "
        f"{seen['invalid']} bad signatures",
    )
    yield Sentence(
        "A repeat carried the same id and the same body",
        seen["same_id_other_body"] == 0,
        f"{seen['repeated']} repeats, {seen['same_id_other_body']} with another body",
    )


def _mail(world: World, seen: dict[str, Any]) -> Iterable[Sentence]:
    wanted = {order["customer"]["email"]: order["order_id"] for order in world.orders[NORTH]}
    right = [one for one in seen["messages"].values() if wanted.get(one["to"], "-") in one["subject"] + one["text"]]
    yield Sentence(
        "Each buyer of north has one message, with the right order",
        len(right) == len(wanted) == len(seen["messages"]),
        f"{len(right)} of {len(wanted)} messages",
    )


def _core(world: World, seen: dict[str, Any]) -> Iterable[Sentence]:
    for store, jobs, way in ((NORTH, world.shopify, "pull"), (SOUTH, world.plain, "push")):
        wanted = len({job["name"] for job in jobs})
        got = seen["orders_in"].get(store, {})
        orders = {data["order_id"] for data in got.values()}
        yield Sentence(
            f"The core has each of {store}'s incoming orders, once, by {way}",
            len(orders) == len(got) == wanted,
            f"{len(got)} of {wanted} orders",
        )
    yield Sentence(
        "No sale waits in the outbox and none was refused",
        seen["outbox"] == 0 and not seen["set_aside"] and seen["invalid"] == 0,
        f"{seen['outbox']} waiting, {len(seen['set_aside'])} set aside",
    )


def _senders(records: dict[str, Any]) -> Iterable[Sentence]:
    for name in ("shopify", "till"):
        seen = records[name]
        yield Sentence(
            f"Each forged webhook of the {name} sender was refused with 401",
            bool(seen["forged"]) and set(seen["forged"]) == {"401"},
            f"{sum(seen['forged'].values())} forged, answers {seen['forged']}",
        )
        yield Sentence(
            f"A webhook that the {name} sender sent twice was answered the same",
            seen["unlike_answers"] == 0,
            f"statuses {seen['statuses']}, {seen['unlike_answers']} unlike",
        )


def _ledgers(world: World, lanes: list[dict[str, Any]]) -> Iterable[Sentence]:
    open_books = [lane for lane in lanes if not lane["closes"]]
    yield Sentence("Every ledger closes", bool(lanes) and not open_books, f"{len(lanes)} lanes, {len(open_books)} open")
    down = [lane for lane in lanes if lane["down"]]
    if down:
        wanted = {
            "order-placed": len(world.orders[SOUTH]),
            "product-changed": len({one["sku"] for one in world.products[SOUTH]}),
        }
        kept = {lane["route"]: lane["waiting"] + lane["parked"] for lane in down}
        lost = sum(lane["delivered"] + lane["expired"] + lane["erased"] for lane in down)
        yield Sentence(
            "What is meant for the receiver that is down waits, all of it",
            lost == 0 and all(kept.get(route, 0) >= count for route, count in wanted.items()),
            f"{kept} wait, {lost} ended otherwise",
        )


def _walls(records: dict[str, Any]) -> Iterable[Sentence]:
    north = json.dumps([records["marketplace"], records["receiver"], records["mail"]])
    south = json.dumps(records["sink"])
    mixed = ("south-" in north) + ("north-" in south)
    yield Sentence("No party of one store saw a thing of the other", mixed == 0, f"{mixed} crossings")
