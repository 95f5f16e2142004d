"""A store with its doors on the in-memory engine: real vault, real catalogue, real directory, a clock that is set."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from crossdock.contracts.catalogue import Catalogue
from crossdock.credentials.root import RootKey
from crossdock.credentials.secret import Secret
from crossdock.credentials.vault import Vault
from crossdock.engines.memory.engine import MemoryEngine
from crossdock.http.ingest import Edge, IngestApp
from crossdock.http.proxies import Proxies
from crossdock.ingest.accept import Acceptor, Parts
from crossdock.ingest.quotas import Rates
from crossdock.journal.port import Journal
from crossdock.model.connection import (
    AuditEntry,
    Connection,
    ConnectionState,
    Credential,
    Principal,
    Revision,
    Role,
    Store,
)
from crossdock.model.contract import Environment, Verify
from crossdock.model.errors import NotFound, Unauthenticated
from crossdock.model.ids import ConnectionId, ContractId, CorrelationId, Instant, JsonObject, LaneId, StoreId, base32
from crossdock.observe.lines import LINES, Lines, Value
from crossdock.signing import SCHEMES
from crossdock.stores.directory import Directory
from crossdock.stores.port import AddConnection, AddRevision, AddStore, Change, OpenLane, PutCredential, Write
from crossdock.stores.targets import Hosts

NOW = Instant(1_790_000_000_000)
STORE = StoreId("north")
CATALOGUE = Catalogue.shipped()
TOKEN = b"Bearer good"
ORDER = {
    "order_id": "1001",
    "revision": 1,
    "placed_at": "2026-05-01T10:00:00Z",
    "status": "paid",
    "total": {"amount": 12.5, "currency": "EUR"},
    "lines": [{"sku": "A-1", "qty": 2, "title": "Socks", "unit_price": 6.25}],
    "buyer": {"email": "Ada@Example.org"},
    "ship_to": {"name": "Ada", "address": "1 Way", "city": "Bergen", "zip": "5003", "country": "NO"},
}
PRODUCT = {"sku": "A-1", "revision": 7, "title": "Socks"}


@dataclass
class Answer:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: bytes) -> bytes | None:
        return dict(self.headers).get(name)


class OneToken:
    """The core's pass: one good token, for one store."""

    async def authorise(self, authorization_header: bytes | None, store: str) -> Principal:
        if authorization_header != TOKEN:
            raise Unauthenticated("CD3020", "A valid token is needed.")
        if store != STORE:
            raise NotFound("CD3004", "There is nothing here.")
        return Principal("core", Role.CORE, STORE)


@dataclass
class World:
    engine: MemoryEngine
    vault: Vault
    directory: Directory
    app: IngestApp
    secrets: dict[ConnectionId, Secret]
    written: list[tuple[str, dict[str, Value]]] = field(default_factory=list)
    now: Instant = NOW

    async def post(
        self,
        path: str,
        body: bytes = b"",
        headers: Sequence[tuple[bytes, bytes]] = (),
        *,
        method: str = "POST",
        address: str = "203.0.113.9",
        chunks: Sequence[bytes] | None = None,
    ) -> Answer:
        queue = list(chunks if chunks is not None else [body])
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if not queue:
                return {"type": "http.disconnect"}
            chunk = queue.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(queue)}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": list(headers),
            "client": (address, 1234),
        }
        await self.app(scope, receive, send)
        if not sent:
            return Answer(0, [], b"")
        return Answer(sent[0]["status"], sent[0]["headers"], b"".join(one["body"] for one in sent[1:]))

    async def order(self, connection: ConnectionId, order: Any, **named: Any) -> Answer:
        """A generic signed order, as its sender would post it."""
        body = order if isinstance(order, bytes) else json.dumps(order).encode()
        return await self.post(f"/in/{connection}", body, self.signed(connection, body), **named)

    def signed(self, connection: ConnectionId, body: bytes, secret: Secret | None = None) -> list[tuple[bytes, bytes]]:
        key = secret or self.secrets[connection]
        knobs = {
            "header": "X-Signature",
            "timestamp_header": "X-Timestamp",
            "timestamp_unit": "s",
            "template": "{timestamp}.{raw}",
            "encoding": "hex",
            "prefix": "",
        }
        headers = SCHEMES[Verify.GENERIC_HMAC].sign(body, key, "m", self.now, knobs)
        return _raw({**headers, "content-type": "application/json"})

    def shopify(self, connection: ConnectionId, body: bytes, **more: str) -> list[tuple[bytes, bytes]]:
        headers = SCHEMES[Verify.SHOPIFY].sign(body, self.secrets[connection], "hook-1", self.now, {})
        named = {"X-Shopify-Topic": "orders/create", "X-Shopify-Webhook-Id": "hook-1", **headers}
        named |= {name.replace("_", "-"): value for name, value in more.items()}
        return _raw({**named, "content-type": "application/json"})

    async def publish(self, *events: Any, media: str = "application/cloudevents+json", **named: Any) -> Answer:
        batch = media == "application/cloudevents-batch+json"
        body = json.dumps(list(events) if batch else events[0]).encode()
        headers = [(b"authorization", TOKEN), (b"content-type", media.encode())]
        return await self.post(f"/v1/stores/{STORE}/events", body, headers, **named)


