"""An installation with rows in every table, and with values that two databases could keep differently."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from crossdock.engines.sqlite.engine import SqliteEngine
from crossdock.model.attempt import Answer, AnswerKind, Attempt
from crossdock.model.connection import (
    AuditEntry,
    Connection,
    ConnectionState,
    CoreEndpoint,
    CoreMode,
    Credential,
    Revision,
    Role,
    Store,
    Token,
)
from crossdock.model.contract import Queued
from crossdock.model.entry import Draft
from crossdock.model.ids import (
    START,
    ConnectionId,
    ContractId,
    CorrelationId,
    EventId,
    Instant,
    LaneId,
    Position,
    RouteName,
    StoreId,
    TokenId,
)
from crossdock.model.lane import Counts, Held, HeldState, LaneChange
from crossdock.stores.port import (
    AddConnection,
    AddRevision,
    AddStore,
    AddToken,
    Change,
    CloseLane,
    Engine,
    OpenLane,
    PutCoreEndpoint,
    PutCredential,
    RevokeToken,
    Write,
)

NOW = Instant(1_700_000_000_123)
ODD = "Käse 🧀 'quoted' \"twice\" \\ {a,b} ~\x7f \u200b\U0010fffd"
T = TypeVar("T")


def connection_of(store: StoreId, name: str = "a") -> ConnectionId:
    return ConnectionId(f"con_{store}_{name}")


def lane_of(store: StoreId, name: str = "a", route: str = "out") -> LaneId:
    return LaneId(store, connection_of(store, name), RouteName(route))


def draft(store: StoreId, number: int, print_: bytes = b"1") -> Draft:
    plain = number % 3 == 0
    return Draft(
        store=store,
        origin="core" if number % 2 else f"{connection_of(store)}/in",
        dedupe_key=f"key {number} {ODD}",
        fingerprint=print_ * 32,
        event_id=EventId(f"e{number}"),
        type="product.changed",
        schema_major=2,
        source=f"/{store}/{ODD}",
        occurred_at=Instant(NOW - number),
        received_at=Instant(NOW + number),
        correlation_id=CorrelationId(f"c{number}"),
        body=bytes(range(256)) * (1 + number % 4),
        personal=None if plain else b"\x00sealed\xff",
        subject_ref=None if plain else bytes([number % 7]) * 32,
        subject_key=None if plain else bytes([number % 7]) * 48,
        traceparent=None if plain else "00-1-2-01",
        caused_by=None if plain else connection_of(store),
        hops=number % 5,
    )


def held(position: int, state: HeldState) -> Held:
    return Held(Position(position), state, Instant(NOW + 5), 3, ODD, "http_503", NOW, state is HeldState.PARKED)


def attempt(position: int, *, told: bool) -> Attempt:
    answer = Answer(AnswerKind.BUSY, "http_503", 12, 503 if told else None, 4_000 if told else None)
    later = Instant(NOW + 1) if told else None
    return Attempt(
        Position(position), EventId(f"e{position}"), 1, NOW, answer, "retry", CorrelationId(f"c{position}"), later
    )


def audit(store: StoreId | None, action: str = "test.changed") -> AuditEntry:
    return AuditEntry(NOW, f"tester {ODD}", action, store, ODD, "done", CorrelationId("c"), {"n": 1, "odd": ODD})


def first_writes(store: StoreId) -> list[Write]:
    con = connection_of(store)
    one = Connection(con, store, ContractId("webhook.custom"), ConnectionState.ENABLED, 2, ODD, NOW, "because", 3)
    token = Token(TokenId(f"tok-{store}"), b"\x00" * 32, Role.STORE_ADMIN, store, ODD, NOW, Instant(NOW + 9))
    sealed = Credential(
        store, con, "api_key", b"\x00\x01", ("a.example", "b.example"), 4, NOW, b"\xff", Instant(NOW + 1)
    )
    return [
        AddStore(Store(store, ODD, NOW, b"\x00key\xff")),
        AddConnection(one),
        AddConnection(replace(one, id=connection_of(store, "b"), reason="", version=1)),
        *(AddRevision(Revision(con, store, number, "1.0.0", {"odd": [ODD, 1, None]}, "me", NOW)) for number in (1, 2)),
        PutCredential(sealed, 0),
        PutCredential(replace(sealed, name="other", previous=None, previous_until=None), 0),
        PutCoreEndpoint(CoreEndpoint(store, CoreMode.PUSH, "https://core.example", b"\x00", 7), 0),
        AddToken(token),
        AddToken(replace(token, id=TokenId(f"tok2-{store}"))),
        RevokeToken(TokenId(f"tok2-{store}"), NOW),
        *(OpenLane(lane_of(store, name, route)) for name in "ab" for route in ("out", "back")),
    ]


async def fill(engine: Engine, store: StoreId, entries: int = 40) -> None:
    """Rows in every table that holds a store's data: lanes that are open, behind, closed and reopened; every state of a
    held row; conflicts; attempts."""
    await engine.registry.commit(Change(tuple(first_writes(store)), (audit(store),)))
    await engine.journal.append([draft(store, number) for number in range(1, entries + 1)])
    await engine.journal.append([draft(store, number, b"2") for number in (1, 3, 2)])
    await turn(engine, store)
    closed, reopened = lane_of(store, "a", "back"), lane_of(store, "b", "back")
    shut = (CloseLane(closed, Queued.DISCARD), CloseLane(reopened, Queued.HOLD))
    await engine.registry.commit(Change(shut, (audit(store, "lane.closed"), audit(None, "platform.saw"))))
    await engine.journal.append([draft(store, entries + 1)])
    await engine.registry.commit(Change((OpenLane(reopened),), (audit(store, "lane.opened"),)))


async def turn(engine: Engine, store: StoreId) -> None:
    """The first six entries of two lanes."""
    hold = (held(2, HeldState.RETRYING), held(3, HeldState.WAITING), held(4, HeldState.PARKED))
    attempts = tuple(attempt(position, told=position != 4) for position in (1, 2, 4))
    changes = [
        LaneChange(lane, 0, START, Position(6), Counts(delivered=1, superseded=1, filtered=1), hold, (), attempts)
        for lane in (lane_of(store), lane_of(store, "b"))
    ]
    assert await engine.lanes.settle(changes) == [True, True]


async def platform(engine: Engine) -> None:
    token = Token(TokenId("tok-platform"), b"\x01" * 32, Role.PLATFORM_ADMIN, None, "first", NOW, Instant(NOW + 9))
    await engine.registry.commit(Change((AddToken(token),), (audit(None, "token.issued"),)))


async def with_sqlite(path: Path, work: Callable[[SqliteEngine], Awaitable[T]]) -> T:
    engine = SqliteEngine(path, lambda: NOW)
    await engine.start()
    try:
        return await work(engine)
    finally:
        await engine.close()
