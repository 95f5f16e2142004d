"""One process of Crossdock in a world: what `wiring` puts together, over a virtual clock, seeded dice and a simulated
network. It can freeze, thaw, crash in the middle of anything, or drain as it should."""

from __future__ import annotations

import asyncio
import contextvars
import random
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from crossdock.credentials.root import RootKey
from crossdock.credentials.vault import Vault
from crossdock.delivery.driver import Driver, Parcel
from crossdock.delivery.ownership import Ownership
from crossdock.delivery.pace import Pace
from crossdock.delivery.replaying import Replays
from crossdock.delivery.rounds import Deliverer
from crossdock.delivery.sending import Gear
from crossdock.delivery.steady import Steady
from crossdock.drivers.egress import Egress, EgressPolicy
from crossdock.drivers.trials import DriverTrials
from crossdock.http.ingest import Edge, IngestApp
from crossdock.ingest.accept import Acceptor
from crossdock.ingest.accept import Parts as IngestParts
from crossdock.model.attempt import Answer
from crossdock.model.contract import Direction, Environment
from crossdock.model.errors import CrossdockError
from crossdock.model.ids import CorrelationId, Instant, LaneId, StoreId, base32
from crossdock.observe.lines import LINES, Lines, Value
from crossdock.stores.authority import Gatekeeper
from crossdock.stores.desk import Desk, build_desk
from crossdock.stores.directory import Directory
from crossdock.stores.office import Office
from crossdock.stores.port import Engine
from crossdock.stores.publishing import Publishers
from crossdock.stores.tokens import Tokens
from crossdock.stores.watch import Watch
from crossdock.stores.ways import Way
from crossdock.testing.world.loop import BEGIN_SECONDS, OWNER, VirtualLoop
from crossdock.testing.world.network import Network, simulated_socket
from crossdock.testing.world.shared import Disk, SharedEngine, Witness
from crossdock.testing.world.stage import BEGIN, catalogue, hosts
from crossdock.testing.world.storage import Storage
from crossdock.wiring.app import DeliveryPauser, drivers_of

PUBLIC_URL = "https://crossdock.example.net"
TASKS_SWEPT_AT = 400
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Nothing is encrypted in a world: the network promises what TLS would prove. See network.Network."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a process finds in its world. `told` hears each line that a process writes, `opened` that a process has
    opened an engine of its own."""

    loop: VirtualLoop
    storage: Storage
    network: Network
    witness: Witness
    root: str
    told: Callable[[Process, str, Mapping[str, Value]], None]
    opened: Callable[[Process, Engine], Awaitable[None]]
    hints_lost: float = 0.0
    poll_ms: int = 5_000
    disk_slow: float = 0.3
    disk_rots: float = 0.0
    erased: set[tuple[StoreId, bytes]] = field(default_factory=set)


class Watched:
    """A real driver, and the world's judge beside it."""

    def __init__(self, driver: Driver, process: Process, witness: Witness) -> None:
        self.name = driver.name
        self._driver = driver
        self._process = process
        self._witness = witness

    async def deliver(self, way: Way, parcels: tuple[Parcel, ...], now: Instant) -> tuple[Answer, ...]:
        positions = [parcel.position for parcel in parcels]
        self._witness.sending(self._process, way.lane, positions)
        answers = await self._driver.deliver(way, parcels, now)
        self._witness.sent(self._process, way.lane, list(zip(positions, answers, strict=True)))
        return answers


