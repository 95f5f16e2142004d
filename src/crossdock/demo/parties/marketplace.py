"""A marketplace: `PUT /v3/items/{sku}` with a bearer key. Every ninth call is told 429 with Retry-After, every
thirteenth fails with 500 after it was taken, as real ones do."""

from __future__ import annotations

import json
import time
from typing import Any

from aiohttp import web

from crossdock.demo.parties.party import options, serve, with_record

BUSY_EVERY = 9
BROKEN_EVERY = 13


class Marketplace:
    def __init__(self, key: str) -> None:
        self._key = key
        self.items: dict[str, Any] = {}
        self.bodies: dict[str, str] = {}
        self.calls = 0
        self.answers: dict[str, int] = {}
        self.too_early = 0
        self.differing = 0
        self._quiet_until = 0.0

    async def put(self, request: web.Request) -> web.Response:
        self.calls += 1
        if request.headers.get("Authorization") != f"Bearer {self._key}":
            return self._answer(401)
        if self.calls % BUSY_EVERY == 0:
            self._quiet_until = time.monotonic() + 1
            return self._answer(429, {"Retry-After": "1"})
        text = await request.text()
        key = request.headers.get("Idempotency-Key", "")
        if not key:
            return self._answer(400)
        if self.bodies.setdefault(key, text) != text:
            self.differing += 1
            return self._answer(409)
        self.items[request.match_info["sku"]] = json.loads(text)
        return self._answer(500 if self.calls % BROKEN_EVERY == 0 else 200)

    async def inventory(self, request: web.Request) -> web.Response:
        """What the contract's check calls: it proves the key and changes nothing."""
        known = request.headers.get("Authorization") == f"Bearer {self._key}"
        return web.json_response({"items": len(self.items)}, status=200 if known else 401)

    def _answer(self, status: int, headers: dict[str, str] | None = None) -> web.Response:
        self.answers[str(status)] = self.answers.get(str(status), 0) + 1
        return web.json_response({"status": status}, status=status, headers=headers)

    def record(self) -> dict[str, Any]:
        return {
            "items": self.items,
            "calls": self.calls,
            "answers": self.answers,
            "keys": len(self.bodies),
            "same_key_other_body": self.differing,
        }


def main() -> None:
    given = options(__doc__ or "", key="the bearer key that it accepts")
    market = Marketplace(given.key)
    application = web.Application()
    application.router.add_put("/v3/items/{sku}", market.put)
    application.router.add_get("/v3/inventory", market.inventory)
    serve(given.port, with_record(application, market.record))


if __name__ == "__main__":
    main()
