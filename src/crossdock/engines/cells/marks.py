"""One number outside for a place in each cell's log inside. Within a process a later number never stands for an earlier
place in any cell."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

KEPT_MAX = 256  # whoever asks with an older number is answered from the oldest that is kept: with more, never less

Places = Mapping[str, int]
"""Cell → how far it was read; a cell that never answered is not there."""


@dataclass
class Marks:
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _kept: dict[int, Places] = field(default_factory=dict)
    _last: int = 0

    def number(self, places: Places) -> int:
        """The same number for the same places."""
        if self._kept.get(self._last) != places:
            self._last += 1
            self._kept[self._last] = dict(places)
            if len(self._kept) > KEPT_MAX:
                del self._kept[next(iter(self._kept))]
        return self._last

    def places(self, number: int) -> Places:
        return self._kept.get(number) or next(iter(self._kept.values()), {})
