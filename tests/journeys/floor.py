"""A served Crossdock in a process of its own, receivers on loopback, and the parties of a journey as functions."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

from api.house import Answer, House

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("CROSSDOCK_SAMPLES", ROOT.parent / "shared" / "samples"))
OWN = ROOT / "tests" / "samples"
SECRET = "whsec_" + base64.b64encode(b"journey " * 4).decode()
BATCH = {"content-type": "application/cloudevents-batch+json"}
EVENT = {"content-type": "application/cloudevents+json"}
SECONDS_MAX = 20
PROGRAM = [sys.executable, "-m", "crossdock.cli.main"]


T = TypeVar("T")


def until(look: Callable[[], T], what: str = "it", seen: Callable[[], object] = str) -> T:
    """What `look` gives as soon as it gives something; each look asks the running system. `seen` says what there is
    instead."""
    end = time.monotonic() + SECONDS_MAX
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come about: {look()!r} {seen()}")


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status = self.server.status
        with self.server.news:
            self.server.came.append(Received(self.path, headers, raw, status))
            self.server.news.notify_all()
        self.server.hold.wait(SECONDS_MAX)
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    do_PUT = do_POST

    def do_GET(self) -> None:
        """A connection's own check, which is always answered."""
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silent."""


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]
    raw: bytes
    status: int

    @property
    def event(self) -> dict[str, Any]:
        return json.loads(self.raw)


class Receiver(ThreadingHTTPServer):
    """Answers `status` to every POST once `hold` is set, and keeps what came as it came."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.status = 204
        self.came: list[Received] = []
        self.news = threading.Condition()
        self.hold = threading.Event()
        self.hold.set()
        self.address = f"127.0.0.1:{self.server_address[1]}"

    def wait_for(self, count: int) -> list[Received]:
        with self.news:
            assert self.news.wait_for(lambda: len(self.came) >= count, SECONDS_MAX), f"{len(self.came)} of {count}"
            return self.came[:count]

    def handle_error(self, *_: object) -> None:
        """A sender that was killed is no news here."""


@contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    with Receiver(port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.hold.set()
            server.shutdown()
            thread.join()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Floor:
    """`house` calls the process; `restart` gives it anew on the same data."""

    directory: Path
    environment: dict[str, str]
    argv: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None
    house: House = field(default_factory=lambda: House(0, ""))

    @property
    def log(self) -> Path:
        return self.directory / "server.log"

    @property
    def data(self) -> Path:
        return self.directory / "var"

    def start(self) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*self.argv, *PROGRAM, "serve", "--dir", str(self.data), "--port", "0"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self.environment,
            )
        assert self.process.stdout is not None
        first = self.process.stdout.readline()
        assert "serves on http://" in first, self.log.read_text()
        with self.log.open("a") as log:
            log.write(first)
        self.house.port = int(first.split("127.0.0.1:")[1].split()[0])

    def end(self, *, kill: bool = False) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        (self.process.kill if kill else self.process.terminate)()
        with self.log.open("a") as log:
            log.write(self.process.stdout.read())
        self.process.stdout.close()
        self.process.wait(30)

    def restart(self, *, kill: bool = False) -> None:
        self.end(kill=kill)
        self.start()

    def mint(self) -> None:
        command = [*PROGRAM, "token", "create", "--role", "platform_admin", "--dir", str(self.data)]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment, check=True)
        self.house.token = done.stdout.strip()

    def store(self, name: str) -> None:
        self.house.ok("POST", "/v1/stores", {"id": name})

    def connect(self, store: str, integration: str, config: dict[str, Any], **secrets: str) -> str:
        """An enabled connection; its id."""
        made = self.house.ok("POST", f"/v1/stores/{store}/connections", {"integration": integration, "config": config})
        base = f"/v1/stores/{store}/connections/{made['id']}"
        for name, value in secrets.items():
            self.house.ok("PUT", f"{base}/credentials/{name}", {"value": value})
        self.house.ok("POST", f"{base}/validate")
        assert self.house.ok("POST", f"{base}/enable")["state"] == "enabled"
        return str(made["id"])

    def publish(self, store: str, *events: dict[str, Any]) -> Answer:
        return self.house.call("POST", f"/v1/stores/{store}/events", list(events), self.core(store), BATCH)

    def core(self, store: str) -> str:
        return self.house.token_of("core", store)

    def pull(self, store: str, wait_seconds: int = 5) -> list[dict[str, Any]]:
        found = self.house.ok("GET", f"/v1/stores/{store}/inbox?wait_seconds={wait_seconds}", token=self.core(store))
        return list(found["items"])

    def ack(self, store: str, *items: dict[str, Any]) -> None:
        marks = {"acked": [one["handle"] for one in items]}
        self.house.ok("POST", f"/v1/stores/{store}/inbox/ack", marks, token=self.core(store))

    def lanes(self, store: str) -> list[dict[str, Any]]:
        return list(self.house.ok("GET", f"/v1/stores/{store}/lanes")["items"])

    def at_rest(self, store: str) -> list[dict[str, Any]]:
        """The ledgers of its enabled connections, once nothing waits; each closes."""
        shown = self.house.ok("GET", f"/v1/stores/{store}/connections")["items"]
        enabled = {one["id"] for one in shown if one["state"] == "enabled"}

        def look() -> list[dict[str, Any]]:
            lanes = [one for one in self.lanes(store) if one["connection"] in enabled]
            behind = {one["route"] for one in lanes if one["waiting"]}
            if behind == {"order-in"}:
                self.pull(store, wait_seconds=0)  # the core's look takes its lane past what is not for it
            return [] if behind else lanes

        found = until(look, "rest", lambda: self.lanes(store))
        assert all(one["closes"] for one in found), found
        return found


