"""A sender of order webhooks, told at `POST /send` what to send where. It signs as Shopify does, or with a plain HMAC
and a timestamp, retries what was not taken, sends some twice, and forges some."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from typing import Any

import aiohttp
from aiohttp import web

from crossdock.demo.parties.party import options, serve, with_record

TRIES_MAX = 20


def shopify_headers(body: bytes, secret: str, name: str) -> dict[str, str]:
    """https://shopify.dev/docs/apps/build/webhooks/subscribe/https: base64 of HMAC-SHA256 over the raw body."""
    digest = hmac.digest(secret.encode(), body, hashlib.sha256)
    return {
        "X-Shopify-Hmac-SHA256": base64.b64encode(digest).decode(),
        "X-Shopify-Topic": "orders/create",
        "X-Shopify-Shop-Domain": "north.myshopify.example",
        "X-Shopify-Webhook-Id": name,
    }


def plain_headers(body: bytes, secret: str, name: str) -> dict[str, str]:
    moment = str(int(time.time()))
    digest = hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"X-Signature": digest, "X-Timestamp": moment, "X-Delivery-Id": name}


SIGNERS = {"shopify": shopify_headers, "plain": plain_headers}


class Sender:
    def __init__(self) -> None:
        self.statuses: dict[str, int] = {}
        self.answers: dict[str, str] = {}
        self.unlike = 0
        self.forged: dict[str, int] = {}

    async def send(self, request: web.Request) -> web.Response:
        job = await request.json()
        async with aiohttp.ClientSession() as session:
            for order in job["orders"]:
                await self._one(session, job, order)
        return web.json_response({"sent": len(job["orders"])})

    async def _one(self, session: aiohttp.ClientSession, job: dict[str, Any], order: dict[str, Any]) -> None:
        body = json.dumps(order["payload"]).encode()
        sign = SIGNERS[job["style"]]
        for _ in range(TRIES_MAX):
            status, text = await self._post(session, job["url"], body, sign(body, job["secret"], order["name"]))
            if status < 500 and status != 429:
                break
            await asyncio.sleep(0.2)
        self.unlike += self.answers.setdefault(order["name"], text) != text
        if order.get("forge"):
            forged = body.replace(b"1", b"2", 1)
            status, _ = await self._post(session, job["url"], forged, sign(body, job["secret"], order["name"] + "x"))
            self.forged[str(status)] = self.forged.get(str(status), 0) + 1

    async def _post(
        self, session: aiohttp.ClientSession, url: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, str]:
        try:
            async with session.post(url, data=body, headers={**headers, "Content-Type": "application/json"}) as answer:
                status, text = answer.status, await answer.text()
        except aiohttp.ClientError:
            return 599, ""
        self.statuses[str(status)] = self.statuses.get(str(status), 0) + 1
        return status, text

    def record(self) -> dict[str, Any]:
        return {"statuses": self.statuses, "unlike_answers": self.unlike, "forged": self.forged}


def main() -> None:
    given = options(__doc__ or "")
    sender = Sender()
    application = web.Application(client_max_size=64 * 1024 * 1024)
    application.router.add_post("/send", sender.send)
    serve(given.port, with_record(application, sender.record))


if __name__ == "__main__":
    main()
