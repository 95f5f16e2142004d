"""The driver port: reviewed code that speaks one protocol. Direction and store are not its business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from crossdock.model.attempt import Answer
from crossdock.model.ids import CorrelationId, EventId, Instant, Json, JsonObject, Position
from crossdock.stores.ways import Way


@dataclass(frozen=True, slots=True)
class Parcel:
    """One event, minimised to the contract's field list, ready to be rendered. `idempotency_key` is stable over
    retries; `key` is the ordering key ('' without one)."""

    position: Position
    event_id: EventId
    type: str
    source: str
    occurred_at: Instant
    data: JsonObject
    idempotency_key: str
    key: str
    correlation_id: CorrelationId
    attempt: int
    replay: bool = False
    traceparent: str | None = None
    extensions: tuple[tuple[str, Json], ...] = ()


class Driver(Protocol):
    """`deliver` never raises for what the far end does or says: that is an `Answer`."""

    name: str

    async def deliver(self, way: Way, parcels: tuple[Parcel, ...], now: Instant) -> tuple[Answer, ...]:
        """One answer per parcel, in order. Several parcels only where the route has a batch rule."""
        ...
