"""One run: start the parties and Crossdock, set up through the API, let the world happen, wait, collect, check."""

from __future__ import annotations

import base64
import json
import secrets as randomness
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossdock.client import Crossdock
from crossdock.contracts.catalogue import Catalogue
from crossdock.demo.processes import DemoFailed, Processes, free_ports, get, post
from crossdock.demo.setup import Doors, Secrets, set_up
from crossdock.demo.world import NORTH, SOUTH, World

SETTLE_SECONDS_MAX = 120
PORTS = ("commerce", "marketplace", "sink", "receiver", "mail", "smtp", "shopify", "till", "nobody")
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the parties recorded and how the lanes stand."""

    records: dict[str, Any]
    lanes: list[dict[str, Any]]
    doors: Doors


@dataclass(slots=True)
class Stage:
    """A run in progress: ports, secrets, the API's address and a client."""

    directory: Path
    ports: dict[str, int]
    secrets: Secrets
    url: str
    client: Crossdock
    token: str


def webhook_secret() -> str:
    """Standard Webhooks: `whsec_` and the base64 of 24 to 64 random bytes."""
    return "whsec_" + base64.b64encode(randomness.token_bytes(32)).decode()


def fresh_secrets() -> Secrets:
    return Secrets(
        marketplace=randomness.token_hex(24),
        analytics=randomness.token_hex(24),
        webhook=webhook_secret(),
        shopify=randomness.token_hex(24),
        till=randomness.token_hex(24),
        push=webhook_secret(),
    )


def environment(ports: dict[str, int]) -> dict[str, str]:
    """The operator's explicit allowances, which exist in the `local` environment only."""
    catalogue = Catalogue.shipped()

    def sandbox(integration: str) -> str:
        contract = catalogue.get(integration, None)
        if contract is None:
            raise DemoFailed(f"The shipped catalogue lacks {integration}.")
        return next(one.sandbox for one in contract.destinations if one.sandbox)

    hosts = {
        sandbox("marketplace.acme"): ports["marketplace"],
        sandbox("analytics.http-batch"): ports["sink"],
        "relay.mail.example": ports["smtp"],
    }
    urls = ("commerce", "receiver", "nobody")
    return {
        "CROSSDOCK_ENVIRONMENT": "local",
        "CROSSDOCK_HOST_MAP": ",".join(f"{host}=127.0.0.1:{port}" for host, port in hosts.items()),
        "CROSSDOCK_LOOPBACK_ALLOW": ",".join(f"127.0.0.1:{ports[name]}" for name in urls),
        "CROSSDOCK_OPERATOR_HOSTS": "smtp_relay=relay.mail.example",
    }


