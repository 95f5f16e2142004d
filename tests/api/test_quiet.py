"""A fresh install opens one port, on loopback, and calls nobody."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from api.house import NORTH, furnish, house_in, settings_in


def _listening() -> set[tuple[str, int]]:
    """What this process listens on, from /proc."""
    mine = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            mine.add(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            continue
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for row in Path(table).read_text().splitlines()[1:]:
            fields = row.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in mine:
                address, port = fields[1].split(":")
                found.add((address, int(port, 16)))
    return found


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs /proc")
def test_a_fresh_install_opens_one_port_and_calls_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[object] = []
    before = _listening()
    with house_in(settings_in(tmp_path)) as house:
        opened = _listening() - before
        assert opened == {("0100007F", house.port)}
        real = socket.getaddrinfo

        def getaddrinfo(host: object, *rest: object, **named: object) -> object:
            if host not in {"127.0.0.1", "::1"}:
                looked_up.append(host)
            return real(host, *rest, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        furnish(house, NORTH)
        house.ok("GET", "/v1/doctor")
    assert looked_up == []
