"""What a platform engineer does first, through the public API: stores, connections, credentials, enable."""

from __future__ import annotations

from dataclasses import dataclass

from crossdock.client import Crossdock
from crossdock.demo.world import NORTH, SOUTH


@dataclass(frozen=True, slots=True)
class Secrets:
    """Made anew for each run."""

    marketplace: str
    analytics: str
    webhook: str
    shopify: str
    till: str
    push: str


@dataclass(frozen=True, slots=True)
class Doors:
    """Where the senders send, and which connection is down."""

    shopify: str
    till: str
    down: str


def connect(client: Crossdock, store: str, integration: str, config: dict[str, object], secrets: dict[str, str]) -> str:
    """Connect, configure, hand over the credentials, validate, enable. The connection's id."""
    connection = str(client.connect(store, integration)["id"])
    client.configure(store, connection, config)
    for name, value in secrets.items():
        client.set_credential(store, connection, name, value)
    client.validate(store, connection)
    client.enable(store, connection)
    return connection


def set_up(client: Crossdock, secrets: Secrets, *, receiver_port: int, core_port: int, down_port: int | None) -> Doors:
    """Two stores with different integrations. With `down_port`, south's webhook leads where nobody listens."""
    client.create_store(NORTH, "North Harbour")
    client.create_store(SOUTH, "South Harbour")
    client.set_core(NORTH, "pull")
    client.set_core(SOUTH, "push", url=f"http://127.0.0.1:{core_port}/crossdock/{SOUTH}", secret=secrets.push)
    connect(
        client,
        NORTH,
        "marketplace.acme",
        {"seller_id": "NORTH12345"},
        {"api_key": secrets.marketplace, "webhook_secret": secrets.till},
    )
    hook = f"http://127.0.0.1:{receiver_port}/hook"
    connect(client, NORTH, "webhook.custom", {"url": hook}, {"signing_secret": secrets.webhook})
    connect(client, NORTH, "notify.email", {"from_address": "shop@north.example", "shop_name": "North Harbour"}, {})
    shopify = connect(client, NORTH, "orders.shopify", {}, {"client_secret": secrets.shopify})
    connect(client, SOUTH, "analytics.http-batch", {}, {"api_key": secrets.analytics})
    till = connect(client, SOUTH, "orders.generic", {}, {"signing_secret": secrets.till})
    down = ""
    if down_port:
        nobody = f"http://127.0.0.1:{down_port}/hook"
        down = connect(client, SOUTH, "webhook.custom", {"url": nobody}, {"signing_secret": secrets.webhook})
    return Doors(shopify=shopify, till=till, down=down)
