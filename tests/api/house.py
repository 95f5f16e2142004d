"""A whole installation on a real port, in a thread, and a plain way to call it."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crossdock.model.connection import Role
from crossdock.serve import run
from crossdock.settings import Settings, read_settings
from crossdock.stores.tokens import TokenWish
from crossdock.wiring import issue_token

NORTH, SOUTH = "north", "south"
START_SECONDS_MAX = 30


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)


@dataclass
class House:
    port: int
    token: str
    tokens: dict[tuple[str, str], str] = field(default_factory=dict)

    def call(
        self, method: str, path: str, body: Any = None, token: str | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = {"authorization": f"Bearer {self.token if token is None else token}", **(headers or {})}
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        if raw is not None:
            sent.setdefault("content-type", "application/json")
        try:
            line.request(method, path, raw, sent)
            answer = line.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            line.close()

    def ok(self, method: str, path: str, body: Any = None, token: str | None = None) -> Any:
        answer = self.call(method, path, body, token)
        assert 200 <= answer.status < 300, answer.raw
        return answer.json if answer.raw else None

    def token_of(self, role: str, store: str | None) -> str:
        known = self.tokens.get((role, store or ""))
        if known is None:
            made = self.ok("POST", "/v1/tokens", {"role": role, "store": store})
            known = self.tokens[role, store or ""] = made["token"]
        return known


def settings_in(directory: Path, **given: object) -> Settings:
    return read_settings(data_dir=directory, port=0, environment="local", **given)


@contextmanager
def house_in(settings: Settings) -> Iterator[House]:
    minted = asyncio.run(issue_token(settings, TokenWish(Role.PLATFORM_ADMIN, None, "tests", 1)))
    said: list[str] = []
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    def say(text: str) -> None:
        said.append(text)
        ready.set()

    failed: list[BaseException] = []

    def live() -> None:
        try:
            loop.run_until_complete(run(settings, say, stop))
        except BaseException as error:  # noqa: BLE001  # it is raised in the test's own thread
            failed.append(error)
            ready.set()
        finally:
            loop.close()

    thread = threading.Thread(target=live)
    thread.start()
    assert ready.wait(START_SECONDS_MAX)
    if failed:
        raise failed[0]
    port = int(said[0].split("127.0.0.1:")[1].split()[0])
    try:
        yield House(port, minted.text)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(START_SECONDS_MAX)
        assert not thread.is_alive()
    if failed:
        raise failed[0]


def furnish(house: House, store: str, secret: str = "a secret value") -> str:
    """A store (made where it lacks) with a new connection that is ready to be enabled; its id."""
    if house.call("GET", f"/v1/stores/{store}").status == 404:
        house.ok("POST", "/v1/stores", {"id": store, "name": f"Shop {store}"})
    body = {"integration": "orders.generic"}
    made = house.ok("POST", f"/v1/stores/{store}/connections", body)
    for slot in house.ok("GET", f"/v1/stores/{store}/connections/{made['id']}/credentials")["items"]:
        path = f"/v1/stores/{store}/connections/{made['id']}/credentials/{slot['name']}"
        house.ok("PUT", path, {"value": f"{secret}-{slot['name']}"})
    return str(made["id"])
