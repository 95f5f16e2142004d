"""The few lines that Crossdock writes: one wide line per turn of work, never a body, a header value or a token.

`LINES` lists every line with its fields; another name or field is a Bug in tests. Metrics are counted from the same
lines (observe/metrics.py), so the two cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Value: TypeAlias = str | int | float | bool | None
Sink: TypeAlias = "Callable[[str, dict[str, Value]], None]"

LINES: dict[str, frozenset[str]] = {
    "process.started": frozenset({"environment", "engine", "address", "version", "role", "worker"}),
    "process.draining": frozenset({"reason"}),
    "process.stopped": frozenset({"clean"}),
    "worker.died": frozenset({"worker", "pid", "status", "again_in_ms"}),
    "ingest.accepted": frozenset(
        {
            "store",
            "origin",
            "connection",
            "route",
            "type",
            "events",
            "outcome",
            "position",
            "correlation",
            "took_ms",
        }
    ),
    "ingest.refused": frozenset({"store", "connection", "status", "code", "correlation", "took_ms"}),
    "delivery.attempted": frozenset(
        {
            "store",
            "connection",
            "route",
            "position",
            "event",
            "attempt",
            "answer",
            "code",
            "next",
            "retry_in_ms",
            "took_ms",
            "correlation",
            "items",
        }
    ),
    "delivery.settled": frozenset(
        {
            "store",
            "connection",
            "route",
            "delivered",
            "superseded",
            "filtered",
            "expired",
            "held",
            "parked",
            "cursor",
        }
    ),
    "delivery.stale": frozenset({"store", "connection", "route"}),
    "delivery.paused": frozenset({"store", "connection", "reason"}),
    "delivery.failed": frozenset({"store", "connection", "route", "error", "code"}),
    "delivery.slots": frozenset({"member", "members", "gained", "lost", "owned"}),
    "delivery.lapsed": frozenset({"member", "late_ms"}),
    "control.changed": frozenset({"store", "actor", "action", "object", "outcome", "correlation"}),
    "engine.failed": frozenset({"engine", "code", "error"}),
}


class Lines:
    """Hands each line to every sink. Sinks are quick and do not raise."""

    def __init__(self, *sinks: Sink) -> None:
        self._sinks = sinks

    def write(self, name: str, **fields: Value) -> None:
        for sink in self._sinks:
            sink(name, fields)
