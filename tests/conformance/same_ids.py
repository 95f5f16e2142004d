"""Two stores that hold the same ids wherever two stores can, and every call that one of them can make of an engine.

The other store's texts, bytes and numbers are canaries: none of them may come back in an answer."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from crossdock.journal.port import LaneWish
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
from crossdock.model.lane import Counts, Gate, Held, HeldState, LaneChange
from crossdock.stores.port import (
    AddConnection,
    AddRevision,
    AddStore,
    AddToken,
    Change,
    CloseLane,
    DropCredential,
    Engine,
    MoveConnection,
    OpenLane,
    PutCoreEndpoint,
    PutCredential,
    ReplayHeld,
    ReplayResolved,
    RevokeToken,
    SetWeight,
    Write,
)
from crossdock.testing.samples import NORTH

EAST = StoreId("east")
"""It comes before NORTH in every index: a query that forgets its store finds EAST's row first."""
CANARY = "canary-of-the-east"
CANARY_NUMBER = 770_077_007
SUBJECT = b"r" * 32
KEYS = [f"e{number}" for number in range(1, 9)]
NOW = Instant(1_000_000)

Call = Callable[[Engine], Awaitable[Any]]


class Rows:
    """What one store holds. `mark` and `number` stand in every text and number that is the store's own."""

    def __init__(self, store: StoreId, mark: str, number: int) -> None:
        self.id, self.mark, self.at = store, mark, Instant(number)
        # A connection's id and a token's are unique over the installation.
        self.connection_id, self.token_id = ConnectionId(f"con_{store}"), TokenId(f"token-{store}")

    def lane(self, connection: str = "con_a", route: str = "out") -> LaneId:
        return LaneId(self.id, ConnectionId(connection), RouteName(route))

    def draft(self, key: str, print_: bytes = b"1") -> Draft:
        return Draft(
            store=self.id,
            origin="core",
            dedupe_key=key,
            fingerprint=print_ * 32,
            event_id=EventId(key),
            type="product.changed",
            schema_major=2,
            source=f"/{self.mark}",
            occurred_at=self.at,
            received_at=self.at,
            correlation_id=CorrelationId(f"{key}-{self.mark}"),
            body=f"body {self.mark}".encode(),
            personal=f"personal {self.mark}".encode(),
            subject_ref=SUBJECT,
            subject_key=f"key {self.mark}".encode(),
            traceparent=self.mark,
            caused_by=ConnectionId(self.mark),
        )

    def held(self, position: int, state: HeldState) -> Held:
        return Held(Position(position), state, self.at, 1, "a-key", self.mark, self.at)

    def attempt(self, position: int) -> Attempt:
        answer = Answer(AnswerKind.BUSY, self.mark, self.at, 503, self.at)
        event, correlation = EventId(f"e{position}"), CorrelationId(self.mark)
        return Attempt(Position(position), event, 1, self.at, answer, "retry", correlation, self.at)

    def turn(self, lane: LaneId) -> LaneChange:
        """The first four entries of a lane: one delivered, one of each state held."""
        hold = (
            self.held(2, HeldState.RETRYING),
            self.held(3, HeldState.WAITING),
            self.held(4, HeldState.PARKED),
        )
        attempts = tuple(self.attempt(position) for position in (1, 2, 4))
        return LaneChange(lane, 0, START, Position(4), Counts(delivered=1), hold, (), attempts)

    def connection(self, version: int = 1) -> Connection:
        contract = ContractId("webhook.custom")
        values = (ConnectionState.DRAFT, 1, self.mark, self.at, self.mark, version)
        return Connection(self.connection_id, self.id, contract, *values)

    def credential(self, version: int = 1, name: str = "api_key") -> Credential:
        sealed, hosts = self.mark.encode(), (f"{self.mark}.example",)
        return Credential(self.id, self.connection_id, name, sealed, hosts, version, self.at, sealed, self.at)

    def revision(self, number: int) -> Revision:
        return Revision(self.connection_id, self.id, number, "1.0.0", {"is": self.mark}, self.mark, self.at)

    def endpoint(self, version: int) -> CoreEndpoint:
        return CoreEndpoint(self.id, CoreMode.PUSH, f"https://{self.mark}.example", self.mark.encode(), version)

    def token(self, id: TokenId) -> Token:
        return Token(id, self.mark.encode(), Role.STORE_ADMIN, self.id, "ci", self.at, self.at)

    def audit(self) -> AuditEntry:
        told = (self.mark, "test.changed", self.id, self.mark, "done", CorrelationId(self.mark))
        return AuditEntry(self.at, *told, {"is": self.mark, "n": self.at})

    def change(self, *writes: Write) -> Change:
        return Change(writes, (self.audit(),))

    async def fill(self, engine: Engine) -> None:
        """Rows in every table that holds a store's data."""
        lanes = (self.lane(), self.lane(route="back"), self.lane("con_b"))
        await engine.registry.commit(
            self.change(
                AddStore(Store(self.id, self.mark, self.at, self.mark.encode())),
                AddConnection(self.connection()),
                AddRevision(self.revision(1)),
                PutCredential(self.credential(), 0),
                PutCoreEndpoint(self.endpoint(1), 0),
                AddToken(self.token(self.token_id)),
                *(OpenLane(lane) for lane in lanes),
            )
        )
        await engine.journal.append([self.draft(key) for key in KEYS[:6]])
        await engine.journal.append([self.draft(KEYS[0], b"2")])
        assert await engine.lanes.settle([self.turn(lane) for lane in lanes[:2]]) == [True, True]


