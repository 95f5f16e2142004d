"""Many worlds: seeds in a range, over several processes, counted together."""

from __future__ import annotations

import argparse
import gc
import hashlib
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from crossdock.testing.world.plots import PLOTS
from crossdock.testing.world.run import Outcome, run
from crossdock.testing.world.storage import memory, sqlite
from crossdock.testing.world.trace import Coverage

Say = Callable[[str], None]
ENGINES = {"memory": memory, "sqlite": sqlite}
SEEDS_BETWEEN_COLLECTIONS = 50
CHUNK = 20


@dataclass(slots=True)
class Tally:
    """Outcomes of many seeds. `hash` is over all trace hashes, in the order of the seeds."""

    seeds: int = 0
    events: int = 0
    repeats: int = 0
    steps: int = 0
    coverage: Coverage = field(default_factory=Coverage)
    broken: list[Outcome] = field(default_factory=list)
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def add(self, outcome: Outcome) -> None:
        self.seeds += 1
        self.events += outcome.events
        self.repeats += outcome.repeats
        self.steps += outcome.steps
        self.coverage.add(outcome.coverage)
        self._digest.update(f"{outcome.seed} {outcome.trace_hash}\n".encode())
        if not outcome.holds:
            self.broken.append(outcome)

    @property
    def hash(self) -> str:
        return self._digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Job:
    seed: int
    engine: str
    plot: str


def play(job: Job) -> Outcome:
    gc.disable()  # a world makes little that has to be collected, and a collection looks at everything
    if job.seed % SEEDS_BETWEEN_COLLECTIONS == 0:
        gc.collect()
    return run(job.seed, storage_of=ENGINES[job.engine], scenario=PLOTS[job.plot](job.seed))


def play_all(seeds: Sequence[int], *, engine: str = "memory", plot: str = "any", jobs: int = 1) -> Tally:
    """The outcomes of all seeds, in their order whatever the number of processes."""
    tally = Tally()
    for outcome in _outcomes([Job(seed, engine, plot) for seed in seeds], jobs):
        tally.add(outcome)
    return tally


def _outcomes(todo: Sequence[Job], jobs: int) -> Iterator[Outcome]:
    if jobs == 1:
        yield from map(play, todo)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(play, todo, chunksize=CHUNK)


def seeds_of(text: str) -> range:
    """`7` or `1..1000`, both ends included."""
    first, _, last = text.partition("..")
    return range(int(first), int(last or first) + 1)


def how_to_run(outcome: Outcome, engine: str, plot: str) -> str:
    more = ("" if engine == "memory" else f" --engine {engine}") + ("" if plot == "any" else f" --plot {plot}")
    return f"python -m crossdock.testing.world --seeds {outcome.seed} --trace{more}"


def main(arguments: Sequence[str] | None = None, say: Say = print) -> int:
    given = _parser().parse_args(arguments)
    seeds = seeds_of(given.seeds)
    if given.trace:
        return _traced(seeds, given, say)
    began = time.monotonic()
    tally = play_all(seeds, engine=given.engine, plot=given.plot, jobs=given.jobs)
    took = max(time.monotonic() - began, 1e-9)
    for outcome in tally.broken:
        say(f"seed {outcome.seed}: {outcome.wrong}")
        say(f"  again: {how_to_run(outcome, given.engine, given.plot)}")
    if given.coverage:
        for line in _coverage(tally.coverage):
            say(line)
    say(
        f"{tally.seeds} seeds in {took:.1f} s ({tally.seeds / took:.1f} a second): {tally.events} events, "
        f"{tally.repeats} sent again, {len(tally.broken)} broken; traces {tally.hash}"
    )
    return 1 if tally.broken else 0


def _traced(seeds: Iterable[int], given: argparse.Namespace, say: Say) -> int:
    broken = 0
    for seed in seeds:
        outcome = run(seed, storage_of=ENGINES[given.engine], scenario=PLOTS[given.plot](seed), keep=True)
        for line in outcome.lines:
            say(line)
        say(f"seed {seed}: {outcome.wrong or 'every promise held'}; trace {outcome.trace_hash}")
        broken += not outcome.holds
    return 1 if broken else 0


def _coverage(coverage: Coverage) -> Iterator[str]:
    for kind in sorted({kind for kind, _ in coverage.reached}):
        yield f"{kind}: " + ", ".join(f"{name} {count}" for name, count in coverage.of(kind).items())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m crossdock.testing.world", description=__doc__)
    parser.add_argument("--seeds", default="1..100", help="a seed, or FIRST..LAST")
    parser.add_argument("--engine", default="memory", choices=sorted(ENGINES))
    parser.add_argument("--plot", default="any", choices=sorted(PLOTS))
    parser.add_argument("--jobs", type=int, default=1, help="how many processes share the seeds")
    parser.add_argument("--trace", action="store_true", help="print what happens, line by line")
    parser.add_argument("--coverage", action="store_true", help="print what was reached, and how often")
    return parser
