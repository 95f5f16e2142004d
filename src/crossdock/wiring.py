"""The composition root: the one place that names concrete classes, the real clock and real randomness."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version

from crossdock.contracts.catalogue import Catalogue
from crossdock.credentials.root import RootKey, write_new
from crossdock.credentials.seal import SealBroken
from crossdock.credentials.vault import Vault
from crossdock.delivery.driver import Driver
from crossdock.delivery.inbox import Inbox
from crossdock.delivery.ownership import Ownership
from crossdock.delivery.replaying import Replays
from crossdock.delivery.rounds import Deliverer
from crossdock.delivery.sending import Gear
from crossdock.delivery.trips import CORE_DRIVER
from crossdock.drivers.egress import Egress, EgressPolicy
from crossdock.drivers.http_json import HttpJson
from crossdock.drivers.smtp import Smtp
from crossdock.drivers.trials import DriverTrials
from crossdock.drivers.webhook import Webhook
from crossdock.engines.sqlite.engine import SqliteEngine
from crossdock.http.api.app import build_api
from crossdock.http.api.parts import Parts as ApiParts
from crossdock.http.front import Application, Front
from crossdock.http.ingest import Edge, IngestApp
from crossdock.http.proxies import Proxies
from crossdock.ingest.accept import Acceptor
from crossdock.ingest.accept import Parts as IngestParts
from crossdock.model.connection import Principal, Role
from crossdock.model.contract import Environment
from crossdock.model.errors import CrossdockError, Invalid, Refused
from crossdock.model.ids import ConnectionId, CorrelationId, Instant, StoreId, base32
from crossdock.observe.health import Examination, Health, examine
from crossdock.observe.lines import Lines
from crossdock.observe.metrics import Metrics
from crossdock.observe.text import LineWriter
from crossdock.settings import Settings, is_loopback
from crossdock.stores.authority import Gatekeeper
from crossdock.stores.desk import Desk, build_desk
from crossdock.stores.directory import Directory
from crossdock.stores.office import Act, Office
from crossdock.stores.port import Engine, Finding
from crossdock.stores.publishing import Publishers
from crossdock.stores.targets import Hosts
from crossdock.stores.tokens import Minted, Tokens, TokenWish

FLUSH_SECONDS = 0.2  # how late a line may stand in the log


def clock() -> Instant:
    return Instant(time.time_ns() // 1_000_000)  # noqa: TID251  the one real clock


def new_correlation() -> CorrelationId:
    return CorrelationId(base32(os.urandom(17), 26))


def new_member() -> str:
    """Who this process is among those that share the lanes: never the same twice, so that no lease is taken for it."""
    return base32(os.urandom(17), 26)


def root_key_of(settings: Settings) -> RootKey:
    """The root key as the settings say. In `local` one is made at the first start, in a file of mode 0600; elsewhere
    Invalid (CD7002) without one: there is no default."""
    if settings.root_key is not None:
        return RootKey.from_text(settings.root_key.get_secret_value())
    if settings.key_path.exists():
        return RootKey.from_file(settings.key_path)
    if settings.environment is Environment.LOCAL and settings.root_key_file is None:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        return write_new(settings.key_path, os.urandom)
    raise Invalid(
        "CD7002",
        "There is no root key, and none is ever assumed.",
        where=str(settings.key_path),
        remedy="Set CROSSDOCK_ROOT_KEY_FILE to a file (mode 0600) with what `openssl rand -base64 32` prints.",
    )


@dataclass(frozen=True, slots=True)
class Ground:
    """What serving and working offline share: the engine and the control plane over it."""

    settings: Settings
    engine: Engine
    office: Office
    desk: Desk
    directory: Directory
    egress: Egress
    root_id: str

    async def close(self) -> None:
        await self.egress.close()
        await self.engine.close()

    def findings(self) -> tuple[Finding, ...]:
        """What the doctor says of the installation, beside the engine's own."""
        settings = self.settings
        loopback = is_loopback(settings.host)
        allowed = len(settings.loopback_pairs)
        return (
            Finding("CD7002", True, True, f"The root key is {self.root_id}."),
            Finding(
                "CD7003",
                loopback,
                False,
                f"It listens on {settings.host}:{settings.port}.",
                "" if loopback else "Other machines reach it: see that TLS stands in front.",
            ),
            Finding("CD7001", True, False, f"The environment is {settings.environment}; {allowed} loopback targets."),
        )


