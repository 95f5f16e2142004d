"""One town for all tests of a process; `town` is clean."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cells_world import Town, town_of

from postgres import Estate


@pytest.fixture(scope="session")
def built_town(postgres_estate: Estate) -> Iterator[Town]:
    with town_of(postgres_estate, "a", "b") as town:
        yield town


@pytest.fixture
def town(built_town: Town) -> Town:
    built_town.clean()
    return built_town