def _raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def event(**changes: Any) -> dict[str, Any]:
    whole = {
        "specversion": "1.0",
        "id": "e-1",
        "source": "/core",
        "type": "product.changed",
        "time": "2026-05-01T10:00:00Z",
        "data": PRODUCT,
    }
    return {name: value for name, value in {**whole, **changes}.items() if value is not None}


async def build(
    rates: Rates | None = None,
    journal_of: Any = None,
    states: dict[str, ConnectionState] | None = None,
    proxies: Sequence[str] = (),
) -> tuple[World, dict[str, ConnectionId]]:
    """The world with one connection per inbound contract, by contract id. `journal_of` wraps the journal."""
    holder: dict[str, World] = {}

    def clock() -> Instant:
        return holder["world"].now if holder else NOW

    engine = MemoryEngine(clock)
    vault = Vault(RootKey.from_text(base64.b64encode(os.urandom(32)).decode()), os.urandom)
    store = Store(STORE, "North", NOW, vault.new_store_key(STORE))
    keys = vault.open(store)
    writes: list[Write] = [AddStore(store)]
    made: dict[str, ConnectionId] = {}
    secrets: dict[ConnectionId, Secret] = {}
    for contract_id, slot in (("orders.generic", "signing_secret"), ("orders.shopify", "client_secret")):
        contract = CATALOGUE.get(contract_id)
        assert contract is not None
        name = ConnectionId("con_" + base32(os.urandom(17), 26))
        made[contract_id], secrets[name] = name, Secret(os.urandom(16).hex().encode())
        state = (states or {}).get(contract_id, ConnectionState.ENABLED)
        row = Connection(name, STORE, ContractId(contract_id), state, 1, "", NOW)
        sealed = keys.seal_secret(name, slot, (), 1, secrets[name])
        config: JsonObject = {}
        writes += [
            AddConnection(row),
            AddRevision(Revision(name, STORE, 1, contract.version, config, "test", NOW)),
            PutCredential(Credential(STORE, name, slot, sealed, (), 1, NOW), 0),
            OpenLane(LaneId(STORE, name, contract.routes[0].name)),
        ]
    audit = AuditEntry(NOW, "test", "set_up", STORE, "store", "done", CorrelationId("c"), {})
    for write in writes:
        await engine.registry.commit(Change((write,), (audit,)))
    directory = Directory(engine.registry, CATALOGUE, vault, Hosts(Environment.LOCAL), clock)
    journal: Journal = journal_of(engine.journal) if journal_of else engine.journal
    parts = Parts(journal, engine.lanes, directory, directory.keys, CATALOGUE, OneToken(), clock)
    written: list[tuple[str, dict[str, Value]]] = []

    def sink(name: str, fields: dict[str, Value]) -> None:
        assert set(fields) <= LINES[name]
        written.append((name, fields))

    async def elsewhere(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    edge = Edge("https://cross.example", os.urandom, clock, Lines(sink), Proxies(proxies))
    app = IngestApp(Acceptor(parts, rates), edge, elsewhere)
    holder["world"] = World(engine, vault, directory, app, secrets, written)
    return holder["world"], made
