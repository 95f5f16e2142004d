"""Two cells behind a directory pass the suites that one engine passes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from cells_world import Town

from crossdock.stores.port import Engine
from crossdock.testing.journal_suite import JournalSuite
from crossdock.testing.lanes_suite import LanesSuite
from crossdock.testing.registry_suite import RegistrySuite


class TestBesideAnEmptyCell(JournalSuite, LanesSuite, RegistrySuite):
    @pytest.fixture
    async def engine(self, town: Town) -> AsyncIterator[Engine]:
        async with town.engine("b", "a", place="b") as engine:
            yield engine


class TestApart(JournalSuite, LanesSuite):
    """The suites' two stores in two cells. These tests of the suites make one call, or one change, for both: here that
    is refused (`test_cells.py`), or set the epoch of a place that the directory does not know of."""

    test_one_stores_lane_never_reads_anothers_entries = None  # type: ignore[assignment]
    test_open_lanes_of_some_stores_are_those_of_no_other = None  # type: ignore[assignment]
    test_a_lane_whose_gate_is_not_open_is_not_read_and_settles_until_it_is_shut = None  # type: ignore[assignment]
    test_news_names_the_stores_that_got_entries = None  # type: ignore[assignment]
    test_what_moved_since_a_mark_is_named_and_nothing_that_moved_is_missed = None  # type: ignore[assignment]
    test_a_gate_that_is_not_open_refuses_entries_and_harms_no_call_beside = None  # type: ignore[assignment]
    test_a_gate_that_is_opened_again_lets_entries_in_and_counts_as_moved = None  # type: ignore[assignment]

    @pytest.fixture
    async def engine(self, town: Town) -> AsyncIterator[Engine]:
        town.put("north", "a")
        town.put("south", "b")
        async with town.engine() as engine:
            yield engine
