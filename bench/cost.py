"""What processes cost: CPU seconds and memory, as the kernel counts them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


@dataclass(frozen=True, slots=True)
class Cost:
    """`cpu` in seconds, of the process and of children that it has waited for; `memory` in MiB, with shared pages."""

    cpu: float = 0.0
    memory: float = 0.0

    def plus(self, other: Cost) -> Cost:
        return Cost(self.cpu + other.cpu, self.memory + other.memory)

    def since(self, before: Cost) -> float:
        """CPU seconds."""
        return self.cpu - before.cpu


def of(pid: int) -> Cost:
    """Of one process; nothing of one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        own = time.clock_gettime(clock_of(pid))
    except OSError:
        return Cost()
    waited_for = sum(int(value) for value in fields[13:15]) / TICKS
    return Cost(own + waited_for, pages * PAGE_KIB / 1024)


def clock_of(pid: int) -> int:
    """The kernel's clock of a process's CPU time; it counts nanoseconds, where /proc/PID/stat has ticks of 10 ms. See
    clock_getcpuclockid(3) and, for the form, include/linux/posix-timers.h: the inverted pid, then CPUCLOCK_SCHED."""
    return (~pid << 3) | 2


def of_tree(pid: int) -> Cost:
    """Of a process and everything below it."""
    total = of(pid)
    for child in children(pid):
        total = total.plus(of_tree(child))
    return total


def children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
