"""The pictures of how delivery decides are those of the tables that run."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossdock.cli.drawings import DRAWINGS, MARKED, drawn, states
from crossdock.model.lane import HeldSignal, HeldState

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "how-delivery-decides.md"


def test_every_drawing_stands_in_the_page_as_it_is_now(request: pytest.FixtureRequest) -> None:
    text = PAGE.read_text(encoding="utf-8")
    if request.config.getoption("--accept"):
        PAGE.write_text(drawn(text), encoding="utf-8")
        text = PAGE.read_text(encoding="utf-8")
    assert {name for _, name, _ in MARKED.findall(text)} == set(DRAWINGS)
    assert drawn(text) == text


def test_a_move_that_is_added_changes_the_drawing() -> None:
    one = {(HeldState.PARKED, HeldSignal.BUSY): HeldState.RETRYING}
    assert "parked --> retrying: busy" in states(one)
