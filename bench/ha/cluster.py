"""PostgreSQL under Patroni on loopback: one etcd and two or three nodes, each of which may be killed.

It is the set-up of `deploy/patroni` with shorter times, so that a failover takes seconds. Debian's patroni, etcd-server
and postgresql do the work: `apt-get install patroni etcd-server postgresql-15`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from bench.ha.settings import DATABASE, ENVIRONMENT, EXAMPLE, patroni_yaml
from bench.server import binaries
from crossdock.demo.processes import free_ports

NEEDED = ("patroni", "etcd")
SECONDS_MAX = 90.0
LOOK_SECONDS = 0.05
Found = TypeVar("Found")


class ClusterFailed(Exception):
    """The cluster did not come to the state that was waited for; the end of its log is in the text."""


@dataclass(slots=True)
class Node:
    """One PostgreSQL and the Patroni that runs it. `rest` is the port of Patroni's REST API."""

    name: str
    port: int
    rest: int
    home: Path
    patroni: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def conninfo(self) -> str:
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres connect_timeout=2"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def postmaster(self) -> int | None:
        """Its pid, None if there is none that lives."""
        with suppress(OSError, ValueError, IndexError):
            pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
            if Path(f"/proc/{pid}").exists():
                return pid
        return None

    def answers(self, path: str) -> int:
        """The status of Patroni's answer, 0 for none: `/primary` is 200 on the primary alone, `/sync` on a synchronous
        standby."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.rest}{path}", timeout=2) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def takes_writes(self) -> bool:
        with suppress(psycopg.Error), psycopg.connect(self.conninfo, autocommit=True) as connection:
            return connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)
        return False


@dataclass(slots=True)
class Cluster:
    """`synchronous` off is the planted fault: asynchronous replication, and a commit that waits for the local disk."""

    home: Path
    nodes: Sequence[Node]
    etcd_ports: Sequence[int]
    synchronous: bool = True
    _etcd: subprocess.Popen[bytes] | None = None
    _files: list[Any] = field(default_factory=list)

    def start(self) -> None:
        """Returns when there is a primary, with the roles and the database of Crossdock, and its standbys stream."""
        client, peer = self.etcd_ports
        arguments = [
            "--data-dir", str(self.home / "etcd"), "--name", "etcd",
            "--listen-client-urls", f"http://127.0.0.1:{client}", "--advertise-client-urls", f"http://127.0.0.1:{client}",
            "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
            "--initial-cluster", f"etcd=http://127.0.0.1:{peer}",
        ]  # fmt: skip
        self._etcd = self._run("etcd", ["etcd", *arguments])
        first, *others = self.nodes
        for node in self.nodes:
            node.home.mkdir(mode=0o700)
            (node.home / "patroni.yml").write_text(patroni_yaml(node, client, binaries(), synchronous=self.synchronous))
            shutil.copy(EXAMPLE / "post_bootstrap.sh", node.home)
            if os.geteuid() == 0:
                for path in (node.home, *node.home.iterdir()):
                    shutil.chown(path, "nobody", "nogroup")
        self.revive(first)
        self._until(lambda: self.primary() is first, "the first node is no primary")
        for node in others:
            self.revive(node)
        self.wait_for_standbys()

    def conninfo(self, role: str = "crossdock_app", database: str = DATABASE) -> str:
        """The URL of the whole cluster: whoever takes writes answers."""
        hosts = ",".join(node.address for node in self.nodes)
        return f"postgresql://{role}@{hosts}/{database}?target_session_attrs=read-write"

    def primary(self) -> Node | None:
        """The node that Patroni calls the primary, and that takes writes by now; None while there is none."""
        return next((node for node in self.nodes if node.answers("/primary") == 200 and node.takes_writes()), None)

    def wait_for_primary(self) -> Node:
        return self._found(self.primary, "there is no primary")

    def wait_for_sync_standby(self) -> Node:
        """The synchronous standby, as soon as a commit waits for it. For asynchronous replication, any that streams."""
        return self._found(self._heir, "there is no synchronous standby")

    def wait_for_standbys(self) -> None:
        """Every other node streams, and one of them is the synchronous standby."""
        self._until(lambda: len(self._streaming()) == len(self.nodes) - 1, "not every standby streams")
        self.wait_for_sync_standby()

    def kill_primary(self) -> Node:
        """kill -9 of Patroni and of every process of PostgreSQL on the primary's node, as a power cut would; nothing
        starts it again but `revive`."""
        victim = self.wait_for_primary()
        self.kill(victim)
        return victim

    def kill(self, node: Node) -> None:
        """First Patroni, so that it gives nothing away; then all of PostgreSQL, stopped before it is killed: a backend
        whose postmaster is gone would else still finish what it has begun."""
        if node.patroni is not None:
            node.patroni.kill()
            node.patroni.wait()
            node.patroni = None
        postmaster = node.postmaster()
        family = [] if postmaster is None else [postmaster]
        for pid in family:
            send(pid, signal.SIGSTOP)  # from here on it has no new children
            family = [pid, *offspring(pid)]
        for what in (signal.SIGSTOP, signal.SIGKILL):
            for pid in family:
                send(pid, what)
        self._until(lambda: not any(alive(pid) for pid in family), f"{node.name} does not die")

    def revive(self, node: Node) -> None:
        """Starts its Patroni (again), which rejoins as a standby, by pg_rewind or from a new copy. Returns at once."""
        node.patroni = self._run(node.name, ["patroni", str(node.home / "patroni.yml")])

    def freeze_links(self) -> None:
        """Stops the processes by which the primary sends to its standbys: what it commits from now on stays with it, as
        on a slow network. They end with the primary, or go on by `thaw_links`."""
        for pid in self._senders():
            send(pid, signal.SIGSTOP)

    def thaw_links(self) -> None:
        for pid in self._senders():
            send(pid, signal.SIGCONT)

    def _senders(self) -> list[int]:
        with psycopg.connect(self.wait_for_primary().conninfo, autocommit=True) as connection:
            return [row[0] for row in connection.execute("SELECT pid FROM pg_stat_replication").fetchall()]

    def stop(self) -> None:
        for node in self.nodes:
            with suppress(ClusterFailed):
                self.kill(node)
        if self._etcd is not None:
            self._etcd.kill()
            self._etcd.wait()
        for file in self._files:
            file.close()

    def _streaming(self, state: str = "") -> list[str]:
        """Names of the standbys that stream, of this sync_state alone if one is given."""
        primary = self.primary()
        if primary is None:
            return []
        with suppress(psycopg.Error), psycopg.connect(primary.conninfo, autocommit=True) as connection:
            rows = connection.execute(
                "SELECT application_name, sync_state FROM pg_stat_replication WHERE state = 'streaming'"
            ).fetchall()
            return [name for name, found in rows if state in {"", found}]
        return []

    def _heir(self) -> Node | None:
        """Synchronous for PostgreSQL and for Patroni: only such a one is promoted."""
        streaming = self._streaming("sync" if self.synchronous else "async")
        able = [node for node in self.nodes if node.name in streaming]
        return next((node for node in able if not self.synchronous or node.answers("/sync") == 200), None)

    def _run(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        account = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
        # Files, not pipes: the postmaster inherits them, and a pipe would never end.
        log = (self.home / f"{name}.log").open("ab")
        self._files.append(log)
        path = f"/usr/bin:/bin:{binaries()}"  # Debian's own Python for Patroni, whatever is active here
        environment = {"PATH": path, "HOME": str(self.home), "LC_ALL": "C.UTF-8", **ENVIRONMENT}
        return subprocess.Popen(
            [*account, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=environment
        )

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        self._found(lambda: holds() or None, what)

    def _found(self, look: Callable[[], Found | None], what: str) -> Found:
        """What `look` finds in the end; ClusterFailed if it is nothing for too long."""
        until = time.monotonic() + SECONDS_MAX
        while (found := look()) is None:
            if time.monotonic() > until:
                logs = [f"{one.name}:\n{one.read_text(errors='replace')[-1_500:]}" for one in self.home.glob("*.log")]
                raise ClusterFailed("\n".join([what, *logs]))
            time.sleep(LOOK_SECONDS)
        return found


def send(pid: int, what: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, what)


def offspring(pid: int) -> list[int]:
    """Every process below this one."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(path.parent.name))
    found, left = [], [pid]
    while left:
        below = parents.get(left.pop(), [])
        found += below
        left += below
    return found


def alive(pid: int) -> bool:
    """Whether it runs; one that is dead and only waits to be noticed does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


def missing() -> list[str]:
    """What has to be installed first."""
    return [name for name in NEEDED if shutil.which(name, path="/usr/bin:/bin") is None]


@contextmanager
def cluster(nodes: int = 3, *, synchronous: bool = True) -> Iterator[Cluster]:
    """A cluster that lives as long as the block."""
    if absent := missing():
        raise ClusterFailed(f"Not installed: {json.dumps(absent)}. On Debian: apt-get install patroni etcd-server.")
    home = Path(tempfile.mkdtemp(prefix="crossdock-ha-", dir="/tmp"))
    if os.geteuid() == 0:
        shutil.chown(home, "nobody", "nogroup")
    client, peer, *ports = free_ports(2 + 2 * nodes)
    members = [Node(f"node{at + 1}", ports[2 * at], ports[2 * at + 1], home / f"node{at + 1}") for at in range(nodes)]
    one = Cluster(home, members, (client, peer), synchronous)
    try:
        one.start()
        yield one
    finally:
        one.stop()
        shutil.rmtree(home, ignore_errors=True)
