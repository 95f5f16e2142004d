"""What each node's Patroni is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import yaml

DATABASE = "crossdock"

TTL_SECONDS = 5
"""How long the primary's key in etcd lives unless it is renewed: after that a standby may take over. Production takes
30: a short one fails over when the primary is merely slow."""
LOOP_SECONDS = 1
RETRY_SECONDS = 2

PARAMETERS: dict[str, Any] = {
    "max_connections": 100,
    "shared_buffers": "128MB",
    "wal_level": "replica",
    "max_wal_senders": 10,
    "max_replication_slots": 10,
    "wal_keep_size": "256MB",
    "fsync": "on",
    "full_page_writes": "on",
    # How soon a standby that lost its primary asks for another, else 5 s. After a failover commits wait for it.
    "wal_retrieve_retry_interval": "500ms",
    "checkpoint_timeout": "15min",
    "max_wal_size": "1GB",
}


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
    """Strict: a primary without a synchronous standby takes no writes, rather than acknowledge what one disk holds."""
    commit = "on" if synchronous else "local"
    return yaml.safe_dump(
        {
            "scope": "crossdock",
            "name": node.name,
            "restapi": {"listen": f"127.0.0.1:{node.rest}", "connect_address": f"127.0.0.1:{node.rest}"},
            "etcd3": {"hosts": f"127.0.0.1:{etcd}"},
            "bootstrap": {
                "dcs": {
                    "ttl": TTL_SECONDS,
                    "loop_wait": LOOP_SECONDS,
                    "retry_timeout": RETRY_SECONDS,
                    "synchronous_mode": synchronous,
                    "synchronous_mode_strict": synchronous,
                    # Of the planted fault alone: a standby that is behind may be promoted.
                    "maximum_lag_on_failover": 1_048_576_000,
                    "postgresql": {
                        "use_pg_rewind": True,
                        "use_slots": True,
                        "parameters": {**PARAMETERS, "synchronous_commit": commit},
                    },
                },
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, "data-checksums"],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{node.port}",
                "connect_address": f"127.0.0.1:{node.port}",
                "data_dir": str(node.data),
                "bin_dir": str(binaries),
                "pgpass": str(node.home / "pgpass"),
                # Everything stays on loopback of one machine: who may connect is not what is tried here.
                "pg_hba": [
                    "local all all trust",
                    "host all all 127.0.0.1/32 trust",
                    "host replication all 127.0.0.1/32 trust",
                ],
                "parameters": {"unix_socket_directories": str(node.home)},
                "authentication": {
                    "superuser": {"username": "postgres", "password": "unused"},
                    "replication": {"username": "replicator", "password": "unused"},
                    "rewind": {"username": "rewinder", "password": "unused"},
                },
                # A copy that waits for a spread checkpoint would begin minutes later.
                "basebackup": [{"checkpoint": "fast"}],
                "remove_data_directory_on_rewind_failure": True,
                "remove_data_directory_on_diverged_timelines": True,
            },
            "watchdog": {"mode": "off"},
        },
        sort_keys=False,
    )
