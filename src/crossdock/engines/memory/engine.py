"""The in-memory engine: the reference that the others are compared with. Everything is gone when the process ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from crossdock.engines.memory.registry import MemoryRegistry
from crossdock.engines.memory.slots import MemorySlots
from crossdock.journal.memory import MemoryJournal, MemoryLanes, MemoryState
from crossdock.journal.slots import Slots, WholeSlots
from crossdock.model.ids import Instant
from crossdock.model.lane import Fence
from crossdock.stores.port import Finding


class MemoryEngine:
    """`stores.port.Engine` without durability: for tests and for trying things out. With `slots`, several deliverers
    may share it; without, one owns it whole."""

    name = "memory"

    def __init__(self, clock: Callable[[], Instant], slots: MemorySlots | None = None) -> None:
        state = MemoryState()
        self._slots = slots
        self._journal = MemoryJournal(state)
        self._lanes = MemoryLanes(state, stands_always if slots is None else slots.stands)
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

    @property
    def slots(self) -> Slots:
        return self._slots or WholeSlots()

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


def stands_always(fence: Fence) -> bool:
    """What one process owns, nobody else takes."""
    return True
