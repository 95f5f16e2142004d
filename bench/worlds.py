"""Rows 2, 5, 17, 20 and 22: simulated worlds (crossdock.testing.world) on every core: on the in-memory engine, and
rows 2 and 22 also on SQLite, whose simulated disk loses its power.

A planted fault is one of tests/world/saboteurs.py or of `lax`, which the tests show to be found too."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from bench.lax import LAX
from bench.result import Result, below
from crossdock.testing.world.command import Job, Tally
from crossdock.testing.world.command import play as one
from crossdock.testing.world.healthy import p99_of_healthy
from crossdock.testing.world.patience import patience
from crossdock.testing.world.run import Outcome

PLANTED = Path(__file__).resolve().parents[1] / "tests" / "world"
SHARE = 25
"""Seeds that a process plays before the next share is given out."""
PLAYED = "from bench.worlds import counted, play, told; import sys; print(told(counted(play(*sys.argv[1:]))))"
ENGINES = {"world": "memory", "sqlite": "sqlite"}
"""What the engine of a promise is in a world."""


def planted(saboteur: str) -> AbstractContextManager[None]:
    if not saboteur:
        return nullcontext()
    if saboteur in LAX:
        return LAX[saboteur]()
    sys.path.insert(0, str(PLANTED))
    from saboteurs import FUNCTIONS  # noqa: PLC0415  # tests/world is no package of ours

    active: AbstractContextManager[None] = FUNCTIONS[saboteur]()
    return active


def play(engine: str, plot: str, first: str, last: str, saboteur: str) -> list[Outcome]:
    with planted(saboteur):
        return [one(Job(seed, ENGINES[engine], plot)) for seed in range(int(first), int(last) + 1)]


def counted(outcomes: Iterable[Outcome]) -> Tally:
    tally = Tally()
    for outcome in outcomes:
        tally.add(outcome)
    return tally


def played(engine: str, plot: str, count: int, saboteur: str) -> Tally:
    """Seeds 1 to `count`, shared out."""
    shares = [
        (engine, plot, str(first), str(min(count, first + SHARE - 1)), saboteur) for first in range(1, count + 1, SHARE)
    ]
    with multiprocessing.get_context("spawn").Pool() as pool:
        return counted(outcome for outcomes in pool.imap(_share, shares) for outcome in outcomes)


def _share(share: tuple[str, str, str, str, str]) -> list[Outcome]:
    return play(*share)


def _first(tally: Tally) -> str:
    return f"; seed {tally.broken[0].seed}: {tally.broken[0].wrong[:200]}" if tally.broken else ""


def row_2_worlds(engine: str, count: int, saboteur: str) -> Result:
    """Every ledger closes and nothing vanishes, after each step of `count` worlds."""
    began = time.monotonic()
    tally = played(engine, "any" if engine == "world" else "outages", count, saboteur)
    took = time.monotonic() - began
    cuts = tally.coverage.of("fault").get("power_cut", 0)
    seen = (
        f"{len(tally.broken)} of {tally.seeds} seeds broken{below(len(tally.broken), tally.seeds)}, "
        f"{tally.events} events{f', {cuts} power cuts' if cuts else ''}, {tally.seeds / took:.0f} seeds a second"
        f"{_first(tally)}"
    )
    return Result(not tally.broken, seen)


def row_5(engine: str, count: int, saboteur: str) -> Result:
    """Order per key, and a stuck key blocks only itself: `count` keys, one of a hundred poisoned."""
    del engine
    with planted(saboteur):
        before, _ = p99_of_healthy(count, poison=0.0)
        after, wrong = p99_of_healthy(count, poison=0.01)
    holds = not wrong and after <= 1.2 * before
    return Result(holds, f"healthy keys' p99 {after:.0f} ms, {before:.0f} ms without poison; {wrong or '0 inversions'}")


def row_17(engine: str, count: int, saboteur: str) -> Result:
    """A far end is away for an hour; `count` events come meanwhile, of which most wait when it is back."""
    del engine
    with planted(saboteur):
        seen = patience(count)
    return Result(
        seen.holds,
        f"{seen.waited:,} waited, {seen.retries:,} retries after {seen.firsts:,} first attempts "
        f"({seen.retries / seen.firsts:.1%}), jitter even with p {seen.jitter:.2f}, {seen.crowding} sends above the "
        f"pace in the first minute; {seen.wrong or 'nothing lost'}",
    )


def row_20(engine: str, count: int, saboteur: str) -> Result:
    """Clocks that jump by up to a day: nothing is lost, nothing is sent early."""
    del engine
    tally = played("world", "clocks", count, saboteur)
    jumps = tally.coverage.of("fault").get("jump", 0)
    return Result(
        not tally.broken,
        f"{len(tally.broken)} of {tally.seeds} seeds broken{below(len(tally.broken), tally.seeds)}, "
        f"{jumps} jumps, {tally.events} events{_first(tally)}",
    )


def row_22(engine: str, count: int, saboteur: str) -> Result:
    """Each seed twice, in processes whose hashes differ: the same traces."""
    began = [_under(engine, hash_seed, count, saboteur) for hash_seed in (1, 2)]
    hashes = [one.communicate()[0].strip() for one in began]
    same = len(set(hashes)) == 1 and all(hashes)
    shown = " and ".join(one[:40] for one in hashes)
    return Result(same and hashes[0].startswith("0 broken"), f"{count} seeds under two hash seeds: {shown}")


def told(tally: Tally) -> str:
    return f"{len(tally.broken)} broken, traces {tally.hash}"


def _under(engine: str, hash_seed: int, count: int, saboteur: str) -> subprocess.Popen[str]:
    command: Sequence[str] = [sys.executable, "-c", PLAYED, engine, "any", "1", str(count), saboteur]
    return subprocess.Popen(
        command, env={**os.environ, "PYTHONHASHSEED": str(hash_seed)}, stdout=subprocess.PIPE, text=True
    )
