"""What happens in the demonstration, made from a seed: products, sales, and orders from outside. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

NORTH, SOUTH = "north", "south"
FIRST_NAMES = ("Ada", "Bela", "Chidi", "Dana", "Emil", "Fatma", "Goran", "Hana", "Iris", "Jomo")
COUNTRIES = ("DE", "FR", "KE", "PL", "SE", "TR")


@dataclass(frozen=True, slots=True)
class World:
    """What each store sells and what comes in for it. `incoming` items are {name, payload, forge}."""

    products: dict[str, list[dict[str, Any]]]
    orders: dict[str, list[dict[str, Any]]]
    shopify: list[dict[str, Any]]
    plain: list[dict[str, Any]]


def make(seed: int, *, products: int = 40, orders: int = 150, incoming: int = 40) -> World:
    dice = Random(seed)
    return World(
        products={store: _products(store, dice, products) for store in (NORTH, SOUTH)},
        orders={store: [_order(store, number, dice) for number in range(1, orders + 1)] for store in (NORTH, SOUTH)},
        shopify=_doubled([_shopify(number, dice) for number in range(1, incoming + 1)]),
        plain=_doubled([_plain(number, dice) for number in range(1, incoming + 1)]),
    )


def _products(store: str, dice: Random, count: int) -> list[dict[str, Any]]:
    """Three revisions of each product. `cost_price` is confidential: it may not leave."""
    return [
        {
            "sku": f"{store}-{number:03}",
            "revision": revision,
            "title": f"Article {number}",
            "price": {"amount": dice.randrange(100, 10_000) / 100, "currency": "EUR"},
            "stock": dice.randrange(0, 50),
            "gtin": f"40{number:011}",
            "sellable": True,
            "cost_price": 7.77,
        }
        for revision in (1, 2, 3)
        for number in range(1, count + 1)
    ]


def _order(store: str, number: int, dice: Random) -> dict[str, Any]:
    name = dice.choice(FIRST_NAMES)
    return {
        "order_id": f"{store}-{number:05}",
        "channel": "storefront",
        "total": {"amount": dice.randrange(500, 50_000) / 100, "currency": "EUR"},
        "lines": [{"sku": f"{store}-{dice.randrange(1, 40):03}", "qty": dice.randrange(1, 4)}],
        "customer": {
            "id": f"c-{store}-{dice.randrange(1, 60)}",
            "email": f"{name.lower()}.{store}.{number}@buyers.example",
            "first_name": name,
            "country": dice.choice(COUNTRIES),
        },
    }


def _shopify(number: int, dice: Random) -> dict[str, Any]:
    """The fields of a Shopify order webhook (Admin API, Order) that matter, and some that must not pass."""
    name = dice.choice(FIRST_NAMES)
    price = f"{dice.randrange(500, 9_000) / 100:.2f}"
    return {
        "id": 5_000_000_000 + number,
        "admin_graphql_api_id": f"gid://shopify/Order/{5_000_000_000 + number}",
        "name": f"#{1000 + number}",
        "email": f"{name.lower()}{number}@shop.example",
        "created_at": "2026-11-01T10:00:00+01:00",
        "updated_at": "2026-11-01T10:00:00+01:00",
        "currency": "EUR",
        "total_price": price,
        "browser_ip": "203.0.113.9",
        "customer": {"id": 9_000 + number, "email": f"{name.lower()}{number}@shop.example", "first_name": name},
        "line_items": [
            {
                "id": 700_000 + number,
                "variant_id": 800_000 + number,
                "sku": f"north-{dice.randrange(1, 40):03}",
                "quantity": dice.randrange(1, 3),
                "price": price,
                "title": "Article",
            }
        ],
        "shipping_address": {
            "name": name,
            "first_name": name,
            "address1": f"Harbour Street {number}",
            "city": "Hamburg",
            "zip": "20457",
            "country_code": "DE",
            "country": "Germany",
        },
    }


def _plain(number: int, dice: Random) -> dict[str, Any]:
    name = dice.choice(FIRST_NAMES)
    return {
        "order_id": f"till-{number:05}",
        "revision": 1,
        "lines": [{"sku": f"south-{dice.randrange(1, 40):03}", "qty": 1}],
        "buyer": {"email": f"{name.lower()}{number}@till.example"},
    }


def _doubled(payloads: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every fifth is sent twice under the same name, every seventh is also forged."""
    jobs = []
    for number, payload in enumerate(payloads, 1):
        job = {"name": f"delivery-{number:05}", "payload": payload, "forge": number % 7 == 0}
        jobs += [job, {**job, "forge": False}] if number % 5 == 0 else [job]
    return jobs
