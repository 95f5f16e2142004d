"""Who sends into a world: each store's core, and third parties. They repeat what was not acknowledged, as senders do,
and sometimes what was."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from crossdock.drivers.moments import rfc3339
from crossdock.model.contract import Direction, Verify
from crossdock.model.ids import EventId, Instant, LaneId
from crossdock.signing import SCHEMES
from crossdock.testing.world.books import Books
from crossdock.testing.world.facts import Fact
from crossdock.testing.world.network import Network
from crossdock.testing.world.process import Asking, Process, Reply
from crossdock.testing.world.receivers import POISON
from crossdock.testing.world.stage import House, Site

TRIES_MAX = 6
ODD = "odd"
"""A product of this name is called `..`, which no path may hold; an order's money is of no currency."""
PATIENCE_SECONDS = 8.0
HIDDEN_COST = 771_133.55  # a confidential amount: no contract lists it
KNOBS = {
    "orders": {
        "header": "X-Signature", "timestamp_header": "X-Timestamp", "timestamp_unit": "s",
        "template": "{timestamp}.{raw}", "encoding": "hex", "prefix": "",
    },
    "acme": {
        "header": "X-Acme-Signature", "prefix": "v1=", "timestamp_header": "X-Acme-Timestamp",
        "template": "{timestamp}.{raw}",
    },
}  # fmt: skip


@dataclass(slots=True)
class Post:
    """A request that a sender makes until it is acknowledged."""

    path: str
    body: bytes
    facts: list[Fact]
    headers: Callable[[], dict[str, str]]
    address: str


@dataclass(slots=True)
class Manners:
    """How the way to ingest is: shares of requests whose answer is lost, and of acknowledged ones sent again."""

    lost: float = 0.0
    again: float = 0.0
    conflicting: float = 0.0


