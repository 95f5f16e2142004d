"""Prometheus metrics, counted from the same lines that are written. No label holds a store, a connection or an id."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from crossdock.journal.port import Lanes
from crossdock.observe.lines import LINES, Value

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


@dataclass(frozen=True, slots=True)
class Meters:
    lines: Counter
    accepted: Counter
    refused: Counter
    attempts: Counter
    settled: Counter
    changes: Counter
    ingest_seconds: Histogram
    attempt_seconds: Histogram
    lanes: Gauge
    waiting: Gauge
    parked: Gauge
    unbalanced: Gauge


def _meters(registry: CollectorRegistry) -> Meters:
    def counter(name: str, text: str, *labels: str) -> Counter:
        return Counter(f"crossdock_{name}", text, labels, registry=registry)

    def gauge(name: str, text: str) -> Gauge:
        return Gauge(f"crossdock_{name}", text, registry=registry)

    def seconds(name: str, text: str) -> Histogram:
        return Histogram(f"crossdock_{name}", text, buckets=SECONDS, registry=registry)

    return Meters(
        lines=counter("lines", "Lines written, by name.", "line"),
        accepted=counter("ingest_events", "Events that ingest answered for, by outcome.", "outcome"),
        refused=counter("ingest_refused", "Requests that ingest refused, by status.", "status"),
        attempts=counter("delivery_attempts", "Tries to deliver, by answer and what follows.", "answer", "next"),
        settled=counter("delivery_settled", "Entries resolved, by how they ended.", "end"),
        changes=counter("control_changes", "Changes of configuration, by outcome.", "outcome"),
        ingest_seconds=seconds("ingest_seconds", "Time from a request to its answer."),
        attempt_seconds=seconds("delivery_attempt_seconds", "Time of one try to deliver."),
        lanes=gauge("lanes", "Lanes that there are."),
        waiting=gauge("entries_waiting", "Entries after the cursors, and held to be tried again."),
        parked=gauge("entries_parked", "Entries set aside for a person."),
        unbalanced=gauge("ledgers_unbalanced", "Ledgers that do not close: 0, or something is wrong."),
    )


class _Labelled(Collector):
    def __init__(self, registry: CollectorRegistry, labels: Mapping[str, str]) -> None:
        self._registry = registry
        self._labels = labels

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [one._replace(labels={**self._labels, **one.labels}) for one in metric.samples]
            yield metric


ENDS = ("delivered", "superseded", "filtered", "expired", "parked")


class Metrics:
    """A sink for lines, and the text of a scrape. `labels` stand on every sample: which of several processes has
    answered."""

    def __init__(self, labels: Mapping[str, str] | None = None) -> None:
        self._labels = dict(labels or {})
        disable_created_metrics()  # type: ignore[no-untyped-call]  # twice the series, for what nobody asks
        self._registry = CollectorRegistry()
        self._meters = _meters(self._registry)
        self._count: Mapping[str, Callable[[dict[str, Value]], None]] = {
            "ingest.accepted": self._accepted,
            "ingest.refused": self._refused,
            "delivery.attempted": self._attempted,
            "delivery.settled": self._settled,
            "control.changed": self._changed,
        }

    def __call__(self, name: str, fields: dict[str, Value]) -> None:
        self._meters.lines.labels(name if name in LINES else "other").inc()
        count = self._count.get(name)
        if count is not None:
            count(fields)

    async def scrape(self, lanes: Lanes) -> bytes:
        """The text format; the gauges are read from the engine in one snapshot."""
        ledgers = await lanes.ledgers()
        self._meters.lanes.set(len(ledgers))
        self._meters.waiting.set(sum(one.waiting for one in ledgers))
        self._meters.parked.set(sum(one.parked for one in ledgers))
        self._meters.unbalanced.set(sum(not one.closes for one in ledgers))
        return generate_latest(self._registry if not self._labels else _Labelled(self._registry, self._labels))

    def _accepted(self, fields: dict[str, Value]) -> None:
        self._meters.accepted.labels(str(fields.get("outcome", "accepted"))).inc(_number(fields.get("events"), 1))
        self._meters.ingest_seconds.observe(_number(fields.get("took_ms"), 0) / 1000)

    def _refused(self, fields: dict[str, Value]) -> None:
        self._meters.refused.labels(str(fields.get("status", ""))).inc()

    def _attempted(self, fields: dict[str, Value]) -> None:
        answer, following = str(fields.get("answer", "")), str(fields.get("next", ""))
        self._meters.attempts.labels(answer, following).inc(_number(fields.get("items"), 1))
        self._meters.attempt_seconds.observe(_number(fields.get("took_ms"), 0) / 1000)

    def _settled(self, fields: dict[str, Value]) -> None:
        for end in ENDS:
            self._meters.settled.labels(end).inc(_number(fields.get(end), 0))

    def _changed(self, fields: dict[str, Value]) -> None:
        self._meters.changes.labels(str(fields.get("outcome", ""))).inc()


def _number(value: Value, otherwise: float) -> float:
    return max(0.0, float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else otherwise
