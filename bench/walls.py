"""Promise 6: one store's token, and every operation of the API's own document, tried against another store.

The other store's data carries a canary in every text. No answer may hold it, and none may succeed."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Iterator
from typing import Any

from bench.result import Result, below
from bench.stage import SECRET, STORE, Stage, connect, stage
from crossdock.client import Crossdock
from crossdock.demo.processes import get

CANARY = "canary-of-the-south"
SOUTH = "south"
CONCURRENT = 16
TRICKS = ("{}", "{}%20", "%2e%2e/{}", "{}%2f..%2f{}", "{}%00", "{}?store=" + SOUTH, "{};", "./{}")
"""How the other's id is written: as it is, and in forms that a lax reader might take for it, or for mine."""


def row_6(engine: str, asks: int, saboteur: str) -> Result:
    """No store can observe another."""
    with stage(engine, saboteur=saboteur) as one:
        theirs = furnish(one)
        mine = connect(one, "orders.generic", {}, {"signing_secret": SECRET})
        token = one.client.create_token("store_admin", store=STORE)["token"]
        document = get(one.port, "/openapi.json")
        requests = asked(one, document, token, {**theirs, "mine": mine}, asks)
        statuses, leaks, passed = asyncio.run(ask(one.port, requests))
    text = (
        f"{sum(statuses.values()):,} requests of one store's token at {len(document['paths'])} paths of another,"
        f" {leaks} answers with the other's data{below(leaks, asks)}, {passed} that succeeded; answered {statuses}"
    )
    return Result(not leaks and not passed and max(statuses) < 500, text)


def furnish(one: Stage) -> dict[str, str]:
    """The other store, with a canary wherever text is taken; the ids that stand for its things."""
    client: Crossdock = one.client
    client.create_store(SOUTH, CANARY)
    connection = str(client.connect(SOUTH, "orders.generic", label=CANARY)["id"])
    client.set_credential(SOUTH, connection, "signing_secret", f"{CANARY}-{SECRET}")
    client.validate(SOUTH, connection)
    client.enable(SOUTH, connection)
    foreign = client.create_token("store_viewer", store=SOUTH, label=CANARY)
    event = {"id": f"{CANARY}-event", "type": "product.changed", "data": {"sku": CANARY, "revision": 1}}
    one.core.publish(SOUTH, [event])
    return {
        "store": SOUTH,
        "connection": connection,
        "route": "order-in",
        "name": "signing_secret",
        "token": str(foreign["id"]),
        "event_id": event["id"],  # type: ignore[dict-item]
        "integration": "orders.generic",
    }


def asked(one: Stage, document: Any, token: str, ids: dict[str, str], count: int) -> Iterator[bytes]:
    """Requests at random: an operation, the other store's ids in it, some of them written oddly, mine between them."""
    dice = random.Random(6)
    operations = [
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method in methods
        if "{" in path and not path.startswith("/in/") and re.findall(r"{(\w+)}", path) != ["integration"]
    ]
    for _ in range(count):
        method, path = dice.choice(operations)
        values = dict(ids)
        if dice.random() < 0.3 and path.count("{") > 1:
            values["store"] = STORE
        elif dice.random() < 0.3:
            values["connection"] = ids["mine"]
        name = dice.choice(re.findall(r"{(\w+)}", path))
        if dice.random() < 0.3:
            trick = dice.choice(TRICKS)
            values[name] = trick.replace("{}", values[name])
        filled = path
        for key, value in values.items():
            filled = filled.replace("{" + key + "}", value)
        body = b"" if method in {"GET", "DELETE"} else json.dumps({"config": {}, "value": SECRET, "number": 1}).encode()
        head = f"{method} {filled} HTTP/1.1\r\nhost: 127.0.0.1:{one.port}\r\nauthorization: Bearer {token}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        yield head.encode() + body


async def ask(port: int, requests: Iterator[bytes]) -> tuple[dict[int, int], int, int]:
    """Answers by status, how many held the canary, and how many of those that name only the other store succeeded."""
    statuses: dict[int, int] = {}
    leaks = passed = 0

    async def one_after_another() -> None:
        nonlocal leaks, passed
        for request in requests:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(request.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1))
                answer = await reader.read()
            finally:
                writer.close()
            status = int(answer[9:12] or 0)
            statuses[status] = statuses.get(status, 0) + 1
            path = request.split(b" ", 2)[1]
            leaks += CANARY.encode() in answer.replace(path, b"").replace(f"{CANARY}-event".encode(), b"")
            passed += 200 <= status < 300 and path.startswith(f"/v1/stores/{SOUTH}/".encode())

    await asyncio.gather(*(one_after_another() for _ in range(CONCURRENT)))
    return dict(sorted(statuses.items())), leaks, passed