@dataclass(slots=True)
class Senders:
    books: Books
    network: Network
    dice: random.Random
    now: Callable[[], Instant]
    choose: Callable[[], Process | None]
    manners: Manners = field(default_factory=Manners)
    numbers: int = 0
    under_way: dict[asyncio.Task[None], None] = field(default_factory=dict)

    def send(self, post: Post) -> None:
        task = asyncio.get_running_loop().create_task(self._until_acked(post))
        self.under_way[task] = None
        task.add_done_callback(lambda one: self.under_way.pop(one, None))

    async def _until_acked(self, post: Post) -> None:
        for attempt in range(TRIES_MAX):
            reply = await self._once(post)
            if reply is not None and 200 <= reply.status < 300:
                if self.dice.random() < self.manners.again:
                    self.books.coverage.saw("fault", "acked_sent_again")
                    await self._once(post)
                return
            if reply is not None and reply.status == 409:
                return
            await asyncio.sleep((0.3 + self.dice.random()) * 2**attempt)
        self.books.coverage.saw("ingest", "given_up")

    async def _once(self, post: Post) -> Reply | None:
        await asyncio.sleep(self.network.latency())
        process = self.choose()
        if process is None:
            return None
        asking = Asking(post.path, post.headers(), post.body, post.address)
        asked = process.ask(asking, lambda reply: self.books.replied(process, post.facts, reply))
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                reply = await asked
        except TimeoutError:
            self.books.coverage.saw("fault", "ingest_silent")
            return None
        await asyncio.sleep(self.network.latency())
        if reply is not None and self.dice.random() < self.manners.lost:
            self.books.coverage.saw("fault", "ack_lost")
            return None
        return reply

    # What is sent

    def publish(self, house: House, key: str, *, count: int = 1) -> None:
        """The core tells of a product or of an order, or of several at once."""
        events = [self._core_event(house, f"{key}{at}" if at else key) for at in range(count)]
        facts = [fact for fact, _ in events]
        batch = count > 1
        body = json.dumps([one for _, one in events] if batch else events[0][1]).encode()
        media = "application/cloudevents-batch+json" if batch else "application/cloudevents+json"
        headers = {"authorization": f"Bearer {house.token}", "content-type": media}
        path = f"/v1/stores/{house.store.id}/events"
        self.send(Post(path, body, facts, lambda: headers, "198.51.100.7"))
        if self.dice.random() < self.manners.conflicting:
            self.books.coverage.saw("fault", "same_id_other_body")
            other = body.replace(b'"currency": "EUR"', b'"currency": "NOK"')
            self.send(Post(path, other, [], lambda: headers, "198.51.100.7"))

    def _core_event(self, house: House, key: str) -> tuple[Fact, dict[str, object]]:
        self.numbers += 1
        number, store, now = self.numbers, house.store.id, self.now()
        product = self.dice.random() < 0.5
        odd = key == ODD
        named = (".." if odd else f"p-{key}") if product else f"o-{key}"
        open_, hidden = f"canary-{store}-open", f"canary-{store}-hidden"
        data: dict[str, object]
        if product:
            data = {
                "sku": named, "revision": number, "title": open_, "price": {"amount": 5.0, "currency": "EUR"},
                "stock": number % 7, "sellable": self.dice.random() < 0.8, "cost_price": HIDDEN_COST,
            }  # fmt: skip
        else:
            currency = "ZZZ" if odd else "EUR"
            customer = f"{hidden}-{self.dice.randrange(3)}"
            data = {
                "order_id": named, "channel": open_, "total": {"amount": number + 0.5, "currency": currency},
                "lines": [{"sku": named, "qty": 1, "note": hidden}],
                "customer": {"id": customer, "email": f"{hidden}@mail.example", "country": "NO"},
            }  # fmt: skip
        fact = Fact(
            number=number,
            store=store,
            event_id=EventId(f"e-{number}"),
            type="product.changed" if product else "order.placed",
            key=named,
            occurred_at=now,
            wanted=bool(data.get("sellable", True)),
            personal=not product,
        )
        self.books.by_id[store, fact.event_id] = fact
        return fact, {
            "specversion": "1.0", "id": fact.event_id, "source": "/core", "type": fact.type, "data": data,
            "time": rfc3339(now),
        }  # fmt: skip

    def order(self, site: Site, key: str) -> None:
        """A third party sends an order in."""
        route = site.inbound()
        if route is None:
            return
        self.numbers += 1
        number = self.numbers
        lane = LaneId(site.store, site.connection, route.name)
        fact = Fact(
            number=number,
            store=site.store,
            event_id=EventId(""),
            type=route.event.type,
            key=f"i-{key}",
            occurred_at=self.now(),
            personal=True,
            origin=lane,
        )
        body = json.dumps(_order(site, fact)).encode()
        correlation = f"w-{number}"
        self.books.by_correlation[correlation] = fact
        slot = route.source.secret if route.source is not None else ""

        def headers() -> dict[str, str]:
            scheme = SCHEMES[Verify.GENERIC_HMAC]
            signed = scheme.sign(body, site.secrets[slot], "m", self.now(), KNOBS[site.kind])
            more = {"X-Acme-Event": "order.created"} if site.kind == "acme" else {}
            return {**signed, **more, "content-type": "application/json", "x-correlation-id": correlation}

        self.send(Post(f"/in/{site.connection}/{route.name}", body, [fact], headers, "198.51.100.9"))

    def key(self, count: int, poison: float, odd: float) -> str:
        """Of an order or a product; now and then one that no far end ever takes, or that makes no sound request."""
        drawn = self.dice.random()
        if drawn < poison:
            return f"{POISON}-0"
        return ODD if drawn < poison + odd else f"k{self.dice.randrange(count)}"


def outbound(site: Site) -> bool:
    return any(route.direction is Direction.OUTBOUND for route in site.contract.routes)


def _order(site: Site, fact: Fact) -> dict[str, object]:
    open_, hidden = f"canary-{site.store}-open", f"canary-{site.store}-open"
    if site.kind == "acme":
        return {
            "order": {
                "id": fact.key, "version": fact.number, "created_at": "2026-05-01T10:00:00Z", "state": "PAID",
                "total": {"value": "12.50", "currency": "eur"},
                "items": [{"item_id": open_, "quantity": 1, "title": open_, "price": {"value": "12.50"}}],
                "buyer": {"email": f"{hidden}@mail.example"},
                "delivery": {"name": hidden, "street": "1 Way", "city": "Bergen", "postcode": "5003", "country": "no"},
            }
        }  # fmt: skip
    return {
        "order_id": fact.key, "revision": fact.number, "placed_at": "2026-05-01T10:00:00Z", "status": "paid",
        "total": {"amount": 12.5, "currency": "EUR"},
        "lines": [{"sku": open_, "qty": 1, "title": open_, "unit_price": 12.5}],
        "buyer": {"email": f"{hidden}@mail.example"},
        "ship_to": {"name": hidden, "city": "Bergen", "country": "NO"},
    }  # fmt: skip
