"""What each node's Patroni is told: the example in `deploy/patroni`, on loopback and with short times."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import yaml

DATABASE = "crossdock"
EXAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "patroni"
PASSWORD = "unused"
"""Everything stays on loopback of one machine, and who may connect is not what is tried here."""

ENVIRONMENT = {"DATABASE_OWNER_PASSWORD": PASSWORD, "DATABASE_APP_PASSWORD": PASSWORD}

TIMES = {"ttl": 5, "loop_wait": 1, "retry_timeout": 2}
"""In seconds. Of a time to writable, `ttl` is the largest part; the example's is 30."""


class Place(Protocol):
    """What a node's configuration is made of."""

    @property
    def name(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def rest(self) -> int: ...
    @property
    def home(self) -> Path: ...
    @property
    def data(self) -> Path: ...


def patroni_yaml(node: Place, etcd: int, binaries: Path, *, synchronous: bool) -> str:
    """`synchronous` off plants the fault: no standby is waited for, and any is promoted, however far behind."""
    told: dict[str, Any] = yaml.safe_load((EXAMPLE / "patroni.yml").read_text(encoding="utf-8"))
    told["name"] = node.name
    told["etcd3"] = {"hosts": f"127.0.0.1:{etcd}"}
    told["restapi"] = dict.fromkeys(("listen", "connect_address"), f"127.0.0.1:{node.rest}")
    cluster = told["bootstrap"]["dcs"]
    cluster |= TIMES
    if not synchronous:
        cluster |= {
            "synchronous_mode": False,
            "synchronous_mode_strict": False,
            "maximum_lag_on_failover": 1_000_000_000,
        }
        cluster["postgresql"]["parameters"]["synchronous_commit"] = "local"
    told["bootstrap"]["post_bootstrap"] = str(node.home / "post_bootstrap.sh")
    told["postgresql"] |= {
        **dict.fromkeys(("listen", "connect_address"), f"127.0.0.1:{node.port}"),
        "data_dir": str(node.data),
        "bin_dir": str(binaries),
        "pgpass": str(node.home / "pgpass"),
        "pg_hba": [
            "local all all trust",
            "host all all 127.0.0.1/32 trust",
            "host replication all 127.0.0.1/32 trust",
        ],
        "parameters": {"unix_socket_directories": str(node.home)},
    }
    for role in told["postgresql"]["authentication"].values():
        role["password"] = PASSWORD
    told["watchdog"] = {"mode": "off"}
    return yaml.safe_dump(told, sort_keys=False)
