from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from crossdock.engines.memory.engine import MemoryEngine
from stores.counter import Clock, Counter, open_counter, sqlite


@pytest.fixture(params=["memory", "sqlite"])
async def counter(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Counter]:
    clock = Clock()
    engine = MemoryEngine(clock) if request.param == "memory" else sqlite(tmp_path / "crossdock.db", clock)
    made = await open_counter(engine, clock=clock)
    yield made
    await engine.close()
