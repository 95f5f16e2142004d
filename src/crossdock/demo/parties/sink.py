"""An analytics sink: takes a list of facts in one request and answers for each one; one in forty is told to come
again later."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from crossdock.demo.parties.party import options, serve, with_record

LATER_EVERY = 40


class Sink:
    def __init__(self, key: str) -> None:
        self._key = key
        self.facts: dict[str, Any] = {}
        self.requests = 0
        self.repeated = 0
        self._seen = 0

    async def take(self, request: web.Request) -> web.Response:
        if not self._known(request):
            return web.json_response({"error": "unauthorised"}, status=401)
        self.requests += 1
        document = await request.json()
        results = [self._one(item) for item in document["items"]]
        return web.json_response({"results": results})

    async def ping(self, request: web.Request) -> web.Response:
        return web.json_response({}, status=200 if self._known(request) else 401)

    def _known(self, request: web.Request) -> bool:
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return self._key in (bearer, request.headers.get("X-Api-Key"))

    def _one(self, item: dict[str, Any]) -> dict[str, Any]:
        self._seen += 1
        if self._seen % LATER_EVERY == 0:
            return {"event_id": item["event_id"], "status": 503}
        if item["event_id"] in self.facts:
            self.repeated += 1
        self.facts[item["event_id"]] = item
        return {"event_id": item["event_id"], "status": 200}

    def record(self) -> dict[str, Any]:
        return {"facts": self.facts, "requests": self.requests, "repeated": self.repeated}


def main() -> None:
    given = options(__doc__ or "", key="the key that it accepts")
    sink = Sink(given.key)
    application = web.Application(client_max_size=16 * 1024 * 1024)
    application.router.add_post("/v1/batches", sink.take)
    application.router.add_get("/v1/ping", sink.ping)
    serve(given.port, with_record(application, sink.record))


if __name__ == "__main__":
    main()
