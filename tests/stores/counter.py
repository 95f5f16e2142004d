"""A small control plane over an engine: a catalogue of our own, a clock that is advanced by hand."""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from crossdock.contracts.catalogue import Catalogue
from crossdock.contracts.read import Folder, Reading
from crossdock.credentials.root import RootKey
from crossdock.credentials.secret import Secret
from crossdock.credentials.vault import Vault
from crossdock.engines.memory.engine import MemoryEngine
from crossdock.engines.sqlite.engine import SqliteEngine
from crossdock.model.connection import Principal, Role
from crossdock.model.contract import (
    Auth,
    AuthScheme,
    Contract,
    Coupling,
    CredentialSlot,
    DataClass,
    DeliveryRule,
    Destination,
    Direction,
    Environment,
    EventSchema,
    FieldRule,
    InboundLimits,
    Lifecycle,
    Owner,
    Purpose,
    Queued,
    Rate,
    Request,
    Retention,
    RetryRule,
    Route,
    Source,
    Status,
    Surface,
    Verify,
)
from crossdock.model.ids import ConnectionId, ContractId, CorrelationId, Instant, LaneId, RouteName, StoreId
from crossdock.observe.lines import Lines, Value
from crossdock.stores.connection_desk import ConnectWish
from crossdock.stores.desk import Desk, build_desk
from crossdock.stores.directory import Directory
from crossdock.stores.office import Act, Office, Prospect
from crossdock.stores.port import Engine
from crossdock.stores.targets import Hosts

START = Instant(1_760_000_000_000)
DAY = 86_400_000
NORTH, SOUTH = StoreId("north"), StoreId("south")
MARKET, HOOK = ContractId("marketplace.acme"), ContractId("webhook.custom")
ADMIN = Act(Principal("token:admin", Role.PLATFORM_ADMIN, None), CorrelationId("cor-test-0001"))
PRODUCT = EventSchema(
    "product.changed",
    2,
    {"type": "object", "properties": {"sku": {"type": "string"}, "note": {"type": "string"}}},
    {"/sku": DataClass.PUBLIC, "/note": DataClass.PUBLIC},
)
ORDER = EventSchema("order.received", 1, {"type": "object"}, {"/order_id": DataClass.INTERNAL})
RETRY = RetryRule(first_ms=1_000, max_ms=60_000, attempts_max=5, for_ms=3_600_000)
KEPT = Retention(7 * DAY, 7 * DAY, 7 * DAY)
CONFIG = {
    "type": "object",
    "additionalProperties": False,
    "required": ["seller_id"],
    "properties": {
        "seller_id": {"type": "string", "pattern": "^[A-Z0-9]{4,14}$"},
        "safety_stock": {"type": "integer", "minimum": 0, "default": 2},
    },
}
OUT = Route(
    name=RouteName("product-push"),
    direction=Direction.OUTBOUND,
    driver="http-json/1",
    event=PRODUCT,
    fields=(FieldRule("/sku", DataClass.PUBLIC),),
    delivery=DeliveryRule(),
    retry=RETRY,
    retention=KEPT,
    ordering=("/sku",),
    request=Request("PUT", "api", "/v3/items/{sku}"),
)
IN = Route(
    name=RouteName("order-in"),
    direction=Direction.INBOUND,
    driver="core-push/1",
    event=ORDER,
    fields=(FieldRule("/order_id", DataClass.INTERNAL),),
    delivery=DeliveryRule(),
    retry=RETRY,
    retention=KEPT,
    source=Source(
        Verify.STANDARD_WEBHOOKS,
        "webhook_secret",
        300_000,
    ),
    limits=InboundLimits(65_536, Rate(50, 1_000, 200)),
)


def market(version: str = "1.0.0", **other: object) -> Contract:
    values: dict[str, object] = {
        "id": MARKET,
        "version": version,
        "status": Status.ACCEPTED,
        "title": "ACME Market",
        "summary": "Products out, orders in.",
        "owner": Owner.STORE,
        "owner_contact": "owner@store.example",
        "surface": Surface.BACKEND,
        "direction": Direction.BIDIRECTIONAL,
        "purpose": Purpose.MARKETPLACE,
        "scopes": ("products:read",),
        "credentials": (CredentialSlot("api_key", True, overlap_ms=2 * DAY), CredentialSlot("webhook_secret", True)),
        "destinations": (Destination("api", "api.acme.example", "api.sandbox.acme.example", ("PUT",), ("/v3/items",)),),
        "auth": Auth(AuthScheme.BEARER, "api_key"),
        "config": CONFIG,
        "routes": (OUT, IN),
        "lifecycle": Lifecycle(("config_valid", "dry_run"), Queued.HOLD, 3),
        "coupling": Coupling("/sku", "/item_id", {}, "field_owner_wins", True, DAY, 2, "PT6H"),
    }
    return Contract(**{**values, **other})  # type: ignore[arg-type]