def first_token(directory: Path, role: str) -> str:
    """Made offline, as on any fresh installation."""
    command = [sys.executable, "-m", "crossdock.cli.main", "token", "create", "--role", role, "--json"]
    done = subprocess.run([*command, "--dir", str(directory)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DemoFailed(f"No token could be made: {done.stderr.strip()}")
    return str(json.loads(done.stdout)["token"])


def raise_stage(processes: Processes, directory: Path, port: int) -> Stage:
    """Starts the third parties, then Crossdock, and last the core, which needs a token."""
    data = directory / "crossdock"
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    secrets = fresh_secrets()
    admin, core = first_token(data, "platform_admin"), first_token(data, "core")
    for name, token in (("core", core), ("admin", admin)):
        (directory / f"{name}.token").touch(mode=0o600)
        (directory / f"{name}.token").write_text(token, encoding="utf-8")
    party(processes, ports, "marketplace", "--key", secrets.marketplace)
    party(processes, ports, "sink", "--key", secrets.analytics)
    party(processes, ports, "receiver", "--secret", secrets.webhook)
    party(processes, ports, "mail", "--smtp-port", str(ports["smtp"]))
    party(processes, ports, "shopify", module="sender")
    party(processes, ports, "till", module="sender")
    url = f"http://127.0.0.1:{port}"
    serving = ["-m", "crossdock.cli.main", "serve", "--dir", str(data), "--port", str(port)]
    processes.start("crossdock", serving, ready=url, environment=environment(ports))
    return Stage(directory, ports, secrets, url, Crossdock(url, admin), admin)


def party(processes: Processes, ports: dict[str, int], name: str, *options: str, module: str = "") -> None:
    arguments = ["-m", f"crossdock.demo.parties.{module or name}", "--port", str(ports[name]), *options]
    processes.start(name, arguments, ready="ready")


def start_core(processes: Processes, stage: Stage) -> None:
    database = str(stage.directory / "commerce.db")
    token = str(stage.directory / "core.token")
    options = ["--database", database, "--url", stage.url, "--token-file", token, "--pull", NORTH]
    party(processes, stage.ports, "commerce", *options, "--push-secret", stage.secrets.push)


def play(processes: Processes, stage: Stage, world: World, *, down: bool, tell: Tell) -> Outcome:
    """Sets up, lets everything happen, waits until nothing moves but what cannot, and collects."""
    tell("setting up two stores through the API")
    ports = stage.ports
    doors = set_up(
        stage.client,
        stage.secrets,
        receiver_port=ports["receiver"],
        core_port=ports["commerce"],
        down_port=ports["nobody"] if down else None,
    )
    start_core(processes, stage)
    tell("selling, changing products, sending orders from outside")
    happen(stage, doors, world)
    tell("waiting until every lane has come to rest")
    settle(stage, doors)
    names = ("commerce", "marketplace", "sink", "receiver", "mail", "shopify", "till")
    return Outcome({name: get(ports[name]) for name in names}, lanes_of(stage.client, doors), doors)


def happen(stage: Stage, doors: Doors, world: World) -> None:
    """Sales in small portions of both stores, so that the two always run side by side."""
    ports, secrets = stage.ports, stage.secrets
    size = 10
    longest = max(len(world.orders[NORTH]), len(world.products[NORTH]))
    for start in range(0, longest, size):
        for store in (NORTH, SOUTH):
            products, orders = world.products[store][start : start + size], world.orders[store][start : start + size]
            post(ports["commerce"], "/sales", {"store": store, "products": products, "orders": orders})
        incoming(stage, "shopify", "shopify", doors.shopify, secrets.shopify, world.shopify[start // 3 :][:4])
        incoming(stage, "till", "plain", doors.till, secrets.till, world.plain[start // 3 :][:4])
    incoming(stage, "shopify", "shopify", doors.shopify, secrets.shopify, world.shopify)
    incoming(stage, "till", "plain", doors.till, secrets.till, world.plain)


def incoming(stage: Stage, name: str, style: str, connection: str, secret: str, orders: list[dict[str, Any]]) -> None:
    job = {"style": style, "url": f"{stage.url}/in/{connection}", "secret": secret, "orders": orders}
    post(stage.ports[name], "/send", job)


def lanes_of(client: Crossdock, doors: Doors) -> list[dict[str, Any]]:
    """Every ledger, with the integration's name and whether its receiver is down."""
    rows: list[dict[str, Any]] = []
    for store in (NORTH, SOUTH):
        names = {one["id"]: one["integration"] for one in client.connections(store)["items"]}
        for lane in client.lanes(store)["items"]:
            connection = lane["connection"]
            rows.append({**lane, "integration": names[connection], "down": connection == doors.down})
    return sorted(rows, key=lambda lane: (lane["store"], lane["integration"], lane["route"]))


def settle(stage: Stage, doors: Doors) -> None:
    """Until the outbox is empty and no lane waits, but those of the receiver that is down."""
    until = time.monotonic() + SETTLE_SECONDS_MAX
    while True:
        waiting = {
            f"{lane['store']} {lane['integration']} {lane['route']}": lane["waiting"]
            for lane in lanes_of(stage.client, doors)
            if lane["waiting"] and not lane["down"]
        }
        if not waiting and not get(stage.ports["commerce"])["outbox"]:
            return
        if time.monotonic() > until:
            raise DemoFailed(f"After {SETTLE_SECONDS_MAX} s these lanes still wait: {waiting}")
        time.sleep(0.2)
