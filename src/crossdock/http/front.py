"""What a machine asks of the process: /healthz, /readyz, /metrics. Everything else goes to what stands behind, and what
another role serves is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

import msgspec

from crossdock.http.problems import answer_of
from crossdock.journal.port import Lanes
from crossdock.model.errors import CrossdockError, NotFound
from crossdock.observe.health import Health
from crossdock.observe.metrics import Metrics

Scope: TypeAlias = "MutableMapping[str, Any]"
Message: TypeAlias = "MutableMapping[str, Any]"
Receive: TypeAlias = "Callable[[], Awaitable[Message]]"
Send: TypeAlias = "Callable[[Message], Awaitable[None]]"
Application: TypeAlias = "Callable[[Scope, Receive, Send], Awaitable[None]]"

JSON = b"application/json"
METRICS = b"text/plain; version=0.0.4; charset=utf-8"


class Front:
    """ASGI."""

    def __init__(self, health: Health, metrics: Metrics, lanes: Lanes, otherwise: Application) -> None:
        self._health = health
        self._metrics = metrics
        self._lanes = lanes
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answers = {"/healthz": self._alive, "/readyz": self._ready, "/metrics": self._scraped}
        found = answers.get(scope["path"]) if scope["type"] == "http" and scope["method"] in {"GET", "HEAD"} else None
        if found is None:
            await self._otherwise(scope, receive, send)
            return
        status, kind, body = await found()
        headers = [
            (b"content-type", kind),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _alive(self) -> tuple[int, bytes, bytes]:
        alive = self._health.alive()
        return 200 if alive else 503, JSON, b'{"alive":true}' if alive else b'{"alive":false}'

    async def _ready(self) -> tuple[int, bytes, bytes]:
        checks = await self._health.ready()
        ready = all(check.ok for check in checks)
        shown = [{"name": check.name, "ok": check.ok, "why": check.why} for check in checks]
        return 200 if ready else 503, JSON, msgspec.json.encode({"ready": ready, "checks": shown})

    async def _scraped(self) -> tuple[int, bytes, bytes]:
        try:
            return 200, METRICS, await self._metrics.scrape(self._lanes)
        except CrossdockError as error:
            return 503, METRICS, f"# {error.code}\n".encode()


class Elsewhere:
    """ASGI. What does not proceed gets 404 (CD1040): it is for a process of another role."""

    def __init__(self, role: str, proceeds: Callable[[Scope], bool], otherwise: Application | None = None) -> None:
        self._proceeds = proceeds
        self._otherwise = otherwise
        self._answer = answer_of(
            NotFound(
                "CD1040",
                f"This process has the role {role}, which does not serve this path.",
                remedy="Send it to a process of the role that does: see docs/guides/scaling.md.",
            )
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._otherwise is not None and self._proceeds(scope):
            await self._otherwise(scope, receive, send)
        elif scope["type"] == "http":
            answer = self._answer
            await send({"type": "http.response.start", "status": answer.status, "headers": list(answer.headers)})
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})
