"""What stands when a world begins: contracts, stores, connections, secrets. All of it follows from the seed.

The contracts are the shipped ones with shorter waits, so that a life of an event fits into minutes of virtual time.
Each has a second version that differs only in how it retries: what a store may change without changing a body.
"""

from __future__ import annotations

import base64
import random
from dataclasses import dataclass, replace
from functools import lru_cache

from crossdock.contracts.catalogue import Catalogue
from crossdock.contracts.config import check_config
from crossdock.contracts.read import Reading
from crossdock.credentials.root import RootKey
from crossdock.credentials.secret import Secret
from crossdock.credentials.vault import Vault
from crossdock.model.connection import (
    AuditEntry,
    Connection,
    ConnectionState,
    CoreEndpoint,
    CoreMode,
    Credential,
    Revision,
    Role,
    Store,
)
from crossdock.model.contract import Contract, Direction, Environment, Route
from crossdock.model.ids import ConnectionId, ContractId, CorrelationId, Instant, JsonObject, LaneId, StoreId, base32
from crossdock.model.limits import DAY_MS, MINUTE_MS, SECOND_MS
from crossdock.stores.port import (
    AddConnection,
    AddRevision,
    AddStore,
    AddToken,
    Change,
    Engine,
    OpenLane,
    PutCoreEndpoint,
    PutCredential,
    Write,
)
from crossdock.stores.targets import Hosts, hosts_of
from crossdock.stores.tokens import TokenWish, mint

BEGIN = Instant(1_790_000_000_000)  # the true time at which every world begins
KINDS = ("webhook", "urgent", "batch", "acme", "orders")
CONTRACTS = {
    "webhook": "webhook.custom",
    "urgent": "webhook.urgent",
    "patient": "webhook.patient",
    "batch": "analytics.http-batch",
    "acme": "marketplace.acme",
    "orders": "orders.generic",
}
SLOTS = {
    "webhook": ("signing_secret",),
    "urgent": ("signing_secret",),
    "patient": ("signing_secret",),
    "batch": ("api_key",),
    "acme": ("api_key", "webhook_secret"),
    "orders": ("signing_secret",),
}
HOOKS = ("webhook", "urgent", "patient")
SHARED_HOSTS = {"batch": "collect.sandbox.factline.example", "acme": "api.sandbox.acme-market.example"}
URGENT_MS = 12 * SECOND_MS  # what `webhook.urgent` sends is worth nothing after that
ATTEMPTS_MAX = 6
SECOND_VERSION_ATTEMPTS_MAX = 5


@dataclass(frozen=True, slots=True)
class Site:
    """A connection of a store: what it is, where it leads, and the secrets that its parties know."""

    kind: str
    store: StoreId
    connection: ConnectionId
    contract: Contract
    config: JsonObject
    secrets: dict[str, Secret]

    def lanes(self) -> list[LaneId]:
        return [LaneId(self.store, self.connection, route.name) for route in self.contract.routes]

    def inbound(self) -> Route | None:
        return next((one for one in self.contract.routes if one.direction is Direction.INBOUND), None)


@dataclass(frozen=True, slots=True)
class House:
    """A store with its parties' secrets. `token` is the core's, `core_secret` signs pushes to it."""

    store: Store
    token: str
    core_secret: Secret
    sites: tuple[Site, ...]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a world shall have: the kinds of each store's connections."""

    houses: tuple[tuple[str, ...], ...]
    keys: int = 3
    events: int = 12


@dataclass(frozen=True, slots=True)
class Stage:
    """`audited`: how many entries the audit log begins with."""

    root: str
    houses: tuple[House, ...]
    audited: int = 0

    def sites(self) -> list[Site]:
        return [site for house in self.houses for site in house.sites]


@lru_cache(maxsize=1)
def catalogue() -> Catalogue:
    """The contracts of every world: made once, from files."""
    shipped = Catalogue.shipped()
    readings: list[Reading] = []
    for reading in shipped.readings:
        first = _shorter(reading.contract)
        readings += [replace(reading, contract=first), replace(reading, contract=_second(first))]
        if first.id == CONTRACTS["webhook"]:
            urgent = _urgent(first)
            readings += [replace(reading, contract=urgent), replace(reading, contract=_second(urgent))]
            readings.append(replace(reading, contract=_patient(first)))
    return Catalogue(readings, shipped.schemas)


def hosts() -> Hosts:
    return Hosts(Environment.STAGING, live=catalogue().live_hosts())


def _shorter(contract: Contract) -> Contract:
    def of(route: Route) -> Route:
        retry = replace(
            route.retry, first_ms=SECOND_MS, max_ms=8 * SECOND_MS, attempts_max=ATTEMPTS_MAX, for_ms=10 * MINUTE_MS
        )
        return replace(route, retry=retry, delivery=replace(route.delivery, timeout_ms=5 * SECOND_MS))

    return replace(contract, routes=tuple(of(route) for route in contract.routes))


