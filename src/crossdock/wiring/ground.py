"""What serving and working offline stand on: the engine as the settings say, and the control plane over it."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from crossdock.contracts.catalogue import Catalogue
from crossdock.credentials.root import RootKey, write_new
from crossdock.credentials.seal import SealBroken
from crossdock.credentials.vault import Vault
from crossdock.databases import PostgresUrl
from crossdock.drivers.egress import Egress, EgressPolicy
from crossdock.drivers.trials import DriverTrials
from crossdock.engines.cells.directory import Directory as CellDirectory
from crossdock.engines.cells.engine import CellsEngine
from crossdock.engines.postgres.engine import PostgresEngine
from crossdock.engines.sqlite.engine import SqliteEngine
from crossdock.model.connection import Principal, Role
from crossdock.model.contract import Environment
from crossdock.model.errors import Conflict, CrossdockError, Invalid, Unavailable
from crossdock.model.ids import CorrelationId, Instant, base32
from crossdock.observe.health import Examination, examine
from crossdock.observe.lines import Lines
from crossdock.settings import Settings, is_loopback
from crossdock.stores.desk import Desk, build_desk
from crossdock.stores.directory import Directory
from crossdock.stores.office import Act, Office
from crossdock.stores.port import Engine, Finding
from crossdock.stores.targets import Hosts
from crossdock.stores.tokens import Minted, TokenWish


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
        try:
            return write_new(settings.key_path, os.urandom)
        except Conflict:
            return RootKey.from_file(settings.key_path)  # another process of this installation was first
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
            *(finding for url in _database_urls(settings) for finding in _of_database(url)),
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


def _database_urls(settings: Settings) -> tuple[str, ...]:
    """Every database that the process speaks to, each once; none for a file."""
    one = () if settings.postgres_url is None else (settings.postgres_url,)
    several = (*settings.cell_urls.values(), settings.directory_url) if settings.spans_cells else one
    return tuple(dict.fromkeys(url for url in several if url))


def _of_database(url: str) -> tuple[Finding, ...]:
    """What the doctor says of the way to a database."""
    parsed = PostgresUrl.parse(url)
    near = all(is_loopback(host.rpartition(":")[0] or host) or host == "localhost" for host in parsed.hosts)
    ok = parsed.tls_checked or near
    how = "with TLS and a certificate that is checked" if parsed.tls_checked else "without a checked certificate"
    remedy = "" if ok else "Say sslmode=verify-full in the URL, and give the certificate authority in sslrootcert."
    return (Finding("CD7010", ok, False, f"The database is {parsed.shown}, {how}.", remedy),)


def engine_of(settings: Settings, clock: Callable[[], Instant], lines: Lines) -> Engine:
    """The engine that the settings name, not started yet."""
    if settings.spans_cells:
        count = settings.database_connections
        cells = {name: PostgresEngine(url, clock, count) for name, url in settings.cell_urls.items()}

        def told(cell: str, error: Unavailable) -> None:
            lines.write("engine.failed", engine=f"cell {cell}", code=error.code, error=error.message)

        return CellsEngine(cells, CellDirectory(settings.directory_url), settings.new_stores_cell, told)
    if settings.postgres_url is not None:
        return PostgresEngine(settings.postgres_url, clock, settings.database_connections)
    return SqliteEngine(settings.database_path, clock)


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
    engine = engine_of(settings, clock, lines)
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
    try:
        stores = await engine.registry.stores(limit=1)
    except Unavailable:
        if settings.spans_cells:
            return  # a cell that is away must not keep the others from being served
        raise
    for store in stores:
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
    """The control plane without a server, for the command line. No server may run on the same SQLite file; on
    PostgreSQL it is one more process."""
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


def address_of(settings: Settings) -> str:
    """How senders reach this installation."""
    if settings.public_url:
        return settings.public_url.rstrip("/")
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"
