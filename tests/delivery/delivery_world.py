"""A small world for delivery: stores with real keys on the in-memory engine, a clock that is moved by hand, and far
ends that answer as their script says. A far end speaks the driver port honestly: it is the other party, not a stand-in
for ours."""

from __future__ import annotations

import base64
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from crossdock.credentials.root import RootKey
from crossdock.credentials.vault import StoreKeys, Vault
from crossdock.delivery.driver import Driver, Parcel
from crossdock.delivery.fairness import Caps
from crossdock.delivery.ownership import Ownership
from crossdock.delivery.rounds import Deliverer
from crossdock.delivery.sending import Gear
from crossdock.engines.memory.engine import MemoryEngine
from crossdock.journal.memory import MemoryState
from crossdock.journal.port import Lanes
from crossdock.model.attempt import Answer, AnswerKind
from crossdock.model.connection import AuditEntry, Connection, ConnectionState, CoreMode, Store
from crossdock.model.contract import (
    Auth,
    Contract,
    DataClass,
    DeliveryRule,
    Direction,
    EventSchema,
    FieldRule,
    Lifecycle,
    Owner,
    Purpose,
    Queued,
    Retention,
    RetryRule,
    Route,
    Status,
    Surface,
)
from crossdock.model.entry import Draft, Kept
from crossdock.model.ids import (
    CORE_ORIGIN,
    ConnectionId,
    ContractId,
    CorrelationId,
    EventId,
    Instant,
    JsonObject,
    LaneId,
    Position,
    RouteName,
    StoreId,
    origin_of,
)
from crossdock.model.limits import DAY_MS, HOUR_MS
from crossdock.observe.lines import LINES, Lines, Value
from crossdock.stores.port import AddConnection, AddStore, Change, Engine, OpenLane, Write
from crossdock.stores.waiting import Waiter, wait_until
from crossdock.stores.ways import Way

START = Instant(1_700_000_000_000)
CLASSES = {
    "/sku": DataClass.PUBLIC,
    "/stock": DataClass.INTERNAL,
    "/cost": DataClass.CONFIDENTIAL,
    "/email": DataClass.PII,
}
PRODUCT = EventSchema("product.changed", 2, {}, CLASSES, ("/email",))
FIELDS = (FieldRule("/sku", DataClass.PUBLIC), FieldRule("/stock", DataClass.INTERNAL))
RETRY = RetryRule(first_ms=1_000, max_ms=HOUR_MS, attempts_max=8, for_ms=DAY_MS, permanent=frozenset({422}))
ROUTE = Route(
    name=RouteName("push"),
    direction=Direction.OUTBOUND,
    driver="far/1",
    event=PRODUCT,
    fields=FIELDS,
    delivery=DeliveryRule(concurrency=4),
    retry=RETRY,
    retention=Retention(DAY_MS, DAY_MS, DAY_MS),
    ordering=("/sku",),
)


def contract_of(route: Route) -> Contract:
    return Contract(
        id=ContractId("test.far"),
        version="1.0.0",
        status=Status.ACCEPTED,
        title="Far",
        summary="",
        owner=Owner.STORE,
        owner_contact="",
        surface=Surface.BACKEND,
        direction=route.direction,
        purpose=Purpose.WEBHOOK,
        scopes=(),
        credentials=(),
        destinations=(),
        auth=Auth(),
        config={},
        routes=(route,),
        lifecycle=Lifecycle((), Queued.HOLD, 3),
    )


TAKEN = Answer(AnswerKind.TAKEN, "http_200", 3, 200)
DOWN = Answer(AnswerKind.UNREACHABLE, "unreachable", 3)
REJECTED = Answer(AnswerKind.REJECTED, "http_422", 3, 422)

Script = Callable[[Way, Parcel], Answer]


@dataclass
class FarEnd:
    """Keeps what it was sent, and what of it it took. `answer` decides."""

    answer: Script = lambda way, parcel: TAKEN
    name: str = "far/1"
    calls: list[tuple[str, tuple[Parcel, ...]]] = field(default_factory=list)
    took: dict[str, list[Parcel]] = field(default_factory=dict)

    async def deliver(self, way: Way, parcels: tuple[Parcel, ...], now: Instant) -> tuple[Answer, ...]:
        self.calls.append((way.lane.store, parcels))
        answers = tuple(self.answer(way, parcel) for parcel in parcels)
        for parcel, answer in zip(parcels, answers, strict=True):
            if answer.kind is AnswerKind.TAKEN:
                self.took.setdefault(way.lane.store, []).append(parcel)
        return answers

    def took_ids(self, store: str = "one") -> list[str]:
        return [parcel.event_id for parcel in self.took.get(store, [])]


