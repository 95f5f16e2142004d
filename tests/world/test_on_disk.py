"""Worlds whose journal is SQLite on a simulated disk: its process ends at any call, mostly with the power."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from bench.lax import LAX

from crossdock.testing.world.command import Tally, play_all

SEEDS = {"any": 40, "outages": 40, "people": 10, "refusals": 10}
PLAYED = """
from crossdock.testing.world.command import play_all
print(play_all(range(1, 7), engine="sqlite", plot="outages").hash)
"""


@pytest.fixture(scope="module")
def played() -> dict[str, Tally]:
    return {plot: play_all(range(1, count + 1), engine="sqlite", plot=plot) for plot, count in SEEDS.items()}


@pytest.mark.parametrize("plot", SEEDS)
def test_every_promise_holds_through_every_outage(plot: str, played: dict[str, Tally]) -> None:
    assert played[plot].broken == []
    assert played[plot].events > 3 * SEEDS[plot]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("fault", "power_cut"),
        ("fault", "crash_at_the_disk"),
        ("fault", "crash"),
        ("reopened", "nothing unanswered"),
        ("reopened", "an unanswered event is there"),
        ("reopened", "an unanswered settle is there"),
    ],
)
def test_ends_come_before_and_after_what_they_interrupt(kind: str, name: str, played: dict[str, Tally]) -> None:
    assert any(tally.coverage.of(kind).get(name) for tally in played.values())


@pytest.mark.parametrize("fault", ["synchronous=NORMAL", "synchronous=OFF", "ack-before-commit"])
def test_a_planted_fault_of_the_engine_is_found(fault: str) -> None:
    with LAX[fault]():
        for first in range(1, 200, 20):
            tally = play_all(range(first, first + 20), engine="sqlite", plot="outages")
            if tally.broken:
                break
    assert tally.broken, f"{fault} stayed hidden"
    assert play_all([tally.broken[0].seed], engine="sqlite", plot="outages").broken == []


def test_the_same_seeds_make_the_same_traces_under_another_hash_seed() -> None:
    hashes = {
        subprocess.run(
            [sys.executable, "-c", PLAYED],
            env={**os.environ, "PYTHONHASHSEED": str(seed)}, capture_output=True, text=True, check=True,
        ).stdout
        for seed in (1, 2)
    }  # fmt: skip
    assert len(hashes) == 1
