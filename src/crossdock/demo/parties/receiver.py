"""A webhook receiver that verifies with the independent `standardwebhooks` package and drops an id it has seen."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from crossdock.demo.parties.party import options, serve, with_record


class Receiver:
    def __init__(self, secret: str) -> None:
        self._verifier = Webhook(secret)
        self.bodies: dict[str, str] = {}
        self.subjects: dict[str, str] = {}
        self.delays_ms: list[float] = []
        self.invalid = 0
        self.repeated = 0
        self.differing = 0

    async def take(self, request: web.Request) -> web.Response:
        body = await request.text()
        try:
            event: Any = self._verifier.verify(body, dict(request.headers))
        except WebhookVerificationError:
            self.invalid += 1
            return web.Response(status=401)
        name = request.headers["webhook-id"]
        if name in self.bodies:
            self.repeated += 1
            self.differing += self.bodies[name] != body
            return web.Response(status=204)
        self.bodies[name] = body
        data = event["data"]
        self.subjects[name] = data.get("order_id") or f"{data.get('sku')} {data.get('revision')}"
        sent = datetime.fromisoformat(event["time"]).timestamp()
        self.delays_ms.append((time.time() - sent) * 1000)
        return web.Response(status=204)

    def record(self) -> dict[str, Any]:
        return {
            "subjects": self.subjects,
            "delays_ms": self.delays_ms,
            "invalid": self.invalid,
            "repeated": self.repeated,
            "same_id_other_body": self.differing,
            "bodies": self.bodies,
        }


def main() -> None:
    given = options(__doc__ or "", secret="the whsec_ secret")
    receiver = Receiver(given.secret)
    application = web.Application()
    application.router.add_post("/hook", receiver.take)
    serve(given.port, with_record(application, receiver.record))


if __name__ == "__main__":
    main()