@dataclass(frozen=True, slots=True)
class Asking:
    """A request of a sender's."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    address: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What a process answered; `status` 0 where the connection ended without an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Process:
    """`skew_ms`: how far its wall clock is from the true time, now."""

    def __init__(self, around: Surroundings, name: str, dice: random.Random, skew_ms: int = 0) -> None:
        self.name = name
        self.dead = False
        self.frozen_at: float | None = None
        self.frozen_from: list[float] = []
        self.skew_ms = self.skew_max_ms = skew_ms
        self.fuse: int | None = None
        self.fused: Callable[[Process], None] = Process.die
        self.on_death: Callable[[Process], None] = lambda _: None
        self.dice = dice
        self.serving = self.leaving = False
        self._around = around
        self._withheld: list[asyncio.Handle] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._asked: dict[asyncio.Future[Reply | None], None] = {}
        self._context = contextvars.copy_context()
        self._context.run(OWNER.set, self)
        self._context.run(self._assemble)

    def __repr__(self) -> str:
        return self.name

    # What the loop asks

    def withholds(self, handle: asyncio.Handle) -> bool:
        if self.dead:
            return True
        if self.frozen_at is None:
            return False
        self._withheld.append(handle)
        return True

    def adopt(self, task: asyncio.Task[Any]) -> None:
        self._tasks.append(task)
        if len(self._tasks) > TASKS_SWEPT_AT:
            self._tasks = [one for one in self._tasks if not one.done()]

    # Its life

    @property
    def frozen(self) -> bool:
        return self.frozen_at is not None

    def start(self) -> None:
        self.work = self.spawn(self._run())

    def spawn(self, coro: Any) -> asyncio.Task[Any]:
        """A task of this process."""
        return self._around.loop.create_task(coro, context=self._context)

    def freeze(self) -> None:
        self.frozen_at = self._around.loop.time()
        self.frozen_from.append(self.frozen_at)

    def thaw(self) -> None:
        self.frozen_at = None
        held, self._withheld = self._withheld, []
        self._around.loop.run_again(held)

    def burns(self) -> bool:
        """One step nearer to what is drawn for it, if anything is: a crash, or a long pause, in the middle of a write.
        Whether this very step is the one."""
        if self.fuse is None or self.dead:
            return False
        self.fuse -= 1
        if self.fuse > 0:
            return False
        self.fuse = None
        self.fused(self)
        return True

    def die(self) -> None:
        """As by kill -9: not one more instruction."""
        if not self.dead:
            self.dead = True
            self._around.storage.died()
            self._around.network.crashed(self)
            for future in list(self._asked):
                if not future.done():
                    future.set_result(None)
            self.on_death(self)

    def bury(self) -> None:
        """After the world has ended: its tasks go without having run again."""
        self.dead = True
        self._around.loop.put_away(self._tasks)
        self._tasks, self._withheld = [], []

    def drain(self) -> None:
        self.serving, self.leaving = False, True
        self._stop.set()
        self._closing.set()

    def hint(self, stores: frozenset[StoreId]) -> None:
        """News of an append, as the engine would pass it on; it may be lost."""
        if not self.dead and self.dice.random() >= self._around.hints_lost:
            self._around.loop.call_soon(self._hear, stores, context=self._context)

    def _hear(self, stores: frozenset[StoreId]) -> None:
        for listener in self.engine.hints:
            listener(stores)

    def pace(self, lane: LaneId, direction: Direction) -> Pace | None:
        """What it has learned of a far end."""
        return self.deliverer._learned.paces.get((lane.store, lane.connection, direction))

    # Its clocks

    def clock(self) -> Instant:
        return Instant(BEGIN + int((self._around.loop.time() - BEGIN_SECONDS) * 1_000) + self.skew_ms)

    def elapsed(self) -> float:
        return self._around.loop.time()

    def jump(self, by_ms: int) -> None:
        """Its wall clock is set; durations go on as before."""
        self.skew_ms += by_ms
        self.skew_max_ms = max(self.skew_max_ms, self.skew_ms)

    # Its parts

    def _assemble(self) -> None:
        around = self._around
        self.timers = Steady(self.clock, self.elapsed)
        """The clock by which it waits."""
        self._stop, self._closing = asyncio.Event(), asyncio.Event()
        storage = around.storage
        self.engine = SharedEngine(
            storage.open(self.clock, self.die),
            self,
            Disk(self.dice, around.disk_slow, rots_share=around.disk_rots, erased=around.erased),
            around.witness,
            (lambda inner: around.opened(self, inner)) if storage.embedded else None,
        )
        self.lines = Lines(self._write)
        where = hosts()
        registry = self.engine.registry
        vault = Vault(RootKey.from_text(around.root), self.dice.randbytes)
        self.directory = Directory(registry, catalogue(), vault, where, self.clock)
        policy = EgressPolicy(Environment.STAGING, live_hosts=where.live, tls=TLS)
        self.egress = Egress(policy, around.network.resolve, simulated_socket)
        office = Office(registry, catalogue(), vault, where, self.clock, self.dice.randbytes, self.lines)
        trials = DriverTrials(self.directory, self.egress, self.clock)
        self.desk: Desk = build_desk(office, trials, self.engine.journal, self.engine.lanes)
        self.replays = Replays(self.engine.journal, self.engine.lanes, self.directory, self.directory.keys)
        self._deliver(DeliveryPauser(self.desk, self.new_correlation))
        self._take_in(Tokens(registry, self.clock))

    def _deliver(self, pauser: DeliveryPauser) -> None:
        engine = self.engine
        gear = Gear(
            journal=engine.journal,
            lanes=engine.lanes,
            ways=self.directory,
            drivers={
                name: Watched(driver, self, self._around.witness)
                for name, driver in drivers_of(self.egress, TLS).items()
            },
            keys=self.directory.keys,
            clock=self.timers,
            dice=self.dice.random,
            lines=self.lines,
            elapsed=self.elapsed,
            wall=self.clock,
        )
        self.ownership = Ownership(engine.slots, base32(self.dice.randbytes(17), 26), self.elapsed)
        self.deliverer = Deliverer(gear, pauser, self.ownership, self._rest)
        engine.journal.on_news(self.deliverer.wake)
        engine.registry.on_change(self.deliverer.changed)

    def _take_in(self, tokens: Tokens) -> None:
        engine = self.engine
        publishers = Publishers(tokens, Gatekeeper(engine.registry, self.clock), self.directory.store)
        acceptor = Acceptor(
            IngestParts(
                journal=engine.journal,
                lanes=engine.lanes,
                doors=self.directory,
                keys=self.directory.keys,
                schemas=catalogue(),
                core=publishers,
                clock=self.clock,
            )
        )
        edge = Edge(PUBLIC_URL, self.dice.randbytes, self.clock, self.lines)
        self._ingest = IngestApp(acceptor, edge, _nothing_else)
        hearers = (self.directory.refresh, tokens.refresh, self.deliverer.refresh)
        self._watch = Watch(engine.registry, hearers, self.lines, self._rest)

    def _write(self, name: str, fields: dict[str, Value]) -> None:
        if self.dead:
            return  # the step in which it ended, which nobody sees
        unknown = set(fields) - LINES[name]
        assert not unknown, f"{name} has no field {sorted(unknown)}"  # noqa: S101  a line is a promise
        self._around.told(self, name, fields)

    async def _run(self) -> None:
        try:
            await self._serve()
        except CrossdockError:
            if not self.dead:
                raise

    async def _serve(self) -> None:
        await self.engine.start()
        await self._watch.look()
        await self.deliverer.load()
        self.serving = not self.leaving
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch.run(self._closing))
            await self.deliverer.run(self._stop)
            await self._closing.wait()
        await self.egress.close()
        await self.engine.close()

    async def _rest(self, event: asyncio.Event, wait_ms: int) -> None:
        """Waits as asked, but for polls: those come as rarely as the world says, since all that they promise is how
        late they may be. So its days pass faster."""
        if event is self._closing:
            wait_ms = self._around.poll_ms
        elif event is not self.ownership.asked:
            next_at = self.deliverer.next_at()
            stretched = self._around.poll_ms
            if next_at is not None:
                stretched = min(stretched, next_at - self.timers())
            wait_ms = max(wait_ms, stretched)
        if not event.is_set():
            try:
                async with asyncio.timeout(wait_ms / 1_000):
                    await event.wait()
            except TimeoutError:
                return

    def ask(self, request: Asking, seen: Callable[[Reply], None]) -> asyncio.Future[Reply | None]:
        """A request to this process; None where the connection ends without an answer. `seen` hears what it answers,
        in that moment, also if nobody waits for it any more."""
        future: asyncio.Future[Reply | None] = self._around.loop.create_future()
        self._asked[future] = None
        future.add_done_callback(lambda one: self._asked.pop(one, None))

        async def answer() -> None:
            reply = await self._post(request)
            seen(reply)
            if not future.done():
                future.set_result(reply)

        if self.dead:
            future.set_result(None)
        else:
            self.spawn(answer())
        return future

    async def _post(self, request: Asking) -> Reply:
        """A request as its server would hand it in."""
        told: list[dict[str, Any]] = []
        given = [{"type": "http.request", "body": request.body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            return given.pop() if given else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            told.append(message)

        raw = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
        path = request.path
        scope = {
            "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
            "headers": raw, "client": (request.address, 4_711),
        }  # fmt: skip
        await self._ingest(scope, receive, send)
        shown = {name.decode(): value.decode() for name, value in told[0]["headers"]}
        return Reply(told[0]["status"], shown, b"".join(one.get("body", b"") for one in told[1:]))

    def new_correlation(self) -> CorrelationId:
        return CorrelationId(base32(self.dice.randbytes(17), 26))


async def _nothing_else(scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
    """Only the two paths of ingest are asked for here."""
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})
