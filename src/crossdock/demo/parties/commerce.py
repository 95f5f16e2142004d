"""A small commerce core of two stores: it sells, writes each event in the transaction of the sale, relays them later,
and takes what comes in for its stores: by pull for one, by signed push for the other."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from functools import partial
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from crossdock.client import Crossdock, InboxEvent, Problem, Unreachable
from crossdock.client.outbox import Outbox
from crossdock.demo.parties.party import options, until_told, with_record

TABLES = """
CREATE TABLE IF NOT EXISTS sale (store TEXT NOT NULL, id TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY (store, id));
CREATE TABLE IF NOT EXISTS product (store TEXT NOT NULL, sku TEXT NOT NULL, revision INTEGER NOT NULL,
  PRIMARY KEY (store, sku));
"""


class Commerce:
    def __init__(self, database: str, url: str, token: str, push_secret: str) -> None:
        self._database = database
        self._client = Crossdock(url, token, source="/core")
        self._outbox = Outbox(self._connect)
        self._verifier = Webhook(push_secret)
        self.orders_in: dict[str, dict[str, Any]] = {}
        self.repeated = 0
        self.invalid = 0
        self.trouble: dict[str, int] = {}
        self._stop = threading.Event()
        with self._connect() as connection:
            connection.executescript(TABLES)
        self._outbox.create_table()

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._database, timeout=30)

    def sell(self, store: str, order: dict[str, Any]) -> None:
        """The order and its event, in one transaction."""
        connection = self._connect()
        with connection:
            connection.execute("INSERT INTO sale VALUES (?, ?, ?)", (store, order["order_id"], json.dumps(order)))
            self._outbox.add(connection, store, {"type": "order.placed", "data": order})
        connection.close()

    def change(self, store: str, product: dict[str, Any]) -> None:
        connection = self._connect()
        with connection:
            row = (store, product["sku"], product["revision"])
            connection.execute("INSERT OR REPLACE INTO product VALUES (?, ?, ?)", row)
            self._outbox.add(connection, store, {"type": "product.changed", "data": product})
        connection.close()

    async def work(self, request: web.Request) -> web.Response:
        job = await request.json()
        await asyncio.to_thread(self._work, job)
        return web.json_response({"done": True})

    def _work(self, job: dict[str, Any]) -> None:
        for product in job.get("products", []):
            self.change(job["store"], product)
        for order in job.get("orders", []):
            self.sell(job["store"], order)

    async def push(self, request: web.Request) -> web.Response:
        body = await request.text()
        try:
            event: Any = self._verifier.verify(body, dict(request.headers))
        except WebhookVerificationError:
            self.invalid += 1
            return web.Response(status=401)
        self._keep(request.match_info["store"], event["id"], event["data"])
        return web.Response(status=204)

    def _keep(self, store: str, name: str, data: Any) -> None:
        mine = self.orders_in.setdefault(store, {})
        self.repeated += name in mine
        mine[name] = data

    def relay(self) -> None:
        self._outbox.run(self._client, stop=self._stop.is_set, sleep=self._stop.wait, idle_seconds=0.05, name="core")

    def pull(self, store: str) -> None:
        def handle(item: InboxEvent) -> None:
            self._keep(store, item.id, item.data)

        while not self._stop.is_set():
            try:
                self._client.consume(store, handle, wait_seconds=1, stop=self._stop.is_set)
            except (Problem, Unreachable) as error:
                self.trouble[str(error)] = self.trouble.get(str(error), 0) + 1
                self._stop.wait(0.2)

    async def around(self, stores: list[str]) -> None:
        threads = [threading.Thread(target=self.relay)]
        threads += [threading.Thread(target=partial(self.pull, store)) for store in stores]
        for thread in threads:
            thread.start()
        try:
            await asyncio.Event().wait()
        finally:
            self._stop.set()
            for thread in threads:
                await asyncio.to_thread(thread.join)

    def record(self) -> dict[str, Any]:
        backlog = self._outbox.backlog()
        aside = self._outbox.set_aside()
        return {
            "orders_in": self.orders_in,
            "repeated": self.repeated,
            "invalid": self.invalid,
            "outbox": backlog.waiting,
            "set_aside": [f"{one.code} {one.why}" for one in aside],
            "trouble": self.trouble,
        }


def main() -> None:
    given = options(
        __doc__ or "",
        database="its own SQLite file",
        url="where Crossdock listens",
        token_file="a file with the core's token",
        push_secret="the whsec_ secret of pushes",
        pull="comma-separated stores whose inbox it pulls",
    )
    with open(given.token_file, encoding="utf-8") as file:
        token = file.read().strip()
    commerce = Commerce(given.database, given.url, token, given.push_secret)
    application = web.Application(client_max_size=64 * 1024 * 1024)
    application.router.add_post("/sales", commerce.work)
    application.router.add_post("/crossdock/{store}", commerce.push)
    stores = [store for store in given.pull.split(",") if store]
    asyncio.run(until_told(given.port, with_record(application, commerce.record), partial(commerce.around, stores)))


if __name__ == "__main__":
    main()
