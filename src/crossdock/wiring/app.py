"""The process of a role: what it serves, what runs beside that, and an orderly end."""

from __future__ import annotations

import asyncio
import os
import random
import ssl
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version

from crossdock.delivery.driver import Driver
from crossdock.delivery.inbox import Inbox
from crossdock.delivery.ownership import Ownership
from crossdock.delivery.replaying import Replays
from crossdock.delivery.rounds import Deliverer
from crossdock.delivery.sending import Gear
from crossdock.delivery.steady import Steady
from crossdock.delivery.trips import CORE_DRIVER
from crossdock.drivers.egress import Egress
from crossdock.drivers.http_json import HttpJson
from crossdock.drivers.smtp import Smtp
from crossdock.drivers.webhook import Webhook
from crossdock.http.api.app import build_api
from crossdock.http.api.parts import Parts as ApiParts
from crossdock.http.front import Application, Elsewhere, Front
from crossdock.http.ingest import Edge, IngestApp, arrives
from crossdock.http.proxies import Proxies
from crossdock.ingest.accept import Acceptor
from crossdock.ingest.accept import Parts as IngestParts
from crossdock.model.connection import Principal, Role
from crossdock.model.errors import CrossdockError, Invalid, Refused, Unavailable
from crossdock.model.ids import ConnectionId, CorrelationId, StoreId
from crossdock.model.limits import DRAIN_SECONDS
from crossdock.observe.health import Health
from crossdock.observe.lines import Lines
from crossdock.observe.metrics import Metrics
from crossdock.observe.text import LineWriter
from crossdock.settings import ProcessRole, Settings
from crossdock.stores.authority import Gatekeeper
from crossdock.stores.desk import Desk
from crossdock.stores.office import Act
from crossdock.stores.port import Changes
from crossdock.stores.publishing import Publishers
from crossdock.stores.tokens import Tokens
from crossdock.stores.watch import Watch
from crossdock.wiring.ground import Ground, address_of, clock, new_correlation, new_member, open_ground

FLUSH_SECONDS = 0.2  # how late a line may stand in the log
DELIVERING = frozenset({ProcessRole.ALL, ProcessRole.DELIVER})
TAKING_IN = frozenset({ProcessRole.ALL, ProcessRole.INGEST})
MANAGING = frozenset({ProcessRole.ALL, ProcessRole.API})


class DeliveryPauser:
    """`delivery.rounds.Pauser` over the connections' desk."""

    def __init__(self, desk: Desk, correlation: Callable[[], CorrelationId] = new_correlation) -> None:
        self._desk = desk
        self._correlation = correlation

    async def pause(self, store: StoreId, connection: ConnectionId, reason: str) -> None:
        act = Act(Principal("delivery", Role.CORE, store), self._correlation())
        await self._desk.connections.pause_if_enabled(act, store, connection, reason)


