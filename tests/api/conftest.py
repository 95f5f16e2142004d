from __future__ import annotations

from collections.abc import Iterator

import pytest

from api.house import House, house_in, settings_in


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house_in(settings_in(tmp_path_factory.mktemp("house"))) as made:
        yield made
