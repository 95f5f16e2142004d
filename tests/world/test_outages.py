"""What SQLite acknowledged outlives power cuts, crashes and a failing disk; and the planted faults are found."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest
from bench.cuts import failing_syncs
from bench.lax import LAX

from crossdock.testing.world.outages import Broken, Outages

LIVES = 20


async def lived(seed: int, faults: bool = False, lives: int = LIVES) -> Outages:
    outages = Outages(seed, faults)
    try:
        for _ in range(lives):
            await outages.life()
        await outages.finish()
    finally:
        outages.close()
    return outages


async def lived_one_after_the_other(seeds: int) -> None:
    for seed in range(seeds):
        await lived(seed)


@pytest.mark.parametrize("seed", range(15))
async def test_what_was_acknowledged_outlives_every_power_cut(seed: int) -> None:
    outages = await lived(seed)
    assert outages.ends == LIVES
    assert outages.known.acknowledged > 0
    assert outages.refused == 0


@pytest.mark.parametrize("seed", range(100, 110))
async def test_on_a_failing_disk_too(seed: int) -> None:
    outages = await lived(seed, faults=True, lives=2 * LIVES)
    assert outages.known.acknowledged > 0
    assert outages.refused > 0


@pytest.mark.parametrize("fault", [name for name in LAX if name.startswith(("sync", "ack"))])
async def test_a_planted_fault_is_found(fault: str) -> None:
    with LAX[fault](), pytest.raises(Broken, match=r"are gone|was answered|does not"):
        await lived_one_after_the_other(10)


async def test_a_start_that_trusts_the_wal_is_found() -> None:
    with LAX["trust-the-WAL"](), pytest.raises(Broken, match=r"are gone|was answered"):
        await lived_one_after_the_other(200)


async def test_an_error_of_a_sync_is_never_an_answer_and_never_tried_again() -> None:
    seen = await failing_syncs(1)
    assert (seen.broken, seen.first) == (0, "")
    assert seen.ends > 10
    assert seen.acked > seen.ends
    assert seen.refused > seen.ends


@pytest.mark.parametrize("fault", ["swallow-EIO", "go-on-after-EIO"])
async def test_who_passes_over_an_error_is_found(fault: str) -> None:
    with LAX[fault]():
        assert (await failing_syncs(1)).broken > 0


RUN = """
import asyncio, test_outages
outages = asyncio.run(test_outages.lived(5, faults=True, lives=40))
print(outages.trace, outages.disk.calls, outages.known.acknowledged, outages.refused)
"""


def test_the_same_seed_gives_the_same_lives_in_another_process() -> None:
    here = os.path.dirname(__file__)
    seen = {
        subprocess.run(
            [sys.executable, "-c", RUN],
            env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": os.pathsep.join([here, *sys.path])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(2)
    }
    assert len(seen) == 1
    mine = asyncio.run(lived(5, faults=True, lives=40))
    assert seen.pop().split()[0] == mine.trace
