"""What the benchmarks and the promises start: Crossdock as a process of its own on a fresh folder, with the shipped
contracts but for their rates and bounds, which would otherwise be what is measured."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from crossdock.client import Crossdock
from crossdock.demo.conductor import first_token, webhook_secret
from crossdock.demo.processes import Processes, free_ports

STORE = "bench"
SECRET = "0123456789abcdef0123456789abcdef"


@dataclass(slots=True)
class Stage:
    directory: Path
    processes: Processes
    port: int
    receiver: int
    client: Crossdock
    core: Crossdock
    saboteur: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self) -> None:
        """Starts Crossdock on its folder; again after it was ended."""
        program = ["bench.saboteurs", self.saboteur] if self.saboteur else ["crossdock.cli.main"]
        arguments = ["-m", *program, "serve", "--dir", str(self.directory / "data"), "--port", str(self.port)]
        self.processes.start("crossdock", arguments, ready=self.url, environment=self.environment())

    def environment(self) -> dict[str, str]:
        return {
            "CROSSDOCK_LOOPBACK_ALLOW": f"127.0.0.1:{self.receiver}",
            "CROSSDOCK_CONTRACTS_DIR": str(self.directory / "contracts"),
        }


def unbounded(directory: Path) -> None:
    """The shipped contracts with rates out of the way and the widest concurrency."""
    with as_file(files("crossdock.catalogue")) as shipped:
        shutil.copytree(shipped, directory, ignore=shutil.ignore_patterns("__pycache__", "*.py"))
    for path in directory.rglob("contract.yaml"):
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"limit: \d+, burst: \d+", "limit: 100000, burst: 100000", text)
        text = re.sub(r"backlog_max: \d+", "backlog_max: 1000000", text)
        text = re.sub(r"concurrency: \d+", "concurrency: 64", text)
        text = re.sub(r"delivery: \{timeout: PT\d+[SM]", "delivery: {timeout: PT10S", text)
        text = re.sub(r"(?m)^version: .*$", "version: 99.0.0", text)
        text = re.sub(r"first: PT\d+S", "first: PT1S", text)
        path.write_text(text, encoding="utf-8")


@contextmanager
def stage(*, saboteur: str = "", ack_loss: float = 0.0) -> Iterator[Stage]:
    """A served installation with one store and a receiver; everything ends with the block. `saboteur` names a planted
    fault; `ack_loss` is how often the receiver takes an event and then breaks the connection."""
    with tempfile.TemporaryDirectory(prefix="crossdock-bench-") as name:
        directory = Path(name)
        (directory / "data").mkdir(mode=0o700)
        unbounded(directory / "contracts")
        admin, core = first_token(directory / "data", "platform_admin"), first_token(directory / "data", "core")
        port, receiver = free_ports(2)
        with Processes(directory) as processes:
            processes.start("receiver", ["-m", "bench.receiver", str(receiver), str(ack_loss)], ready="ready")
            client = Crossdock(f"http://127.0.0.1:{port}", admin)
            publisher = Crossdock(f"http://127.0.0.1:{port}", core)
            made = Stage(directory, processes, port, receiver, client, publisher, saboteur)
            made.serve()
            made.client.create_store(STORE)
            yield made


def connect(one: Stage, integration: str, config: dict[str, object], secrets: dict[str, str]) -> str:
    connection = str(one.client.connect(STORE, integration)["id"])
    one.client.configure(STORE, connection, config)
    for name, value in secrets.items():
        one.client.set_credential(STORE, connection, name, value)
    one.client.validate(STORE, connection)
    one.client.enable(STORE, connection)
    return connection


def order(number: int) -> dict[str, Any]:
    return {
        "order_id": f"o-{number:08}",
        "revision": 1,
        "status": "paid",
        "total": {"amount": 49.9, "currency": "EUR"},
        "lines": [{"sku": "sku-1", "qty": 2, "title": "Article", "unit_price": 24.95}],
        "buyer": {"email": f"buyer{number % 500}@shop.example"},
    }


def placed(number: int) -> dict[str, Any]:
    return {
        "type": "order.placed",
        "data": {
            "order_id": f"p-{number:08}",
            "channel": "storefront",
            "total": {"amount": 49.9, "currency": "EUR"},
            "lines": [{"sku": "sku-1", "qty": 2}],
            "customer": {"id": f"c-{number % 500}", "email": f"buyer{number % 500}@shop.example"},
        },
    }


def hook(one: Stage) -> str:
    """The signed webhook to the receiver."""
    url = f"http://127.0.0.1:{one.receiver}/hook"
    return connect(one, "webhook.custom", {"url": url}, {"signing_secret": webhook_secret()})


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