NORTHS = Rows(NORTH, "own", 5_000)
EASTS = Rows(EAST, CANARY, CANARY_NUMBER)


def reads() -> dict[str, Call]:
    """Every read that names a store, as NORTH asks it."""
    north, lane = NORTHS, NORTHS.lane()
    wishes = [LaneWish(one, 5) for one in (lane, north.lane(route="back"), north.lane("con_b"))]
    subject = SUBJECT
    return {
        "read": lambda e: e.journal.read(NORTH, START, 99),
        "entry": lambda e: e.journal.entry(NORTH, Position(1)),
        "find": lambda e: e.journal.find(NORTH, EventId("e1")),
        "head": lambda e: e.journal.head(NORTH),
        "subject_key": lambda e: e.journal.subject_key(NORTH, subject),
        "conflicts": lambda e: e.journal.conflicts(NORTH, 99),
        "open_lanes": lambda e: e.lanes.open_lanes([NORTH]),
        "lane": lambda e: e.lanes.lane(lane),
        "read_lanes": lambda e: e.lanes.read(wishes, Instant(9_999_999_999)),
        "ledgers": lambda e: e.lanes.ledgers(NORTH),
        "held": lambda e: e.lanes.held(lane, None, START, 99),
        "held_retrying": lambda e: e.lanes.held(lane, HeldState.RETRYING, START, 99),
        "held_parked": lambda e: e.lanes.held(lane, HeldState.PARKED, START, 99),
        "attempts": lambda e: e.lanes.attempts(lane, 99),
        "attempts_at": lambda e: e.lanes.attempts(lane, 99, Position(2)),
        "store": lambda e: e.registry.store(NORTH),
        "connections": lambda e: e.registry.connections(NORTH),
        "connection": lambda e: e.registry.connection(north.connection_id),
        "revisions": lambda e: e.registry.revisions(NORTH, north.connection_id),
        "revision": lambda e: e.registry.revision(NORTH, north.connection_id, 1),
        "credentials": lambda e: e.registry.credentials(NORTH, north.connection_id),
        "others_revisions": lambda e: e.registry.revisions(NORTH, EASTS.connection_id),
        "others_revision": lambda e: e.registry.revision(NORTH, EASTS.connection_id, 1),
        "others_credentials": lambda e: e.registry.credentials(NORTH, EASTS.connection_id),
        "core_endpoint": lambda e: e.registry.core_endpoint(NORTH),
        "token": lambda e: e.registry.token(north.token_id),
        "tokens": lambda e: e.registry.tokens(NORTH),
        "audit": lambda e: e.registry.audit(NORTH, 0, 99),
    }


