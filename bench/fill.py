"""Many stores at once, for the curves: rows sealed with the installation's own root key and brought in by COPY, as if
each had been made through the API. And a journal that is old already: millions of entries that the server makes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from bench.server import Server
from crossdock.credentials.root import RootKey
from crossdock.credentials.secret import Secret
from crossdock.credentials.vault import Vault
from crossdock.demo.conductor import webhook_secret
from crossdock.journal.slots import slot_of
from crossdock.model.connection import Store
from crossdock.model.ids import ConnectionId, Instant, StoreId, base32

TILL, HOOK = "orders.generic", "webhook.custom"
COPIED = {
    "stores": "store_id, name, created_at, sealed_key",
    "journals": "store_id, head",
    "connections": "store_id, connection_id, contract, state, revision, label, created_at, reason, version",
    "revisions": "store_id, connection_id, number, contract_version, config, author, at",
    "credentials": "store_id, connection_id, name, sealed, hosts, version, at",
    "lanes": "store_id, connection_id, route, slot, start, cursor, open",
}


@dataclass(frozen=True, slots=True)
class Filled:
    """A store with a till (orders come in) and a hook (sales and products go out to the receiver): three lanes."""

    store: StoreId
    till: ConnectionId
    hook: ConnectionId


@dataclass(frozen=True, slots=True)
class Wiring:
    """What the rows are made for: where the root key lies, and what the two connections are given."""

    data: Path
    receiver: int
    secret: str


def stores(server: Server, wiring: Wiring, count: int) -> list[Filled]:
    """So many more stores."""
    vault = Vault(RootKey.from_file(wiring.data / "root.key"), os.urandom)
    made: list[Filled] = []
    rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in COPIED}
    for _ in range(count):
        one = Filled(StoreId(f"s-{os.urandom(8).hex()}"), new_connection(), new_connection())
        made.append(one)
        for table, row in rows_of(vault, wiring, one):
            rows[table].append(row)
    with psycopg.connect(server.admin_of_crossdock) as connection:
        for table, columns in COPIED.items():
            with connection.cursor().copy(f"COPY crossdock.{table} ({columns}) FROM STDIN") as copy:  # type: ignore[arg-type]
                for row in rows[table]:
                    copy.write_row(row)
    return made


def new_connection() -> ConnectionId:
    return ConnectionId("con_" + base32(os.urandom(17), 26))


def rows_of(vault: Vault, wiring: Wiring, one: Filled) -> Iterator[tuple[str, tuple[Any, ...]]]:
    now = int(time.time() * 1000)
    sealed_key = vault.new_store_key(one.store)
    keys = vault.open(Store(one.store, one.store, Instant(now), sealed_key))
    vault.forget(one.store)
    yield "stores", (one.store, one.store, now, sealed_key)
    yield "journals", (one.store, 0)
    url = f"http://127.0.0.1:{wiring.receiver}/hook"
    host = f"127.0.0.1:{wiring.receiver}"
    ends: Sequence[tuple[ConnectionId, str, dict[str, str], str, tuple[str, ...], tuple[str, ...]]] = (
        (one.till, TILL, {}, wiring.secret, (), ("order-in",)),
        (one.hook, HOOK, {"url": url}, webhook_secret(), (host,), ("order-placed", "product-changed")),
    )
    for name, contract, config, secret, hosts, routes in ends:
        yield "connections", (one.store, name, contract, "enabled", 1, "", now, "", 1)
        yield "revisions", (one.store, name, 1, "99.0.0", json.dumps(config), "bench", now)
        sealed = keys.seal_secret(name, "signing_secret", hosts, 1, Secret(secret.encode()))
        yield "credentials", (one.store, name, "signing_secret", sealed, json.dumps(list(hosts)), 1, now)
        for route in routes:
            yield "lanes", (one.store, name, route, slot_of(one.store, name), 0, 0, True)


OLD_ENTRIES = """
INSERT INTO crossdock.entries (
    store_id, position, origin, dedupe_key, fingerprint, event_id, type, schema_major, source, occurred_at,
    received_at, correlation_id, body, hops
)
SELECT s.store_id, j.head + n, 'core', md5(s.store_id || n), decode(md5(n::text) || md5(s.store_id || n), 'hex'),
    'e' || md5(n::text || s.store_id), 'order.placed', 1, '/bench', 1,
    1, 'c' || n, decode(repeat(md5(n::text), 25), 'hex'), 0
FROM unnest(%s::text[]) AS s (store_id) JOIN crossdock.journals AS j USING (store_id), generate_series(1, %s) AS n
"""


def age(server: Server, ids: Sequence[StoreId], entries: int) -> float:
    """So many entries, spread over the stores, all of them delivered long ago; the seconds that it took."""
    each = entries // len(ids)
    started = time.monotonic()
    with psycopg.connect(server.admin_of_crossdock, autocommit=True) as connection:
        portion = max(1, 200_000 // each)
        for at in range(0, len(ids), portion):
            some = list(ids[at : at + portion])
            with connection.transaction():
                connection.execute("SET LOCAL synchronous_commit = off")
                connection.execute(OLD_ENTRIES, (some, each))
                connection.execute(
                    "UPDATE crossdock.journals SET head = head + %s WHERE store_id = ANY (%s)", (each, some)
                )
                connection.execute(
                    "UPDATE crossdock.lanes AS l SET cursor = j.head, filtered = l.filtered + %s"
                    " FROM crossdock.journals AS j WHERE j.store_id = l.store_id AND l.store_id = ANY (%s)",
                    (each, some),
                )
        connection.execute("CHECKPOINT")
        connection.execute("VACUUM ANALYZE")
    return time.monotonic() - started