@contextmanager
def floor_in(directory: Path, *receivers: str, argv: list[str] | None = None, **settings: str) -> Iterator[Floor]:
    """A fresh installation, served until the end. `receivers` are the loopback addresses that it may call."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CROSSDOCK_")}
    environment |= {"CROSSDOCK_LOOPBACK_ALLOW": ",".join(receivers)} if receivers else {}
    environment |= {f"CROSSDOCK_{name.upper()}": value for name, value in settings.items()}
    made = Floor(directory, environment, argv or [])
    with ExitStack() as stack:
        made.mint()
        made.start()
        stack.callback(lambda: made.end() if made.process is not None and made.process.poll() is None else None)
        yield made


def event(kind: str, name: str, data: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": name, "source": "/tests", "type": kind, "data": data, **more}


def product(sku: str, revision: int = 1) -> dict[str, Any]:
    return event("product.changed", f"{sku}-{revision}", {"sku": sku, "revision": revision, "sellable": True})


def shopify(floor: Floor, connection: str, payload: Any, secret: str, topic: str, name: str) -> Answer:
    """https://shopify.dev/docs/apps/build/webhooks/subscribe/https: base64 of HMAC-SHA256 over the raw body."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    digest = hmac.digest(secret.encode(), body, hashlib.sha256)
    headers = {
        "x-shopify-hmac-sha256": base64.b64encode(digest).decode(),
        "x-shopify-topic": topic,
        "x-shopify-webhook-id": name,
    }
    return post_in(floor, connection, body, headers)


def plain(floor: Floor, connection: str, payload: Any, secret: str) -> Answer:
    """As `orders.generic` asks: hex HMAC-SHA256 over the time, a dot and the body."""
    body, moment = json.dumps(payload).encode(), str(int(time.time()))
    digest = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return post_in(floor, connection, body, {"x-signature": digest, "x-timestamp": moment})


def post_in(floor: Floor, connection: str, body: bytes, headers: dict[str, str]) -> Answer:
    line = http.client.HTTPConnection("127.0.0.1", floor.house.port, timeout=SECONDS_MAX)
    try:
        line.request("POST", f"/in/{connection}", body, {"content-type": "application/json", **headers})
        answer = line.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        line.close()


def order(number: str, **more: Any) -> dict[str, Any]:
    """What `orders.generic` takes."""
    total = {"amount": 12.5, "currency": "EUR"}
    return {"order_id": number, "revision": 1, "total": total, "lines": [{"sku": "A-1", "qty": 1}], **more}
