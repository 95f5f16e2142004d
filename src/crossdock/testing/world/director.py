"""What is done in a world, and when: what is sent, what goes wrong, what people do. Every draw is the seed's.

A script is a list of acts with their times. When it has been played, everything is put right again, and what is owed
must be paid."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from crossdock.delivery.replay import Selection
from crossdock.model.connection import Connection, ConnectionState, Principal, Role
from crossdock.model.errors import CrossdockError
from crossdock.model.ids import LaneId
from crossdock.stores.office import Act as By
from crossdock.testing.world.books import Books
from crossdock.testing.world.cast import Cast
from crossdock.testing.world.manners import Manner
from crossdock.testing.world.process import Process
from crossdock.testing.world.receivers import Receiver
from crossdock.testing.world.senders import Senders, outbound
from crossdock.testing.world.stage import CONTRACTS, Site, catalogue
from crossdock.testing.world.storage import CALLS_MAX

DAY_MS = 86_400_000
HEALED_SECONDS_MAX = 900.0
LOOK_SECONDS = 3.0


@dataclass(slots=True)
class Plot:
    """What this world is about. `weights` are of acts (see Director); `poison` and `odd` shares of events."""

    events: int = 10
    keys: int = 3
    seconds: float = 15.0
    poison: float = 0.06
    odd: float = 0.03
    weights: dict[str, float] = field(default_factory=dict)
    manners: tuple[Manner, ...] = tuple(Manner)


class Director:
    def __init__(self, cast: Cast, senders: Senders, books: Books, dice: random.Random, plot: Plot) -> None:
        self.cast = cast
        self.senders = senders
        self.books = books
        self.dice = dice
        self.plot = plot
        self._errands: dict[asyncio.Task[None], None] = {}

    async def play(self) -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for at, act in self._script():
            await asyncio.sleep(max(0.0, begin + at - loop.time()))
            act()
        await asyncio.sleep(1.0)
        await self.put_right()

    # The script

    def _script(self) -> list[tuple[float, Callable[[], None]]]:
        plot, dice = self.plot, self.dice
        script = [(dice.random() * plot.seconds, self._send) for _ in range(plot.events)]
        names, weights = list(plot.weights), list(plot.weights.values())
        chosen = dice.choices(names, weights, k=max(3, plot.events // 2)) if names else []
        # What goes wrong goes wrong rather early, so that it meets something.
        script += [(dice.random() ** 2 * plot.seconds, self._named(name)) for name in chosen]
        return sorted(script, key=lambda one: one[0])

    def _named(self, name: str) -> Callable[[], None]:
        acts: dict[str, Callable[[], None]] = {
            "mood": self._mood, "down": self._down, "up": self._up, "crash": self._crash, "freeze": self._freeze,
            "thaw": self._thaw, "join": self._join, "drain": self._drain, "jump": self._jump, "pause": self._pause,
            "resume": self._resume, "configure": self._configure, "replay": self._replay, "disable": self._disable,
            "burst": self._burst, "weather": self._weather, "rotate": self._rotate, "erase": self._erase,
            "power": self._power,
        }  # fmt: skip
        return acts[name]

    def _did(self, what: str) -> None:
        self.books.coverage.saw("fault", what)
        self.books.tell("*", what)

    def _send(self) -> None:
        site = self.dice.choice(self.cast.sites)
        house = self.cast.house(site)
        key = self.senders.key(self.plot.keys, self.plot.poison, self.plot.odd)
        if site.inbound() is not None and (not outbound(site) or self.dice.random() < 0.5):
            self.senders.order(site, key)
        else:
            self.senders.publish(house, key, count=1 if self.dice.random() < 0.85 else self.dice.randint(2, 4))

    def _burst(self) -> None:
        self._did("burst")
        site = self.dice.choice(self.cast.sites)
        self.senders.publish(self.cast.house(site), "b", count=self.dice.choice((3, 6, 25)))

    def _erase(self) -> None:
        """A person is forgotten: from now on nothing of theirs can be opened."""
        self._did("erase")
        self.books.erase(self.dice.choice(self.cast.sites).store, self.dice, self.cast.erased)

    # Far ends and the network

    def _receiver(self) -> Receiver:
        return self.dice.choice(self.cast.receivers)

    def _mood(self) -> None:
        mood = self._receiver().mood
        mood.honesty = self.dice.choice((0.0, 0.3, 0.7))
        mood.manners = tuple(self.dice.choices(self.plot.manners, k=3))
        mood.wait_s = self.dice.choice(((1, 4), (2, 9), (5, 20)))
        self._did("mood")

    def _down(self) -> None:
        self._receiver().mood.welcome = self.dice.choice(("refused", "silent"))
        self._did("down")

    def _up(self) -> None:
        for receiver in self.cast.receivers:
            receiver.mood.welcome = "yes"
        self._did("up")

    def _weather(self) -> None:
        weather = self.cast.network.weather
        weather.latency_ms = self.dice.choice(((1, 20), (1, 400), (200, 2_000)))
        weather.nameless = weather.misled = weather.masked = self.dice.choice((0.0, 0.1, 0.4))
        self._did("weather")

    # Processes

    def _one(self, *, frozen: bool = False) -> Process | None:
        living = [one for one in self.cast.living() if one.frozen == frozen]
        return self.dice.choice(living) if living else None

    def _crash(self) -> None:
        self._fuse("crash", Process.die)

    def _freeze(self) -> None:
        pause = self.dice.choice((0.5, 3.0, 9.5, 12.0, 20.0))

        def freezes(process: Process) -> None:
            process.freeze()
            self._did("frozen")
            loop = self.cast.loop
            loop.world_at(loop.time() + pause, self._thaws, process)

        if self.dice.random() < 0.5:
            self._fuse("freeze_in_a_write", freezes)
        elif (process := self._one()) is not None:
            freezes(process)

    def _fuse(self, what: str, ends: Callable[[Process], None]) -> None:
        """At one of its next writes, before or after it is done."""
        process = self._one()
        if process is not None:
            process.fuse, process.fused = self.dice.randint(1, 6), ends
            self._did(what)

    def _power(self) -> None:
        """The process ends at one of its next calls of the disk, and mostly the power with it."""
        process = self._one()
        if process is not None and self.cast.storage.embedded:
            with_power = self.dice.random() < 0.7
            self.cast.storage.order_end(self.dice.randint(1, CALLS_MAX), power=with_power)
            self._did("power_cut" if with_power else "crash_at_the_disk")

    def _thaw(self) -> None:
        process = self._one(frozen=True)
        if process is not None:
            self._thaws(process)

    def _thaws(self, process: Process) -> None:
        if process.frozen and not process.dead:
            process.thaw()
            self._did("thaw")

    def _join(self) -> None:
        if len(self.cast.living()) < self.cast.processes_max:
            self.cast.join()
            self._did("join")

    def _drain(self) -> None:
        process = self._one()
        if process is not None and len(self.cast.living()) > 1:
            process.drain()
            self._did("drain")

    def _jump(self) -> None:
        process = self._one()
        if process is not None:
            process.jump(self.dice.choice((-DAY_MS, DAY_MS, -3_600_000, 3_600_000, -5_000, 5_000)))
            self._did("jump")

    # People

    def _errand(self, name: str, errand: Callable[[Process, Site], Awaitable[object]], site: Site) -> None:
        """Somebody asks a process to do something, and lives with a refusal."""
        process = self._one()
        if process is None or not process.serving:
            return
        self._did(name)

        async def done() -> None:
            try:
                await errand(process, site)
            except CrossdockError as error:
                self.books.tell("*", name, "refused", error.code)
                self.books.coverage.saw("refused", error.code)

        task = process.spawn(done())
        self._errands[task] = None
        task.add_done_callback(lambda one: self._errands.pop(one, None))

    def _pause(self) -> None:
        self._errand("pause", pause, self.dice.choice(self.cast.sites))

    def _resume(self) -> None:
        self._errand("resume", resume, self.dice.choice(self.cast.sites))

    def _disable(self) -> None:
        self._errand("disable", disable, self.dice.choice(self.cast.sites))

    def _rotate(self) -> None:
        site = self.dice.choice(self.cast.sites)
        secret = self.cast.new_secret(site)

        async def rotate(process: Process, site: Site) -> None:
            await process.desk.credentials.set(by(process), site.store, site.connection, secret[0], secret[1])

        self._errand("rotate", rotate, site)

    def _configure(self) -> None:
        back = self.dice.random() < 0.4
        self._errand("configure", rollback if back else configure, self.dice.choice(self.cast.sites))

    def _replay(self) -> None:
        site = self.dice.choice(self.cast.sites)
        lane = self.dice.choice(site.lanes())
        parked_only, force = self.dice.random() < 0.6, self.dice.random() < 0.5

        async def replay(process: Process, site: Site) -> None:
            await replayed(process, lane, parked_only, force)

        self._errand("replay", replay, site)

    # The end

    async def put_right(self) -> None:
        """Faults stop. Whoever was frozen goes on, paused connections are resumed, and what is owed is waited for."""
        cast, loop = self.cast, asyncio.get_running_loop()
        self.books.tell("* all is put right")
        cast.put_right()
        for process in cast.living():
            process.fuse = None
            if process.frozen:
                process.thaw()
        await asyncio.sleep(2.0)
        last = cast.relieve()
        until = loop.time() + HEALED_SECONDS_MAX
        # Nothing real is polled here: in virtual time a look costs what it looks at.
        while loop.time() < until and (not last.serving or self.senders.under_way or await self._owed(last)):  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)
        for lane in await self._owed(last):
            owed = [fact.number for fact in self.books.owed(lane)]
            self.books.broken(f"{lane} still owes {owed} after {HEALED_SECONDS_MAX:.0f} s without a fault")

    async def _owed(self, process: Process) -> Sequence[LaneId]:
        """Lanes that have not come to their end. Their connections are resumed, as often as they pause."""
        owing = self.books.owing()
        for site in self.cast.sites:
            row = await self.cast.engine.registry.connection(site.connection)
            if row is not None and row.state is not ConnectionState.ENABLED:
                await self._bring_back(process, site)
        return owing

    async def _bring_back(self, process: Process, site: Site) -> None:
        try:
            await process.spawn(enable(process, site))
        except CrossdockError as error:
            self.books.tell("*", "not yet enabled", error.code, error.facts)


def by(process: Process) -> By:
    return By(Principal("world", Role.PLATFORM_ADMIN, None), process.new_correlation())


async def pause(process: Process, site: Site) -> None:
    await process.desk.connections.pause(by(process), await _row(process, site), "a person")


async def resume(process: Process, site: Site) -> None:
    await process.desk.connections.resume(by(process), await _row(process, site))


async def disable(process: Process, site: Site) -> None:
    await process.desk.connections.disable(by(process), await _row(process, site))


async def enable(process: Process, site: Site) -> None:
    """Resumes, or goes the whole way from disabled."""
    desk, row = process.desk.connections, await _row(process, site)
    match row.state:
        case ConnectionState.PAUSED:
            await desk.resume(by(process), row)
        case ConnectionState.ENABLED:
            return
        case ConnectionState.VALIDATED:
            await desk.enable(by(process), row)
        case ConnectionState.DISABLED | ConnectionState.DRAFT:
            await desk.enable(by(process), await desk.validate(by(process), row))


async def configure(process: Process, site: Site) -> None:
    """To the other version of the contract: other retries, the same bodies."""
    newest = catalogue().get(CONTRACTS[site.kind])
    version = newest.version if newest is not None else None
    await process.desk.connections.configure(by(process), await _row(process, site), site.config, version)


async def rollback(process: Process, site: Site) -> None:
    await process.desk.connections.rollback(by(process), await _row(process, site), 1)


async def replayed(process: Process, lane: LaneId, parked_only: bool, force: bool) -> None:
    plan = await process.replays.plan(lane, Selection(parked_only=parked_only), process.timers(), force=force)
    if plan.writes:
        await process.desk.events.replayed(by(process), lane, plan.writes, plan.counts)


async def _row(process: Process, site: Site) -> Connection:
    return (await process.desk.connections.read(site.store, site.connection)).connection
