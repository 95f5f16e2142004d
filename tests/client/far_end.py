"""A small real HTTP server that keeps events as Crossdock does: by id, once. It can be told to misbehave."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

TOKEN = "cdt_test_" + "s" * 43


@dataclass
class FarEnd:
    """`answers` are given first, one per request: a (status, headers, body), or None to cut the connection."""

    url: str = ""
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    seen_ids: list[str] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str], dict[str, Any]] | None] = field(default_factory=list)
    cut_after_keeping: int = 0
    refuse_types: set[str] = field(default_factory=set)
    inbox: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[dict[str, str]] = field(default_factory=list)
    peers: set[Any] = field(default_factory=set)
    meeting: threading.Barrier | None = None
    """When set, an answer waits until another request is there too."""

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self.guard])
        app.router.add_post("/v1/stores/{store}/events", self.events)
        app.router.add_get("/v1/stores/{store}/inbox", self.pull)
        app.router.add_post("/v1/stores/{store}/inbox/ack", self.ack)
        app.router.add_route("*", "/{rest:.*}", self.echo)
        return app

    @web.middleware
    async def guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs))
        self.peers.add(request.transport and request.transport.get_extra_info("peername"))
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return problem(401, "CD3020", "Who are you?")
        if self.answers:
            answer = self.answers.pop(0)
            if answer is None:
                return self.cut(request)
            status, headers, body = answer
            return web.json_response(body, status=status, headers=headers, content_type="application/problem+json")
        return await handler(request)

    @staticmethod
    def cut(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def events(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        events = body if isinstance(body, list) else [body]
        self.seen_ids += [event["id"] for event in events]
        bad = [index for index, event in enumerate(events) if event["type"] in self.refuse_types]
        if bad:
            pointers = [f"/{index}/data" for index in bad]
            return problem(422, "CD1022", "Not as the schema says.", pointers=pointers)
        receipts = []
        for event in events:
            duplicate = event["id"] in self.kept
            self.kept.setdefault(event["id"], event)
            if not duplicate:
                self.order.append(event["id"])
            receipts.append({"event_id": event["id"], "correlation_id": "c-1"})
        if self.cut_after_keeping:
            self.cut_after_keeping -= 1
            return self.cut(request)
        return web.json_response({"events": receipts} if isinstance(body, list) else receipts[0], status=202)

    async def pull(self, request: web.Request) -> web.StreamResponse:
        limit = int(request.query.get("limit", "100"))
        return web.json_response({"items": self.inbox[:limit]})

    async def ack(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        gone = set(body["acked"]) | {item["handle"] for item in body["rejected"]}
        self.rejected += body["rejected"]
        self.inbox = [item for item in self.inbox if item["handle"] not in gone]
        return web.json_response({"acked": len(body["acked"]), "rejected": len(body["rejected"])})

    async def echo(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        if self.meeting is not None:
            await asyncio.to_thread(self.meeting.wait, 10)
        return web.json_response(
            {"method": request.method, "path": request.path_qs, "body": json.loads(raw) if raw else None}
        )


def problem(status: int, code: str, title: str, **more: Any) -> web.Response:
    return web.json_response(
        {"status": status, "code": code, "title": title, **more},
        status=status,
        content_type="application/problem+json",
    )


def arrival(number: int, kind: str = "order.received") -> dict[str, Any]:
    event = {"specversion": "1.0", "id": f"e{number}", "source": "/x", "type": kind, "data": {"number": number}}
    return {"handle": f"h{number}", "event": event, "connection": "con_1", "route": "orders", "attempt": 1}


@contextmanager
def served(port: int = 0) -> Iterator[FarEnd]:
    """The far end on a thread of its own, so that the sync client may block."""
    far_end = FarEnd()
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(far_end.app(), access_log=None, shutdown_timeout=0.1)

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        assert site._server is not None
        bound = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        far_end.url = f"http://127.0.0.1:{bound}"

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield far_end
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
