"""The same seed makes the same run, in any process and whatever the hash of a name is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from crossdock.testing.world.command import play_all
from crossdock.testing.world.run import run

HERE = Path(__file__).resolve().parent
SEEDS = 8
PLAYED = """
import contextlib, sys
sys.path.insert(0, sys.argv[1])
import saboteurs
from crossdock.testing.world.command import play_all
planted = getattr(saboteurs, sys.argv[2])() if sys.argv[2] else contextlib.nullcontext()
with planted:
    print(play_all(range(1, int(sys.argv[3]) + 1), plot=sys.argv[4]).hash)
"""


def hash_under(hash_seed: int, saboteur: str = "", seeds: int = SEEDS, plot: str = "any") -> str:
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    done = subprocess.run(
        [sys.executable, "-c", PLAYED, str(HERE), saboteur, str(seeds), plot],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_the_same_seeds_make_the_same_traces_under_another_hash_seed() -> None:
    here = play_all(range(1, SEEDS + 1)).hash
    assert hash_under(1) == hash_under(2) == here


def test_an_order_that_hangs_on_hashes_is_seen() -> None:
    assert len({hash_under(seed, "news_by_hash", 4, "leases") for seed in (1, 2, 3)}) > 1


def test_a_seed_is_the_same_whatever_was_played_before_it() -> None:
    first = run(7).trace_hash
    run(3)
    assert run(7).trace_hash == first
    assert run(8).trace_hash != first
