"""The in-memory engine: the reference that the others are compared with. Everything is gone when the process ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from crossdock.engines.memory.registry import MemoryRegistry
from crossdock.journal.memory import MemoryJournal, MemoryLanes, MemoryState
from crossdock.model.ids import Instant
from crossdock.stores.port import Finding


class MemoryEngine:
    """`stores.port.Engine` without durability: for tests and for trying things out."""

    name = "memory"

    def __init__(self, clock: Callable[[], Instant]) -> None:
        state = MemoryState()
        self._journal = MemoryJournal(state)
        self._lanes = MemoryLanes(state)
        self._registry = MemoryRegistry(state, self._lanes, clock)

    @property
    def journal(self) -> MemoryJournal:
        return self._journal

    @property
    def lanes(self) -> MemoryLanes:
        return self._lanes

    @property
    def registry(self) -> MemoryRegistry:
        return self._registry

    async def start(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def writable(self) -> None:
        return None

    async def findings(self) -> Sequence[Finding]:
        return [
            Finding(
                code="CD5008",
                ok=False,
                fatal=False,
                what="The in-memory engine keeps nothing across a restart.",
                remedy="Use the SQLite engine for anything that matters.",
            )
        ]
