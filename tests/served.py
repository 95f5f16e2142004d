"""A real Crossdock in a process of its own, and a receiver on loopback that keeps what it is sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from crossdock.client import Crossdock

PROGRAM = [sys.executable, "-m", "crossdock.cli.main"]


class Receiver(ThreadingHTTPServer):
    """Answers `status` to every POST, and keeps the headers and bodies."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 204
        self.came: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.raw: list[bytes] = []
        self.news = threading.Condition()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def wait_for(self, count: int, seconds: float = 20.0) -> list[dict[str, Any]]:
        """The first `count` bodies, as soon as they are there."""
        with self.news:
            assert self.news.wait_for(lambda: len(self.came) >= count, seconds), f"{len(self.came)} of {count} came"
            return [body for _, body in self.came[:count]]


class Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        body = json.loads(raw)
        with self.server.news:
            self.server.raw.append(raw)
            self.server.came.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.server.news.notify_all()
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silent."""


@dataclass
class Installation:
    directory: Path
    receiver: Receiver
    environment: dict[str, str]
    url: str = ""
    process: subprocess.Popen[str] | None = None
    clients: list[Crossdock] = field(default_factory=list)

    def run(self, *arguments: str, given: str = "", code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """The real program; fails the test unless it ends with `code`."""
        done = subprocess.run(
            [*PROGRAM, *arguments], input=given, capture_output=True, text=True, env=self.environment, check=False
        )
        assert code is None or done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def json(self, *arguments: str, given: str = "") -> Any:
        return json.loads(self.run(*arguments, "--json", given=given).stdout)

    def client(self, token: str | None = None) -> Crossdock:
        """A client that is closed with the installation."""
        made = Crossdock(self.url, token or self.environment["CROSSDOCK_TOKEN"])
        self.clients.append(made)
        return made

    def start(self) -> None:
        with (self.directory.parent / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                [*PROGRAM, "serve", "--dir", str(self.directory), "--port", "0"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self.environment,
            )
        assert self.process.stdout is not None
        first = self.process.stdout.readline()
        assert "serves on http://" in first, (self.directory.parent / "server.log").read_text()
        self.url = first.split("serves on ")[1].split()[0]
        self.environment["CROSSDOCK_URL"] = self.url

    def stop(self, end: Callable[[subprocess.Popen[str]], None] = subprocess.Popen.terminate) -> int:
        assert self.process is not None
        assert self.process.stdout is not None
        end(self.process)
        self.process.stdout.close()
        return self.process.wait(30)

    def store(self, name: str) -> str:
        """A store of this name, with a token of its administrator."""
        self.json("store", "create", name)
        return str(self.json("token", "create", "--role", "store_admin", "--store", name)["token"])

    def webhook(self, store: str) -> str:
        """An enabled webhook.custom connection to the receiver."""
        connection = str(self.json("connect", "new", store, "webhook.custom")["id"])
        config = json.dumps({"url": f"http://{self.receiver.address}/hook"})
        self.json("connect", "config", store, connection, "-", given=config)
        secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        self.json("connect", "credential", store, connection, "signing_secret", given=secret)
        self.json("connect", "validate", store, connection)
        self.json("connect", "enable", store, connection)
        return connection


@contextmanager
def installed(directory: Path) -> Iterator[Installation]:
    receiver = Receiver()
    listening = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    listening.start()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CROSSDOCK_")}
    environment |= {"CROSSDOCK_LOOPBACK_ALLOW": receiver.address, "COLUMNS": "160", "NO_COLOR": "1"}
    made = Installation(directory, receiver, environment)
    try:
        token = made.run("token", "create", "--role", "platform_admin", "--dir", str(directory)).stdout.strip()
        environment["CROSSDOCK_TOKEN"] = token
        made.start()
        try:
            yield made
        finally:
            for client in made.clients:
                client.close()
            if made.process is not None and made.process.poll() is None:
                made.stop()
    finally:
        receiver.shutdown()
        receiver.server_close()
        listening.join()


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with tempfile.TemporaryDirectory(prefix="crossdock-") as directory, installed(Path(directory) / "var") as made:
        yield made


def product(sku: str, revision: int = 1, **more: Any) -> dict[str, Any]:
    """A product.changed event of our own."""
    data = {"sku": sku, "revision": revision, "title": "Rose oil", "price": {"amount": 19.5, "currency": "EUR"}}
    return {"type": "product.changed", "data": {**data, "stock": 3, "sellable": True}, **more}