class App:
    """The whole process but its listener: `start`, serve `asgi`, `drain`, `close`. What it serves and what runs beside
    that is said by its role. `worker` is its number among the processes that share its port."""

    def __init__(self, ground: Ground, lines: Lines, metrics: Metrics, writer: LineWriter, worker: int = 1) -> None:
        self.ground = ground
        self.lines = lines
        self.role = ground.settings.role
        self._worker = worker
        self._metrics = metrics
        self._writer = writer
        self._stop, self._closing = asyncio.Event(), asyncio.Event()
        self.work: asyncio.Task[None] | None = None
        self._gear = gear_of(ground, lines)
        self._inbox = Inbox(self._gear)
        self._ownership = Ownership(ground.engine.slots, new_member(), time.monotonic)
        self.deliverer = Deliverer(self._gear, DeliveryPauser(ground.desk), self._ownership)
        self._tokens = Tokens(ground.engine.registry, clock)
        self._gatekeeper = Gatekeeper(ground.engine.registry, clock)
        self.health = Health(ground.engine, self._delivery_fault if self.role in DELIVERING else None, self._works)
        self._watch = Watch(ground.engine.registry, self._hearers(), lines)
        self.asgi: Application = self._asgi()

    async def start(self) -> None:
        """Joins those that deliver, and takes up its lanes; from now on it is ready. Unavailable (CD5036) where the
        engine cannot say what others change."""
        if not await self._watch.look():
            raise Unavailable("CD5036", "The engine does not say what other processes change.")
        for consumer, roles in ((self.deliverer, DELIVERING), (self._inbox, MANAGING)):
            if self.role in roles:
                self.ground.engine.journal.on_news(consumer.wake)
                self.ground.engine.registry.on_change(consumer.changed)
        if self.role in DELIVERING:
            await self.deliverer.load()
        self.work = asyncio.create_task(self._run(), name="crossdock work")
        self.health.serving = True
        self.lines.write(
            "process.started",
            environment=str(self.ground.settings.environment),
            engine=self.ground.engine.name,
            address=address_of(self.ground.settings),
            version=version("crossdock"),
            role=str(self.role),
            worker=self._worker,
        )

    @property
    def beside(self) -> asyncio.Task[None]:
        """What runs beside the listener; it ends before the process is closed only if it has failed."""
        assert self.work is not None  # noqa: S101  it has been started
        return self.work

    def refused(self, error: Refused) -> None:
        """A request that was refused before it was whole: nobody further in hears of it."""
        self.lines.write("ingest.refused", status=error.status, code=error.code)

    def refuse_more(self, reason: str) -> None:
        """Says not ready, so that whoever sends traffic here sends it elsewhere, and takes up no more deliveries. What
        is under way goes on."""
        if self.health.serving:
            self.lines.write("process.draining", reason=reason)
        self.health.serving = False
        self._stop.set()
        self._inbox.end_waits()

    async def drain(self, reason: str) -> None:
        """Lets the deliveries in flight end, settles them and gives the slots up. Requests must have ended before."""
        self.refuse_more(reason)
        self._closing.set()
        if self.work is not None:
            await asyncio.wait({self.work})

    async def close(self) -> None:
        """Unavailable (CD5036) where what runs beside the listener had failed."""
        failed = True
        try:
            await self.drain("close")
            failed = self.work is not None and self.work.exception() is not None
        finally:
            await self.ground.close()
            self.lines.write("process.stopped", clean=not failed)
            self._writer.flush()
        if failed:
            raise Unavailable(
                "CD5036",
                "What runs beside the listener has failed, so that the process has ended.",
                remedy="Its line engine.failed says why. Start it again.",
            )

    def _works(self) -> bool:
        return self.work is None or not self.work.done()

    def _delivery_fault(self) -> str:
        if self.work is None or self.work.done():
            return "the deliverer is not running"
        return "" if self._ownership.alive() else "its lease has not been renewed"

    def _hearers(self) -> tuple[Callable[[Changes], None], ...]:
        caches = (self.ground.directory.refresh, self._tokens.refresh)
        return (*caches, self.deliverer.refresh) if self.role in DELIVERING else caches

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._flush())
                group.create_task(self._watch.run(self._closing))
                if self.role in DELIVERING:
                    cut_after = min(DRAIN_SECONDS, self.ground.settings.drain_seconds)
                    await self.deliverer.run(self._stop, cut_after)
                # Requests may still be in flight, and what they read must be true.
                await self._closing.wait()
        except BaseExceptionGroup as failed:
            for error in failed.exceptions:
                code = error.code if isinstance(error, CrossdockError) else "CD5036"
                said = error.message if isinstance(error, CrossdockError) else type(error).__name__
                self.lines.write("engine.failed", engine="process", code=code, error=said)
            raise

    async def _flush(self) -> None:
        while not self._closing.is_set():
            try:
                await asyncio.wait_for(self._closing.wait(), FLUSH_SECONDS)
            except TimeoutError:
                await asyncio.to_thread(self._writer.flush)

    def _asgi(self) -> Application:
        elsewhere = Elsewhere(self.role, proceeds=lambda _: False)
        behind: Application = self._api() if self.role in MANAGING else elsewhere
        front = Front(self.health, self._metrics, self.ground.engine.lanes, behind)
        if self.role in TAKING_IN:
            return self._ingest(front)
        return Elsewhere(self.role, lambda scope: not arrives(scope), front)

    def _api(self) -> Application:
        ground, engine = self.ground, self.ground.engine
        return build_api(
            ApiParts(
                desk=ground.desk,
                gatekeeper=self._gatekeeper,
                tokens=self._tokens,
                engine=engine,
                inbox=self._inbox,
                replays=Replays(engine.journal, engine.lanes, ground.directory, ground.directory.keys),
                catalogue=ground.office.catalogue,
                environment=ground.settings.environment,
                address=address_of(ground.settings),
                version=version("crossdock"),
                clock=clock,
                new_correlation=new_correlation,
                findings=ground.findings,
            ),
            self.lines,
        )

    def _ingest(self, otherwise: Application) -> Application:
        ground = self.ground
        acceptor = Acceptor(
            IngestParts(
                journal=ground.engine.journal,
                lanes=ground.engine.lanes,
                doors=ground.directory,
                keys=ground.directory.keys,
                schemas=ground.office.catalogue,
                core=Publishers(self._tokens, self._gatekeeper, ground.directory.store),
                clock=clock,
            )
        )
        proxies = Proxies(ground.settings.trusted_proxies)
        edge = Edge(address_of(ground.settings), os.urandom, clock, self.lines, proxies)
        return IngestApp(acceptor, edge, otherwise)


def gear_of(ground: Ground, lines: Lines) -> Gear:
    return Gear(
        journal=ground.engine.journal,
        lanes=ground.engine.lanes,
        ways=ground.directory,
        drivers=drivers_of(ground.egress),
        keys=ground.directory.keys,
        clock=Steady(clock, time.monotonic),
        dice=random.random,
        lines=lines,
        elapsed=time.monotonic,
        wall=clock,
    )


def drivers_of(egress: Egress, tls: ssl.SSLContext | None = None) -> Mapping[str, Driver]:
    """Every driver, by the name that contracts use. `tls` replaces the system's trust store."""
    listed: tuple[Driver, ...] = (HttpJson(egress), Webhook(egress), Webhook(egress, CORE_DRIVER), Smtp(egress, tls))
    return {driver.name: driver for driver in listed}


async def build(settings: Settings, worker: int = 1) -> App:
    """The process, put together over a started engine. Raises what it cannot serve with; then nothing is left open."""
    if settings.spans_cells and settings.role in DELIVERING:
        raise Invalid(
            "CD7033",
            "A process that delivers works for one cell.",
            where="CROSSDOCK_CELL",
            remedy="Name its cell, or serve with --role ingest or api.",
        )
    writer = LineWriter(settings.log_format, clock)
    metrics = Metrics({"worker": str(worker)} if settings.workers > 1 else {})
    lines = Lines(writer, metrics)
    return App(await open_ground(settings, lines), lines, metrics, writer, worker)