def _second(contract: Contract) -> Contract:
    routes = tuple(
        replace(route, retry=replace(route.retry, attempts_max=SECOND_VERSION_ATTEMPTS_MAX))
        for route in contract.routes
    )
    first, _, last = contract.version.rpartition(".")
    return replace(contract, version=f"{first}.{int(last) + 1}", routes=routes)


def _urgent(contract: Contract) -> Contract:
    routes = tuple(replace(one, expires_after_ms=URGENT_MS, refuses_replay=True) for one in contract.routes)
    return replace(contract, id=ContractId(CONTRACTS["urgent"]), routes=routes)


def _patient(first: Contract) -> Contract:
    """What waits for a far end for days, as the shipped contracts do."""

    def of(route: Route) -> Route:
        retry = replace(route.retry, max_ms=10 * MINUTE_MS, attempts_max=100, for_ms=DAY_MS)
        return replace(route, retry=retry)

    return replace(first, id=ContractId(CONTRACTS["patient"]), routes=tuple(of(one) for one in first.routes))


def newest_but_one(contract_id: str) -> Contract:
    """The first version: what every connection begins with."""
    return next(one for one in catalogue().contracts() if one.id == contract_id)


class Builder:
    """Writes a stage into an engine. `dice` makes every secret of it."""

    def __init__(self, engine: Engine, dice: random.Random) -> None:
        self._engine = engine
        self._dice = dice
        self._root = base64.b64encode(dice.randbytes(32)).decode()
        self._vault = Vault(RootKey.from_text(self._root), dice.randbytes)
        self._audited = 0

    async def build(self, wish: Wish) -> Stage:
        houses = [await self._house(StoreId(f"s{at}"), kinds) for at, kinds in enumerate(wish.houses)]
        return Stage(self._root, tuple(houses), self._audited)

    async def _house(self, name: StoreId, kinds: tuple[str, ...]) -> House:
        store = Store(name, name, BEGIN, self._vault.new_store_key(name))
        minted = mint(TokenWish(Role.CORE, name, "core", 30), BEGIN, self._dice.randbytes)
        core = self._signing()
        sealed = self._vault.open(store).seal_core_secret(core)
        endpoint = CoreEndpoint(name, CoreMode.PUSH, f"https://{core_host(name)}/in", sealed, 1)
        await self._commit(AddStore(store), AddToken(minted.token), PutCoreEndpoint(endpoint, 0))
        sites = [await self._site(store, kind, at) for at, kind in enumerate(kinds)]
        return House(store, minted.text, core, tuple(sites))

    async def _site(self, store: Store, kind: str, at: int) -> Site:
        contract = newest_but_one(CONTRACTS[kind])
        name = ConnectionId(f"con_{base32(self._dice.randbytes(17), 26)}")
        config = check_config(contract, config_of(kind, store.id, at))
        secrets = {slot: self._secret(kind, slot) for slot in SLOTS[kind]}
        site = Site(kind, store.id, name, contract, config, secrets)
        keys = self._vault.open(store)
        writes: list[Write] = [
            AddConnection(Connection(name, store.id, contract.id, ConnectionState.ENABLED, 1, "", BEGIN)),
            AddRevision(Revision(name, store.id, 1, contract.version, config, "world", BEGIN)),
        ]
        for slot, secret in secrets.items():
            bound = hosts_of(contract, slot, config, hosts())
            sealed = keys.seal_secret(name, slot, bound, 1, secret)
            writes.append(PutCredential(Credential(store.id, name, slot, sealed, bound, 1, BEGIN), 0))
        await self._commit(*writes, *(OpenLane(lane) for lane in site.lanes()))
        return site

    def _secret(self, kind: str, slot: str) -> Secret:
        if kind in HOOKS:
            return self._signing()
        return Secret(f"canary-key-{self._dice.randbytes(12).hex()}".encode()) if slot else self._signing()

    def _signing(self) -> Secret:
        return Secret(b"whsec_" + base64.b64encode(self._dice.randbytes(24)))

    async def _commit(self, *writes: Write) -> None:
        audit = AuditEntry(BEGIN, "world", "set_up", None, "", "done", CorrelationId("stage"), {})
        await self._engine.registry.commit(Change(writes, (audit,)))
        self._audited += 1


def core_host(store: StoreId) -> str:
    return f"core-{store}.shops.example.net"


def hook_host(store: StoreId, at: int, turn: int = 0) -> str:
    """Where a store's own endpoint is; `turn` counts its moves."""
    return f"hook{at}-{turn}-{store}.shops.example.net"


def config_of(kind: str, store: StoreId, at: int) -> JsonObject:
    match kind:
        case "webhook" | "urgent" | "patient":
            return {"url": f"https://{hook_host(store, at)}/events", "sellable_only": True}
        case "acme":
            return {"seller_id": f"SELLER{store.upper()}X", "safety_stock": 0}
        case _:
            return {}
