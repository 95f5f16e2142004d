"""One world from its seed: built, played, judged. The same seed gives the same trace, in any process."""

from __future__ import annotations

import contextlib
import gc
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from crossdock.delivery import pace
from crossdock.model import lane
from crossdock.model.ids import Instant
from crossdock.observe.lines import Value
from crossdock.stores.port import Engine
from crossdock.testing.world.books import Books
from crossdock.testing.world.cast import Cast
from crossdock.testing.world.director import Director
from crossdock.testing.world.guard import guarded
from crossdock.testing.world.loop import BEGIN_SECONDS, VirtualLoop
from crossdock.testing.world.network import Network
from crossdock.testing.world.plots import Scenario, alone, scenario_of
from crossdock.testing.world.process import Process, Surroundings
from crossdock.testing.world.reopening import reopened
from crossdock.testing.world.senders import Manners, Senders
from crossdock.testing.world.stage import BEGIN, Builder, catalogue
from crossdock.testing.world.storage import StorageOf, memory
from crossdock.testing.world.trace import Coverage, Trace


@dataclass(frozen=True, slots=True)
class Outcome:
    """`wrong` is '' where every promise held. `virtual_seconds` is how long the world lasted by its own time."""

    seed: int
    wrong: str
    trace_hash: str
    steps: int
    virtual_seconds: float
    events: int
    repeats: int
    coverage: Coverage
    lines: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        return not self.wrong


def run(seed: int, *, storage_of: StorageOf = memory, keep: bool = False, scenario: Scenario | None = None) -> Outcome:
    """Plays the world of `seed`. Raises nothing: what goes wrong is the outcome."""
    return play(World(seed, scenario or scenario_of(seed), storage_of, keep))


def play(world: World) -> Outcome:
    catalogue()
    try:
        with quiet(), guarded(world.breached), recorded(world.coverage):
            return world.play()
    finally:
        world.storage.close()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No collection in the middle: when one comes depends on what ran before."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class Recording(dict[tuple[object, object], object]):
    """A table of moves that notes which of them are made."""

    def __init__(self, table: Mapping[tuple[object, object], object], coverage: Coverage, kind: str) -> None:
        super().__init__(table)
        self._coverage = coverage
        self._kind = kind

    def __getitem__(self, key: tuple[object, object]) -> object:
        self._coverage.saw(self._kind, f"{key[0]} {key[1]}")
        return super().__getitem__(key)

    def get(self, key: tuple[object, object], default: object = None) -> object:
        self._coverage.saw(self._kind, f"{key[0]} {key[1]}")
        return super().get(key, default)


@contextlib.contextmanager
def recorded(coverage: Coverage) -> Iterator[None]:
    """The product's own tables, with a pencil beside them."""
    moves, breaker = lane.MOVES, pace.BREAKER_MOVES
    lane.MOVES = Recording(moves, coverage, "move")  # type: ignore[assignment,arg-type]
    pace.BREAKER_MOVES = Recording(breaker, coverage, "breaker")  # type: ignore[assignment,arg-type]
    try:
        yield
    finally:
        lane.MOVES, pace.BREAKER_MOVES = moves, breaker


class World:
    def __init__(
        self, seed: int, scenario: Scenario, storage_of: StorageOf, keep: bool, direct: type[Director] = Director
    ) -> None:
        self.seed = seed
        self.coverage = Coverage()
        self.trace = Trace(keep)
        self._scenario = scenario
        self._direct = direct
        self._dice = random.Random(f"{seed} world")
        self._loop = VirtualLoop(dice=random.Random(f"{seed} order") if scenario.shuffled else None)
        self._network = Network(self._loop, random.Random(f"{seed} network"), self._fault)
        self._loop.wires = self._network
        self.storage = storage_of(seed, self.true_time, scenario.processes > 1)
        if self.storage.embedded:
            self._scenario = alone(scenario)
        self.books = Books(self._loop, self.storage, self.trace, self.coverage)
        self._processes: list[Process] = []

    def true_time(self) -> Instant:
        return Instant(BEGIN + int((self._loop.time() - BEGIN_SECONDS) * 1_000))

    def play(self) -> Outcome:
        wrong = ""
        try:
            self._loop.run_until_complete(self._play())
        except Exception as error:  # noqa: BLE001  # whatever ends a world is its outcome
            wrong = f"{type(error).__name__}: {error}"
        finally:
            for process in self._processes:
                process.bury()
            self._loop.put_away([one for one in self.books.tasks if not one.done()])
            self._loop.close()
        return Outcome(
            seed=self.seed,
            wrong=wrong,
            trace_hash=self.trace.hash(),
            steps=self._loop.steps,
            virtual_seconds=self._loop.time() - BEGIN_SECONDS,
            events=len(self.books.by_id),
            repeats=self.books.repeats,
            coverage=self.coverage,
            lines=tuple(self.trace.lines),
        )

    async def _play(self) -> None:
        scenario = self._scenario
        first = self.storage.open(self.true_time)
        await first.start()
        stage = await Builder(first, random.Random(f"{self.seed} stage")).build(scenario.wish)
        if self.storage.embedded:
            await first.close()
        self.books.open_books(stage)
        around = Surroundings(
            loop=self._loop,
            storage=self.storage,
            network=self._network,
            witness=self.books,
            root=stage.root,
            told=self._told,
            opened=self._opened,
            hints_lost=scenario.hints_lost,
            disk_slow=scenario.disk_slow,
            disk_rots=scenario.disk_rots,
        )
        cast = Cast(around, stage, self.books, random.Random(f"{self.seed} cast"))
        cast.processes, cast.processes_max, cast.skews = self._processes, scenario.processes, scenario.skews
        if not self.storage.embedded:
            first.journal.on_news(lambda stores: _hinted(cast, stores))
        senders = Senders(
            self.books, self._network, random.Random(f"{self.seed} senders"), self.true_time, cast.serving
        )
        senders.manners = Manners(*scenario.manners)
        for _ in range(scenario.processes):
            cast.join()
        plot = scenario.plot
        await self._direct(cast, senders, self.books, random.Random(f"{self.seed} director"), plot).play()
        self._loop.fail_if_broken()
        self.books.close()

    async def _opened(self, process: Process, engine: Engine) -> None:
        engine.journal.on_news(process.hint)
        await reopened(self.books, process, engine)

    def _fault(self, what: str) -> None:
        self.coverage.saw("fault", what)
        self.trace.tell(self._loop.time(), "network", what)

    def breached(self, error: BaseException) -> None:
        self._loop.fail(error)

    def _told(self, process: Process, name: str, fields: Mapping[str, Value]) -> None:
        shown = " ".join(f"{key}={value}" for key, value in fields.items() if key not in UNSTABLE)
        self.trace.tell(self._loop.time(), process, name, shown)
        self.books.line(process, name, fields)


UNSTABLE: frozenset[str] = frozenset()


def _hinted(cast: Cast, stores: frozenset[object]) -> None:
    for process in cast.living():
        process.hint(stores)  # type: ignore[arg-type]  # a journal names its stores