async def open_ground(settings: Settings, lines: Lines) -> Ground:
    """Reads the root key and the catalogue, and starts the engine. Raises what makes serving unsafe; then nothing is
    left open. Invalid (CD7005) if the stores were sealed under another root key."""
    root = root_key_of(settings)
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    catalogue = Catalogue.shipped() if settings.contracts_dir is None else Catalogue.read(settings.contracts_dir)
    hosts = Hosts(
        settings.environment,
        settings.mapped,
        frozenset(settings.loopback_allow),
        settings.operator_hosts,
        catalogue.live_hosts(),
    )
    vault = Vault(root, os.urandom)
    engine = SqliteEngine(settings.database_path, clock)
    await engine.start()
    try:
        await _check_root(engine, vault, settings)
    except CrossdockError:
        await engine.close()
        raise
    office = Office(engine.registry, catalogue, vault, hosts, clock, os.urandom, lines)
    directory = Directory(engine.registry, catalogue, vault, hosts, clock)
    egress = Egress(policy_of(settings, hosts))
    desk = build_desk(office, DriverTrials(directory, egress, clock), engine.journal, engine.lanes)
    return Ground(settings, engine, office, desk, directory, egress, root.id)


async def _check_root(engine: Engine, vault: Vault, settings: Settings) -> None:
    for store in await engine.registry.stores(limit=1):
        try:
            vault.open(store)
        except SealBroken:
            raise Invalid(
                "CD7005",
                "The root key is not the one that this database was sealed under.",
                where=settings.database_shown,
                remedy="Give the root key that it was made with; another opens nothing in it.",
            ) from None


def policy_of(settings: Settings, hosts: Hosts) -> EgressPolicy:
    named = [where.rpartition(":") for where in settings.operator_hosts.values()]
    return EgressPolicy(
        settings.environment,
        loopback_allow=settings.loopback_pairs,
        operator_hosts=frozenset((host, int(port)) for host, _, port in named if host and port.isdigit()),
        live_hosts=hosts.live,
        own=frozenset({(settings.host, settings.port)}),
    )


@asynccontextmanager
async def offline(settings: Settings) -> AsyncIterator[Ground]:
    """The control plane without a server, for the command line. No server may run on the same database."""
    ground = await open_ground(settings, Lines())
    try:
        yield ground
    finally:
        await ground.close()


def operator() -> Act:
    """Whoever has the machine: as the record names what is done without a server."""
    return Act(Principal("operator", Role.PLATFORM_ADMIN, None), new_correlation())


async def issue_token(settings: Settings, wish: TokenWish) -> Minted:
    """A token, made beside the data: how the first one comes to be."""
    async with offline(settings) as ground:
        return await ground.desk.tokens.issue(operator(), wish)


async def examine_offline(settings: Settings) -> Examination:
    async with offline(settings) as ground:
        return await examine(ground.engine, ground.findings())


