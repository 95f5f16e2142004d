"""A fresh install opens one port, on loopback, and calls nobody: seen from outside, by the kernel's own tables."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from journeys.floor import SECRET, Floor, floor_in, product, receiving

LISTEN = "0A"
pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs /proc")


def sockets_of(pid: int) -> dict[str, list[tuple[str, str, str]]]:
    """(local, remote, state) of each socket of the process, by table; hexadecimal as the kernel writes it."""
    owned = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            found = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{name}"))
            owned |= {found[1]} if found else set()
    tables: dict[str, list[tuple[str, str, str]]] = {}
    for table in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
        for row in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = row.split()
            if fields[9] in owned:
                tables.setdefault(table, []).append((fields[1], fields[2], fields[3]))
    return tables


def assert_one_port(floor: Floor) -> None:
    assert floor.process is not None
    found = sockets_of(floor.process.pid)
    assert set(found) <= {"tcp"}
    here = f"0100007F:{floor.house.port:04X}"
    assert [local for local, _, state in found["tcp"] if state == LISTEN] == [here]
    # What is not the listener is somebody's connection to it.
    assert {local for local, _, _ in found["tcp"]} == {here}


def a_day(floor: Floor) -> None:
    """What a new owner does first, short of enabling an integration."""
    house = floor.house
    floor.store("north")
    made = house.ok("POST", "/v1/stores/north/connections", {"integration": "orders.shopify"})
    base = f"/v1/stores/north/connections/{made['id']}"
    house.ok("PUT", f"{base}/credentials/client_secret", {"value": "a client secret"})
    house.call("POST", f"{base}/validate")
    floor.publish("north", product("A-1"))
    for path in ("/v1/doctor", "/metrics", "/docs", "/openapi.json", "/v1/integrations"):
        assert house.call("GET", path).status == 200


def calls_of(trace: Path) -> list[str]:
    """Every try to reach another process over the internet's protocols, a look-up of a name included."""
    return [line for line in trace.read_text().splitlines() if re.search(r"\b(connect|sendto)\(.*AF_INET", line)]


def can_trace() -> bool:
    tool = shutil.which("strace")
    return tool is not None and subprocess.run([tool, "-o", "/dev/null", "true"], check=False).returncode == 0


def traced(trace: Path) -> list[str]:
    """-D: the tracer stands aside, so that the process keeps its id and its signals."""
    return ["strace", "-D", "-f", "-qq", "-s", "64", "-e", "trace=connect,sendto,bind,listen", "-o", str(trace)]


def test_a_fresh_install_listens_on_one_loopback_port(tmp_path: Path) -> None:
    with floor_in(tmp_path) as floor:
        assert_one_port(floor)
        a_day(floor)
        assert_one_port(floor)


@pytest.mark.skipif(not can_trace(), reason="needs strace, and leave to use it")
def test_a_fresh_install_calls_nobody_until_a_store_enables_something(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with receiving() as receiver, floor_in(tmp_path, receiver.address, argv=traced(trace)) as floor:
        a_day(floor)
        assert calls_of(trace) == []
        text = trace.read_text()
        assert len(re.findall(r"bind\(.*AF_INET", text)) == 1
        # The trace would have shown it: an enabled webhook is a call, and to that very address.
        floor.connect("north", "webhook.custom", {"url": f"http://{receiver.address}/x"}, signing_secret=SECRET)
        floor.publish("north", product("A-2"))
        receiver.wait_for(1)
        made = calls_of(trace)
        assert made
        port = receiver.address.rpartition(":")[2]
        assert all(f"htons({port})" in line and '"127.0.0.1"' in line for line in made)
