"""What was acknowledged, and how long nothing was."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Word:
    """Ids that were acknowledged. `done` ends the senders. `refused` counts what was not acknowledged, by status or by
    the name of the error; `unhelpful` the answers 503 that do not say when to try again."""

    ids: set[str] = field(default_factory=set)
    refused: dict[str, int] = field(default_factory=dict)
    unhelpful: int = 0
    done: bool = False
    _last: float = 0.0
    _silence: float = 0.0

    def acknowledged(self, one: str) -> None:
        now = time.monotonic()
        self._silence, self._last = max(self._silence, now - self._last), now
        self.ids.add(one)

    def not_acknowledged(self, why: str) -> None:
        self.refused[why] = self.refused.get(why, 0) + 1

    def refusals(self) -> str:
        return ", ".join(f"{count} x {why}" for why, count in sorted(self.refused.items())) or "nothing"

    def listen(self) -> None:
        """Measures silence from now on."""
        self._last, self._silence = time.monotonic(), 0.0

    @property
    def silence_seconds(self) -> float:
        """The longest time without a word since `listen`, up to the last word."""
        return self._silence

    def heard(self, seconds_max: float) -> bool:
        """Whether somebody is acknowledged from now on."""
        before, until = len(self.ids), time.monotonic() + seconds_max
        while len(self.ids) == before:
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        return True