class World:
    def __init__(
        self,
        far: Driver,
        route: Route = ROUTE,
        stores: Sequence[str] = ("one",),
        on: Callable[[Callable[[], Instant]], Engine] = MemoryEngine,
    ) -> None:
        self.now = START
        self.far = far
        self.route = route
        self.lines: list[tuple[str, dict[str, Value]]] = []
        self.paused: list[tuple[str, str]] = []
        self.ways: dict[LaneId, Way] = {}
        self.engine = on(self.clock)
        seeded = random.Random(7)
        self.vault = Vault(RootKey.from_text(base64.b64encode(seeded.randbytes(32)).decode()), seeded.randbytes)
        self.stores = {name: self._store(StoreId(name)) for name in stores}
        self.dice = random.Random(11).random
        self.numbers = itertools.count(1)

    @property
    def memory(self) -> MemoryState:
        """What the in-memory engine keeps, for a test that erases behind its back."""
        assert isinstance(self.engine, MemoryEngine)
        return self.engine.journal._state

    def clock(self) -> Instant:
        return self.now

    def elapsed(self) -> float:
        return self.now / 1_000

    def pass_ms(self, wait_ms: int) -> None:
        self.now = Instant(self.now + wait_ms)

    def new_deliverer(
        self,
        lanes: Lanes | None = None,
        member: str = "this",
        far: Driver | None = None,
        wait: Waiter = wait_until,
        caps: Caps | None = None,
    ) -> Deliverer:
        far = far or self.far
        gear = Gear(
            journal=self.engine.journal,
            lanes=lanes or self.engine.lanes,
            ways=self,
            drivers={"far/1": far, "core-push/1": far},
            keys=self.keys,
            clock=self.clock,
            dice=self.dice,
            lines=Lines(self.write),
            elapsed=self.elapsed,
        )
        return Deliverer(gear, self, Ownership(self.engine.slots, member, gear.elapsed), wait, caps)

    def write(self, name: str, fields: dict[str, Value]) -> None:
        assert set(fields) <= LINES[name]
        self.lines.append((name, fields))

    async def pause(self, store: StoreId, connection: ConnectionId, reason: str) -> None:
        self.paused.append((connection, reason))
        self.set_state(self.lane(store), ConnectionState.PAUSED)

    def set_state(self, lane: LaneId, state: ConnectionState) -> None:
        self.ways[lane] = replace(self.ways[lane], state=state)

    async def way(self, lane: LaneId) -> Way | None:
        return self.ways.get(lane)

    async def lanes_of(self, store: StoreId) -> list[LaneId]:
        return sorted(lane for lane in self.ways if lane.store == store)

    async def keys(self, store: StoreId) -> StoreKeys | None:
        return self.vault.open(self.stores[store]) if store in self.stores else None

    def _store(self, store: StoreId) -> Store:
        return Store(store, store, START, self.vault.new_store_key(store))

    def lane(self, store: str = "one", connection: str | None = None) -> LaneId:
        return LaneId(StoreId(store), ConnectionId(connection or f"con_{store}"), self.route.name)

    async def furnish(self) -> World:
        """Stores and lanes, and nobody who runs them."""
        await self.engine.start()
        for store in self.stores.values():
            await self.commit(AddStore(store))
            await self.connect(self.lane(store.id))
        return self

    async def begin(self) -> World:
        await self.furnish()
        self.deliverer = self.new_deliverer()
        await self.deliverer.load()
        self.engine.journal.on_news(self.deliverer.wake)
        self.engine.registry.on_change(self.deliverer.changed)
        return self

    async def connect(self, lane: LaneId, route: Route | None = None, core: CoreMode | None = None) -> None:
        route = route or self.route
        self.ways[lane] = Way(lane, contract_of(route), route, {}, ConnectionState.ENABLED, 1, {}, {}, core)
        known = Connection(
            lane.connection, lane.store, ContractId("test.far"), ConnectionState.ENABLED, 1, "", self.now
        )
        await self.commit(AddConnection(known), OpenLane(lane))

    async def commit(self, *writes: Write) -> None:
        done = AuditEntry(self.now, "test", "test", None, "", "done", CorrelationId("cor"), {})
        await self.engine.registry.commit(Change(writes, (done,)))

    async def publish(
        self,
        data: JsonObject,
        store: str = "one",
        *,
        email: str | None = None,
        event_id: str | None = None,
        type_: str = "product.changed",
        inbound: LaneId | None = None,
        body: bytes | None = None,
        caused_by: ConnectionId | None = None,
    ) -> Position:
        keys = self.vault.open(self.stores[StoreId(store)])
        number = next(self.numbers)
        this = EventId(event_id or f"evt-{number}")
        draft = Draft(
            store=StoreId(store),
            origin=origin_of(inbound.connection, inbound.route) if inbound else CORE_ORIGIN,
            dedupe_key=this,
            fingerprint=bytes(32),
            event_id=this,
            type=type_,
            schema_major=2,
            source="/core",
            occurred_at=self.now,
            received_at=self.now,
            correlation_id=CorrelationId(f"cor-{number}"),
            body=body or keys.seal_body(this, msgspec.json.encode(data)),
            caused_by=caused_by,
        )
        if email is not None:
            key = keys.new_subject_key(keys.subject_ref(email))
            sealed = keys.seal_personal(key, this, msgspec.json.encode({"/email": email}))
            draft = replace(draft, personal=sealed, subject_ref=key.ref, subject_key=key.wrapped)
        (answer,) = await self.engine.journal.append([draft])
        assert isinstance(answer, Kept)
        return answer.position

    async def deliver(self, passes_ms: int = 0, steps: int = 1) -> None:
        """Everything that is due; then time passes in steps, with what comes due in each. Every ledger closes."""
        await self.deliverer.work_off()
        await self.check()
        for _ in range(steps if passes_ms else 0):
            self.pass_ms(passes_ms // steps)
            await self.deliverer.work_off()
            await self.check()

    async def check(self) -> None:
        for ledger in await self.engine.lanes.ledgers():
            assert ledger.closes, ledger

    async def count(self, store: str = "one") -> dict[str, int]:
        (ledger,) = [one for one in await self.engine.lanes.ledgers(StoreId(store)) if one.lane == self.lane(store)]
        counts = ledger.counts
        return {
            "delivered": counts.delivered,
            "superseded": counts.superseded,
            "filtered": counts.filtered,
            "expired": counts.expired,
            "erased": counts.erased,
            "waiting": ledger.waiting,
            "parked": ledger.parked,
        }

    def named(self, name: str) -> list[dict[str, Value]]:
        return [fields for one, fields in self.lines if one == name]
