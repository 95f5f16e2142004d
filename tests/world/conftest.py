"""Seeds that are played once and judged from several sides."""

from __future__ import annotations

import pytest

from crossdock.testing.world.command import Tally, play_all
from crossdock.testing.world.trace import Coverage

SEEDS = {"any": 80, "clocks": 8, "leases": 20, "refusals": 40, "people": 40, "rudeness": 40, "chains": 20}
"""By plot, from 1: enough to reach everything that can be reached."""


@pytest.fixture(scope="session")
def played() -> dict[str, Tally]:
    return {plot: play_all(range(1, count + 1), plot=plot) for plot, count in SEEDS.items()}


@pytest.fixture(scope="session")
def reached(played: dict[str, Tally]) -> Coverage:
    whole = Coverage()
    for tally in played.values():
        whole.add(tally.coverage)
    return whole