def changes() -> dict[str, Call]:
    """Every call that writes, as NORTH makes it."""
    north, lane, back = NORTHS, NORTHS.lane(), NORTHS.lane(route="back")
    turn = LaneChange(
        lane=lane,
        epoch=0,
        cursor_from=Position(4),
        cursor_to=Position(6),
        counts=Counts(delivered=2),
        hold=(north.held(3, HeldState.PARKED), north.held(6, HeldState.RETRYING)),
        release=(Position(2),),
        attempts=(north.attempt(2), north.attempt(6)),
    )
    writes: Mapping[str, Write] = {
        "move_connection": MoveConnection(north.connection(2), 1),
        "add_revision": AddRevision(north.revision(2)),
        "put_credential": PutCredential(north.credential(2), 1),
        "put_others_credential": PutCredential(replace(north.credential(2), connection=EASTS.connection_id), 1),
        "add_credential": PutCredential(north.credential(1, "other"), 0),
        "drop_credential": DropCredential(NORTH, north.connection_id, "other"),
        "drop_others_credential": DropCredential(NORTH, EASTS.connection_id, "api_key"),
        "move_others_connection": MoveConnection(replace(north.connection(2), id=EASTS.connection_id), 1),
        "add_others_connection": AddConnection(replace(north.connection(1), id=EASTS.connection_id)),
        "put_core_endpoint": PutCoreEndpoint(north.endpoint(2), 1),
        "add_token": AddToken(north.token(TokenId("another"))),
        "add_others_token": AddToken(north.token(EASTS.token_id)),
        "revoke_token": RevokeToken(north.token_id, NOW),
        "open_lane": OpenLane(north.lane("con_c")),
        "replay_held": ReplayHeld(lane, (Position(3), Position(4)), NOW),
        "replay_resolved": ReplayResolved(lane, (Position(1),), ("a-key",), NOW),
        "keep_lane": CloseLane(lane, Queued.HOLD),
        "reopen_lane": OpenLane(lane),
        "discard_lane": CloseLane(back, Queued.DISCARD),
        "add_connection": AddConnection(replace(north.connection(1), id=ConnectionId("con_new"))),
        "add_store": AddStore(Store(StoreId("west"), "own", NOW, b"own")),
        "set_weight": SetWeight(NORTH, 4),
        "add_others_store": AddStore(Store(EAST, "own", NOW, b"own")),
    }
    calls: dict[str, Call] = {
        "append": lambda e: e.journal.append([north.draft(key) for key in KEYS]),
        "conflict": lambda e: e.journal.append([north.draft(KEYS[1], b"3")]),
        "other_key": lambda e: e.journal.append([replace(north.draft("e9"), subject_key=b"new")]),
        "settle": lambda e: e.lanes.settle([turn]),
        "closing": lambda e: e.journal.gate(NORTH, Gate.CLOSING, 3),
        "refused": lambda e: e.journal.append([north.draft("e10")]),
        "shut": lambda e: e.journal.gate(NORTH, Gate.SHUT),
        "opened": lambda e: e.journal.gate(NORTH, Gate.OPEN),
    }
    for name, write in writes.items():
        calls[name] = _commit(north.change(write))
    return calls


def _commit(change: Change) -> Call:
    return lambda engine: engine.registry.commit(change)


def platform_calls() -> dict[str, Call]:
    """Calls that look across stores: they may name EAST, and change nothing. What stands in them is for the platform's
    own eyes."""
    return {
        "moved": lambda e: e.journal.moved(0),
        "all_open_lanes": lambda e: e.lanes.open_lanes(),
        "stirring": lambda e: e.lanes.stirring(range(1_024)),
        "all_ledgers": lambda e: e.lanes.ledgers(),
        "stores": lambda e: e.registry.stores(),
        "all_tokens": lambda e: e.registry.tokens(),
        "all_audit": lambda e: e.registry.audit(None, 0, 999),
        "changes": lambda e: e.registry.changes(0),
    }


async def answers(engine: Engine) -> dict[str, Any]:
    """What NORTH hears: reads before and after every write. An error is an answer, by its kind."""
    calls = {f"before {name}": call for name, call in reads().items()} | changes()
    calls |= {f"after {name}": call for name, call in reads().items()}
    heard = {name: await heard_of(call, engine) for name, call in calls.items()}
    for call in platform_calls().values():
        await heard_of(call, engine)
    return heard


async def heard_of(call: Call, engine: Engine) -> Any:
    try:
        return await call(engine)
    except Exception as error:  # noqa: BLE001  # a query that is no SQL any more says so; that is no leak
        return error


def betrayed(answer: Any) -> bool:
    """Whether anything of EAST stands in an answer, or in an error's text."""
    return re.search(f"{CANARY}|{CANARY_NUMBER}", repr(answer) + str(answer)) is not None
