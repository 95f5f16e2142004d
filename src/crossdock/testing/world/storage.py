"""Where a world's data lies: the in-memory reference, which outlives every process and is shared by all of them, or
SQLite on a simulated disk, which one process at a time opens and which loses with it whatever was not on the disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from crossdock.engines.memory.engine import MemoryEngine
from crossdock.engines.memory.slots import MemorySlots
from crossdock.model.ids import Instant
from crossdock.stores.port import Engine
from crossdock.testing.world.disk import Disk

Clock = Callable[[], Instant]
CHECKPOINT_PAGES = 60  # few, so that checkpoints come within a world's short life
CALLS_MAX = 60  # of the disk, until the end that was ordered comes: a change makes about three


class Storage(Protocol):
    """`embedded`: the engine lives and ends with the one process that opened it. `engine` is the one that stands."""

    name: str
    embedded: bool

    @property
    def engine(self) -> Engine: ...

    def open(self, clock: Clock, on_down: Callable[[], None] | None = None) -> Engine:
        """The engine for a process with this clock, not started if it is embedded. `on_down`: the process ends."""
        ...

    def died(self) -> None:
        """The process that had it open is gone."""
        ...

    def order_end(self, calls: int, *, power: bool) -> None:
        """The process is to end during the `calls`th call of the disk from now, and the power with it."""
        ...

    def mend(self) -> None:
        """What was ordered and has not come does not come any more."""
        ...

    def close(self) -> None: ...


StorageOf = Callable[[int, Clock, bool], Storage]
"""For a seed, the true time, and whether several processes share it."""


class Memory:
    name = "memory"
    embedded = False

    def __init__(self, clock: Clock, shared: bool) -> None:
        self.engine: Engine = MemoryEngine(clock, MemorySlots(clock) if shared else None)

    def open(self, clock: Clock, on_down: Callable[[], None] | None = None) -> Engine:
        return self.engine

    def died(self) -> None:
        """It belongs to nobody."""

    def order_end(self, calls: int, *, power: bool) -> None:
        """It has no disk."""

    def mend(self) -> None:
        """Nothing can be ordered."""

    def close(self) -> None:
        """It goes with the world."""


class OnDisk:
    name = "sqlite"
    embedded = True

    def __init__(self, seed: int) -> None:
        self.disk = Disk(f"{seed} world", CHECKPOINT_PAGES)
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        assert self._engine is not None, "nobody has opened it"  # noqa: S101
        return self._engine

    def open(self, clock: Clock, on_down: Callable[[], None] | None = None) -> Engine:
        self.disk.on_down = None
        self._engine = self.disk.open_engine(clock)
        self.disk.on_down = on_down
        return self._engine

    def died(self) -> None:
        self.disk.on_down = None
        self.disk.crash()

    def order_end(self, calls: int, *, power: bool) -> None:
        if power:
            self.disk.power_cut(calls)
        else:
            self.disk.crash(calls)

    def mend(self) -> None:
        self.disk.mend()

    def close(self) -> None:
        self.disk.on_down = None
        self.disk.close()


def memory(seed: int, clock: Clock, shared: bool) -> Storage:
    return Memory(clock, shared)


def sqlite(seed: int, clock: Clock, shared: bool) -> Storage:
    return OnDisk(seed)
