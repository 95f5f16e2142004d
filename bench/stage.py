"""What the benchmarks and the promises start: Crossdock as a process of its own on a fresh folder, with the shipped
contracts but for their rates and bounds, which would otherwise be what is measured."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Protocol

import apsw
import psycopg

from bench.server import Server, server
from crossdock.client import Crossdock
from crossdock.demo.conductor import webhook_secret
from crossdock.demo.processes import DemoFailed, Processes, free_ports

STORE = "bench"
SECRET = "0123456789abcdef0123456789abcdef"


class Place(Protocol):
    """Where an installation keeps its data, as the benches reach it from outside."""

    def environment(self) -> Mapping[str, str]: ...

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query finds; table names as they are in both engines."""
        ...

    def sound(self) -> bool:
        """Whether the engine's own check finds the data whole."""
        ...


@dataclass(frozen=True, slots=True)
class OnFile:
    path: Path

    def environment(self) -> Mapping[str, str]:
        return {}

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return list(connection.execute(query))
        finally:
            connection.close()

    def sound(self) -> bool:
        return self.rows("PRAGMA quick_check") == [("ok",)]


@dataclass(frozen=True, slots=True)
class OnServer:
    server: Server

    def environment(self) -> Mapping[str, str]:
        return {"CROSSDOCK_DATABASE": self.server.app, "CROSSDOCK_DATABASE_OWNER": self.server.owner}

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.server.admin_of_crossdock) as connection:
            connection.execute("SET search_path = crossdock")
            return connection.execute(query).fetchall()  # type: ignore[arg-type]

    def sound(self) -> bool:
        """Every index holds what its table holds (amcheck), and positions have no gap."""
        with psycopg.connect(self.server.admin_of_crossdock, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS amcheck")
            for (index,) in connection.execute(INDEXES).fetchall():
                connection.execute("SELECT bt_index_check(%s::regclass, true)", (index,))
        return not self.rows(GAPS)


GAPS = "SELECT 1 FROM journals AS j WHERE head <> (SELECT count(*) FROM entries AS e WHERE e.store_id = j.store_id)"
INDEXES = """
SELECT i.indexrelid::regclass::text FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = 'crossdock'
"""


@dataclass(slots=True)
class Stage:
    """A served installation. `parts` are its processes by name, each with its role; `ports` are theirs."""

    directory: Path
    place: Place
    processes: Processes
    receiver: int
    parts: Mapping[str, str]
    ports: dict[str, int]
    tokens: Mapping[str, str]
    saboteur: str = ""

    @property
    def port(self) -> int:
        """Where events come in."""
        return self.ports[next(name for name, role in self.parts.items() if role in {"all", "ingest"})]

    @property
    def client(self) -> Crossdock:
        name = next(name for name, role in self.parts.items() if role in {"all", "api"})
        return Crossdock(f"http://127.0.0.1:{self.ports[name]}", self.tokens["platform_admin"])

    @property
    def core(self) -> Crossdock:
        return Crossdock(f"http://127.0.0.1:{self.port}", self.tokens["core"])

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def add_ports(self, names: Iterable[str]) -> None:
        """Ports for parts that come later."""
        missing = [name for name in names if name not in self.ports]
        self.ports.update(zip(missing, free_ports(len(missing)), strict=True))

    def serve(self, *names: str) -> None:
        """Starts these parts, or all; again after they were ended."""
        for name in names or self.parts:
            self._serve(name, self.parts[name])

    def _serve(self, name: str, role: str) -> None:
        program = ["bench.saboteurs", self.saboteur] if self.saboteur else ["crossdock.cli.main"]
        arguments = ["-m", *program, "serve", "--dir", str(self.data), "--port", str(self.ports[name])]
        if role != "all":
            arguments += ["--role", role]
        self.processes.start(name, arguments, ready=f"127.0.0.1:{self.ports[name]}", environment=self.environment())

    def environment(self) -> dict[str, str]:
        return {
            "CROSSDOCK_LOOPBACK_ALLOW": f"127.0.0.1:{self.receiver}",
            "CROSSDOCK_CONTRACTS_DIR": str(self.directory / "contracts"),
            **self.place.environment(),
        }


def unbounded(directory: Path, answer_seconds: int) -> None:
    """The shipped contracts with rates out of the way and the widest concurrency that goes with the timeout (R013)."""
    with as_file(files("crossdock.catalogue")) as shipped:
        shutil.copytree(shipped, directory, ignore=shutil.ignore_patterns("__pycache__", "*.py"))
    for path in directory.rglob("contract.yaml"):
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"limit: \d+, burst: \d+", "limit: 100000, burst: 100000", text)
        text = re.sub(r"backlog_max: \d+", "backlog_max: 1000000", text)
        text = re.sub(r"concurrency: \d+", f"concurrency: {min(64, 960 // answer_seconds)}", text)
        text = re.sub(r"delivery: \{timeout: PT\d+[SM]", f"delivery: {{timeout: PT{answer_seconds}S", text)
        text = re.sub(r"(?m)^version: .*$", "version: 99.0.0", text)
        text = re.sub(r"first: PT\d+S", "first: PT1S", text)
        path.write_text(text, encoding="utf-8")


