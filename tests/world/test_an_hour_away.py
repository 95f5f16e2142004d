"""A far end that is away for an hour, in virtual time. The published count is played by `bench.promises`, row 17."""

from __future__ import annotations

import random

import pytest

from crossdock.testing.world.patience import Patience, even, patience
from saboteurs import no_budget

EVENTS = 1_000
SEED = 2


@pytest.fixture(scope="module")
def seen() -> Patience:
    return patience(EVENTS, SEED)


def test_all_that_waited_arrives_and_nobody_is_crowded(seen: Patience) -> None:
    assert seen.wrong == ""
    assert seen.waited > EVENTS / 3
    assert seen.crowding == 0


def test_its_retries_are_spread_evenly(seen: Patience) -> None:
    assert seen.jitter > 0.01


def test_without_a_budget_it_would_be_attacked(seen: Patience) -> None:
    with no_budget():
        assert patience(EVENTS, SEED).retries > 3 * seen.retries


def test_draws_that_are_not_even_are_seen() -> None:
    dice = random.Random(1)
    assert even(dice.random() for _ in range(2_000)) > 0.01
    assert even(dice.random() ** 1.3 for _ in range(2_000)) < 0.01
    assert even(0.5 + dice.random() / 2 for _ in range(100)) < 0.01
    assert even([0.0] * 5) < 0.01
