"""What happened, in one order, and a hash of it; and what of all that can happen was reached."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field

LINES_KEPT_MAX = 20_000  # of one world; its hash goes on beyond


@dataclass(slots=True)
class Trace:
    """`tell` takes only what is the same in every run of a seed: no address, no hash, no set in its own order."""

    keep: bool = False
    lines: list[str] = field(default_factory=list)
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    count: int = 0

    def tell(self, at: float, *what: object) -> None:
        line = f"{(at - 1_000) * 1_000:.3f} {' '.join(map(str, what))}"
        self._digest.update(line.encode() + b"\n")
        self.count += 1
        if self.keep and len(self.lines) < LINES_KEPT_MAX:
            self.lines.append(line)

    def hash(self) -> str:
        return self._digest.hexdigest()


@dataclass(slots=True)
class Coverage:
    """How often each thing was reached, by kind: `move`, `breaker`, `decision`, `fault`, `answer`, `ingest`, `act`."""

    reached: Counter[tuple[str, str]] = field(default_factory=Counter)

    def saw(self, kind: str, what: object) -> None:
        self.reached[kind, str(what)] += 1

    def add(self, other: Coverage) -> None:
        self.reached.update(other.reached)

    def of(self, kind: str) -> dict[str, int]:
        return {name: count for (one, name), count in sorted(self.reached.items()) if one == kind}