ONE = {"crossdock": "all"}
APART = {"ingest": "ingest", "deliver": "deliver", "api": "api"}


@contextmanager
def stage(
    engine: str = "sqlite",
    *,
    parts: Mapping[str, str] = ONE,
    saboteur: str = "",
    ack_loss: float = 0.0,
    refuse: float = 0.0,
    answer_seconds: int = 10,
) -> Iterator[Stage]:
    """A served installation with one store and a receiver; everything ends with the block. `saboteur` names a planted
    fault; `ack_loss` is how often the receiver takes an event and then breaks the connection, `refuse`
    how often it answers 503 and takes nothing. `answer_seconds` is what far ends get to answer."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crossdock-bench-")))
        (directory / "data").mkdir(mode=0o700)
        unbounded(directory / "contracts", answer_seconds)
        place: Place = OnFile(directory / "data" / "crossdock.db")
        if engine == "postgres":
            place = OnServer(stack.enter_context(server(*free_ports(1))))
        tokens = {role: first_token_at(directory / "data", place, role) for role in ("platform_admin", "core")}
        receiver, *ports = free_ports(1 + len(parts))
        processes = stack.enter_context(Processes(directory))
        processes.start("receiver", ["-m", "bench.receiver", str(receiver), str(ack_loss), str(refuse)], ready="ready")
        named = dict(zip(parts, ports, strict=True))
        made = Stage(directory, place, processes, receiver, parts, named, tokens, saboteur)
        made.serve()
        made.client.create_store(STORE)
        yield made


def first_token_at(data: Path, place: Place, role: str) -> str:
    """Made beside the data, as on any fresh installation; a server's schema is made first."""
    if place.environment():
        said(["db", "migrate"], data, place)
    return str(
        json.loads(said(["token", "create", "--role", role, "--json", "--dir", str(data)], data, place))["token"]
    )


def said(arguments: Sequence[str], data: Path, place: Place) -> str:
    """What a command of the program prints; DemoFailed if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "crossdock.cli.main", *arguments],
        env={**os.environ, "CROSSDOCK_DATA_DIR": str(data), **place.environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DemoFailed(f"crossdock {' '.join(arguments)}: {done.stdout[-500:]} {done.stderr[-1_500:]}")
    return done.stdout


def connect(
    one: Stage, integration: str, config: dict[str, object], secrets: dict[str, str], store: str = STORE
) -> str:
    connection = str(one.client.connect(store, integration)["id"])
    one.client.configure(store, connection, config)
    for name, value in secrets.items():
        one.client.set_credential(store, connection, name, value)
    one.client.validate(store, connection)
    one.client.enable(store, connection)
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


def hook(one: Stage, store: str = STORE, path: str = "/hook") -> str:
    """The signed webhook to the receiver."""
    url = f"http://127.0.0.1:{one.receiver}{path}"
    return connect(one, "webhook.custom", {"url": url}, {"signing_secret": webhook_secret()}, store)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
