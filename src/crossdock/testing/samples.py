"""Values for the conformance suites: plain, complete, and different where it matters."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from crossdock.model.attempt import Answer, AnswerKind, Attempt
from crossdock.model.connection import AuditEntry, Connection, ConnectionState, Store
from crossdock.model.entry import Draft
from crossdock.model.errors import CrossdockError
from crossdock.model.ids import (
    ConnectionId,
    ContractId,
    CorrelationId,
    EventId,
    Instant,
    LaneId,
    Position,
    RouteName,
    StoreId,
)
from crossdock.model.lane import Held, HeldState
from crossdock.stores.port import Change, Engine, Write

NORTH, SOUTH = StoreId("north"), StoreId("south")
NOW = Instant(1_000_000)
E = TypeVar("E", bound=CrossdockError)


def draft(key: str, *, store: StoreId = NORTH, origin: str = "core", print_: bytes = b"1") -> Draft:
    return Draft(
        store=store,
        origin=origin,
        dedupe_key=key,
        fingerprint=print_ * 32,
        event_id=EventId(key),
        type="product.changed",
        schema_major=2,
        source=f"/{store}",
        occurred_at=Instant(1),
        received_at=NOW,
        correlation_id=CorrelationId(f"{key}-c"),
        body=f"{store}:{key}".encode(),
    )


def drafts(count: int, *, store: StoreId = NORTH, first: int = 1) -> list[Draft]:
    return [draft(f"e{number}", store=store) for number in range(first, first + count)]


def lane_id(name: str = "one", *, store: StoreId = NORTH) -> LaneId:
    return LaneId(store, ConnectionId(f"con_{name}"), RouteName("out"))


def held(position: int, state: HeldState = HeldState.RETRYING, *, key: str = "", not_before: int = 0) -> Held:
    return Held(Position(position), state, Instant(not_before), 1, key, "http_503", NOW)


def attempt(position: int, number: int = 1) -> Attempt:
    answer = Answer(AnswerKind.BUSY, "http_503", 12, 503, 4_000)
    event_id, correlation = EventId(f"e{position}"), CorrelationId("c")
    return Attempt(Position(position), event_id, number, NOW, answer, "retry", correlation, Instant(NOW + 1))


def audit(action: str = "test.changed", store: StoreId | None = NORTH) -> AuditEntry:
    return AuditEntry(NOW, "tester", action, store, "a thing", "done", CorrelationId("c"), {"n": 1})


def connection(name: str = "one", *, store: StoreId = NORTH, version: int = 1, label: str = "") -> Connection:
    id, contract = ConnectionId(f"con_{name}"), ContractId("webhook.custom")
    return Connection(id, store, contract, ConnectionState.DRAFT, 0, label, NOW, version=version)


def a_store(store: StoreId = NORTH) -> Store:
    return Store(store, str(store).title(), NOW, b"wrapped")


async def write(engine: Engine, *writes: Write) -> None:
    await engine.registry.commit(Change(tuple(writes), (audit(),)))


async def raised(kind: type[E], work: Awaitable[object]) -> E:
    """The error of that kind that `work` raises; AssertionError if it raises none."""
    try:
        await work
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")
