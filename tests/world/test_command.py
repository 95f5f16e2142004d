"""The command: what it plays, what it prints, and how a failing seed is run again."""

from __future__ import annotations

import pytest

from crossdock.testing.world import command
from crossdock.testing.world.command import main, play_all, seeds_of
from saboteurs import ack_before_commit, patched


def said(*arguments: str) -> tuple[int, list[str]]:
    lines: list[str] = []
    return main(arguments, lines.append), lines


def test_it_says_how_many_seeds_it_played_and_their_hash() -> None:
    status, lines = said("--seeds", "1..4", "--coverage")
    assert status == 0
    assert lines[-1].startswith("4 seeds in ")
    assert lines[-1].endswith(play_all(range(1, 5)).hash)
    assert any(line.startswith("move: ") or line.startswith("fault: ") for line in lines)


def test_a_seed_that_fails_is_named_with_the_command_that_runs_it_again() -> None:
    with ack_before_commit():
        status, lines = said("--seeds", "3..3", "--plot", "people")
        again = lines[1].split("again: ")[1]
        assert again == "python -m crossdock.testing.world --seeds 3 --trace --plot people"
        traced, told = said(*again.split()[3:])
    assert (status, traced) == (1, 1)
    assert lines[0].startswith("seed 3: Violation: ")
    assert any("VIOLATION" in line for line in told)
    assert told[-1].startswith("seed 3: Violation: ")


def test_several_processes_tell_the_same_in_the_same_order() -> None:
    one, two = play_all(range(1, 31), jobs=1), play_all(range(1, 31), jobs=2)
    assert one.hash == two.hash
    assert one.coverage.reached == two.coverage.reached


@pytest.mark.parametrize(("text", "seeds"), [("7", [7]), ("3..5", [3, 4, 5])])
def test_seeds_are_written_as_one_or_as_first_and_last(text: str, seeds: list[int]) -> None:
    assert list(seeds_of(text)) == seeds


def test_each_violation_is_an_outcome_and_the_others_are_played_on() -> None:
    honest = command.run

    def run(seed: int, **given: object) -> object:
        with ack_before_commit() if seed == 2 else patched(command, "CHUNK", command.CHUNK):
            return honest(seed, **given)  # type: ignore[arg-type]

    with patched(command, "run", run):
        tally = play_all(range(1, 4))
    assert [outcome.seed for outcome in tally.broken] == [2]
    assert tally.seeds == 3