def hook() -> Contract:
    return market(
        id=HOOK,
        direction=Direction.OUTBOUND,
        purpose=Purpose.WEBHOOK,
        credentials=(CredentialSlot("signing", True),),
        destinations=(Destination("receiver", "", "", ("POST",), ("/",), store_url="url"),),
        auth=Auth(),
        config={
            "type": "object",
            "additionalProperties": False,
            "required": ["url"],
            "properties": {"url": {"type": "string"}},
        },
        routes=(
            Route(
                name=RouteName("events"),
                direction=Direction.OUTBOUND,
                driver="webhook/1",
                event=PRODUCT,
                fields=(FieldRule("/sku", DataClass.PUBLIC),),
                delivery=DeliveryRule(),
                retry=RETRY,
                retention=KEPT,
                webhook_to="receiver",
                webhook_secret="signing",
            ),
        ),
        coupling=None,
    )


def catalogue(*contracts: Contract) -> Catalogue:
    chosen = contracts or (market(), hook())
    readings = [Reading(one, None, Folder("", {}), (), frozenset()) for one in chosen]  # type: ignore[arg-type]
    return Catalogue(readings, {("product.changed", 2): PRODUCT, ("order.received", 1): ORDER})


@dataclass
class Clock:
    now: Instant = START

    def __call__(self) -> Instant:
        return self.now

    def forward(self, ms: int) -> None:
        self.now = Instant(self.now + ms)


@dataclass
class Drawn:
    """Random bytes that are the same in every run."""

    count: int = 0

    def __call__(self, length: int) -> bytes:
        self.count += 1
        return hashlib.shake_256(f"drawn {self.count}".encode()).digest(length)


@dataclass
class Tried:
    """The trials' answers, as a far end would make them."""

    troubles: dict[str, str] = field(default_factory=dict)

    async def check(self, prospect: Prospect) -> str:
        return self.troubles.get("check", "")

    async def dry_run(self, prospect: Prospect) -> str:
        return self.troubles.get("dry_run", "")


@dataclass
class Counter:
    engine: Engine
    catalogue: Catalogue
    clock: Clock
    vault: Vault
    hosts: Hosts
    office: Office
    desk: Desk
    directory: Directory
    trials: Tried
    lines: list[tuple[str, dict[str, Value]]]

    async def market(self, store: StoreId = NORTH) -> ConnectionId:
        """A connection that lacks nothing."""
        made = await self.desk.connections.connect(ADMIN, store, ConnectWish(MARKET, config={"seller_id": "ACME1"}))
        for name, make in (("api_key", secret), ("webhook_secret", signing)):
            await self.desk.credentials.set(ADMIN, store, made.id, name, make(f"{name} of {store}"))
        return made.id

    async def enabled(self, store: StoreId = NORTH) -> ConnectionId:
        name = await self.market(store)
        row = await self.office.connection(store, name)
        await self.desk.connections.validate(ADMIN, row)
        await self.desk.connections.enable(ADMIN, row)
        return name


def secret(text: str) -> Secret:
    return Secret(text.encode())


def signing(text: str) -> Secret:
    """One for each text, in the form that Standard Webhooks asks for."""
    return Secret(b"whsec_" + base64.b64encode(hashlib.sha256(text.encode()).digest()))


def lane(connection: ConnectionId, route: str = "product-push", store: StoreId = NORTH) -> LaneId:
    return LaneId(store, connection, RouteName(route))


async def open_counter(
    engine: Engine | None = None,
    contracts: Catalogue | None = None,
    hosts: Hosts | None = None,
    clock: Clock | None = None,
) -> Counter:
    clock = clock or Clock()
    random = Drawn()
    engine = engine or MemoryEngine(clock)
    await engine.start()
    found = contracts or catalogue()
    hosts = hosts or Hosts(
        Environment.LOCAL,
        mapped={"api.sandbox.acme.example": ("127.0.0.1", 9001)},
        loopback=frozenset({"127.0.0.1:9002"}),
        live=found.live_hosts(),
    )
    vault = Vault(RootKey(hashlib.shake_256(b"a root key for tests").digest(32)), os.urandom)
    seen: list[tuple[str, dict[str, Value]]] = []
    lines = Lines(lambda name, fields: seen.append((name, fields)))
    office = Office(engine.registry, found, vault, hosts, clock, random, lines)
    trials = Tried()
    desk = build_desk(office, trials, engine.journal, engine.lanes)
    directory = Directory(engine.registry, found, vault, hosts, clock)
    counter = Counter(engine, found, clock, vault, hosts, office, desk, directory, trials, seen)
    for store in (NORTH, SOUTH):
        await desk.stores.create(ADMIN, store, store)
    return counter


def sqlite(path: Path, clock: Clock) -> Engine:
    return SqliteEngine(path, clock)
