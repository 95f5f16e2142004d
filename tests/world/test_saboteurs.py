"""Every planted bug is found by a world, within a bounded number of seeds; the same seed is clean without it."""

from __future__ import annotations

import pytest

from crossdock.testing.world.plots import PLOTS
from crossdock.testing.world.run import Outcome, run
from saboteurs import SABOTEURS, Planted


def hunt(planted: Planted) -> Outcome | None:
    """The first of its seeds that shows it."""
    with planted.active():
        for seed in range(planted.first, planted.first + planted.seeds_max):
            outcome = run(seed, scenario=PLOTS[planted.plot](seed))
            if not outcome.holds:
                return outcome
    return None


@pytest.mark.parametrize("name", SABOTEURS)
def test_a_planted_bug_is_found(name: str) -> None:
    planted = SABOTEURS[name]
    found = hunt(planted)
    assert found is not None, f"{name} stayed hidden in {planted.seeds_max} seeds"
    clean = run(found.seed, scenario=PLOTS[planted.plot](found.seed))
    assert clean.holds, clean.wrong


def test_there_is_a_dozen_of_them_at_least() -> None:
    assert len(SABOTEURS) >= 12