class DeliveryPauser:
    """`delivery.rounds.Pauser` over the connections' desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def pause(self, store: StoreId, connection: ConnectionId, reason: str) -> None:
        act = Act(Principal("delivery", Role.CORE, store), new_correlation())
        await self._desk.connections.pause_if_enabled(act, store, connection, reason)


class App:
    """The whole process but its listener: `start`, serve `asgi`, `drain`, `close`."""

    def __init__(self, ground: Ground, lines: Lines, metrics: Metrics, writer: LineWriter) -> None:
        self.ground = ground
        self.lines = lines
        self._metrics = metrics
        self._writer = writer
        self._stop = asyncio.Event()
        self._work: asyncio.Task[None] | None = None
        self._gear = gear_of(ground, lines)
        self._inbox = Inbox(self._gear)
        ownership = Ownership(ground.engine.slots, new_member(), time.monotonic)
        self.deliverer = Deliverer(self._gear, DeliveryPauser(ground.desk), ownership)
        self.health = Health(ground.engine, self._delivers)
        self.asgi: Application = self._asgi()

    async def start(self) -> None:
        """Takes up the lanes; from now on it is ready."""
        for consumer in (self.deliverer, self._inbox):
            self.ground.engine.journal.on_news(consumer.wake)
            self.ground.engine.registry.on_change(consumer.changed)
        self._work = asyncio.create_task(self._run(), name="crossdock work")
        self.health.serving = True
        self.lines.write(
            "process.started",
            environment=str(self.ground.settings.environment),
            engine=self.ground.engine.name,
            address=address_of(self.ground.settings),
            version=version("crossdock"),
        )

    def refused(self, error: Refused) -> None:
        """A request that was refused before it was whole: nobody further in hears of it."""
        self.lines.write("ingest.refused", status=error.status, code=error.code)

    def refuse_more(self, reason: str) -> None:
        """Says not ready, so that whoever sends traffic here sends it elsewhere."""
        if self.health.serving:
            self.lines.write("process.draining", reason=reason)
        self.health.serving = False

    async def drain(self, reason: str) -> None:
        """Lets the deliveries in flight end, and settles them."""
        self.refuse_more(reason)
        self._stop.set()
        if self._work is not None:
            await asyncio.wait({self._work})

    async def close(self) -> None:
        clean = True
        try:
            await self.drain("close")
        finally:
            clean = self._work is None or self._work.exception() is None
            await self.ground.close()
            self.lines.write("process.stopped", clean=clean)
            self._writer.flush()

    def _delivers(self) -> bool:
        return self._work is not None and not self._work.done()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._flush())
            try:
                await self.deliverer.run(self._stop)
            except CrossdockError as error:
                self.lines.write("engine.failed", engine="delivery", code=error.code, error=error.message)
                raise

    async def _flush(self) -> None:
        while not self._stop.is_set():
            try:
                await asyncio.wait_for(self._stop.wait(), FLUSH_SECONDS)
            except TimeoutError:
                await asyncio.to_thread(self._writer.flush)

    def _asgi(self) -> Application:
        ground, engine = self.ground, self.ground.engine
        tokens = Tokens(engine.registry, clock)
        gatekeeper = Gatekeeper(engine.registry, clock)
        api = build_api(
            ApiParts(
                desk=ground.desk,
                gatekeeper=gatekeeper,
                tokens=tokens,
                engine=engine,
                inbox=self._inbox,
                replays=Replays(engine.journal, engine.lanes, ground.directory, ground.directory.keys),
                catalogue=ground.office.catalogue,
                environment=ground.settings.environment,
                address=address_of(ground.settings),
                version=version("crossdock"),
                clock=clock,
                new_correlation=new_correlation,
                findings=ground.findings,
            ),
            self.lines,
        )
        acceptor = Acceptor(
            IngestParts(
                journal=engine.journal,
                lanes=engine.lanes,
                doors=ground.directory,
                keys=ground.directory.keys,
                schemas=ground.office.catalogue,
                core=Publishers(tokens, gatekeeper, ground.directory.store),
                clock=clock,
            )
        )
        proxies = Proxies(ground.settings.trusted_proxies)
        edge = Edge(address_of(ground.settings), os.urandom, clock, self.lines, proxies)
        return IngestApp(acceptor, edge, Front(self.health, self._metrics, engine.lanes, api))


def gear_of(ground: Ground, lines: Lines) -> Gear:
    return Gear(
        journal=ground.engine.journal,
        lanes=ground.engine.lanes,
        ways=ground.directory,
        drivers=drivers_of(ground.egress),
        keys=ground.directory.keys,
        clock=clock,
        dice=random.random,
        lines=lines,
        elapsed=time.monotonic,
    )


def drivers_of(egress: Egress) -> Mapping[str, Driver]:
    """Every driver, by the name that contracts use."""
    listed: tuple[Driver, ...] = (HttpJson(egress), Webhook(egress), Webhook(egress, CORE_DRIVER), Smtp(egress))
    return {driver.name: driver for driver in listed}


def address_of(settings: Settings) -> str:
    """How senders reach this installation."""
    if settings.public_url:
        return settings.public_url.rstrip("/")
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"


async def build(settings: Settings) -> App:
    """The process, put together over a started engine. Raises what it cannot serve with; then nothing is left open."""
    writer, metrics = LineWriter(settings.log_format, clock), Metrics()
    lines = Lines(writer, metrics)
    return App(await open_ground(settings, lines), lines, metrics, writer)
