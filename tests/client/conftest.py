from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from far_end import FarEnd, served


@pytest.fixture
def far_end() -> Iterator[FarEnd]:
    with served() as server:
        yield server
