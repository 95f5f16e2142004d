"""A small cache of what was compiled from an immutable object, found by the object's identity.

Contracts, field lists and schema documents live as long as the catalogue; hashing them on each event would cost more
than using them. The cache holds the object itself, so an identity cannot be taken over by another one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Source = TypeVar("Source")
Made = TypeVar("Made")

KEPT_MAX = 2_048  # far above what a catalogue holds; a bound for programs that compile schemas on the fly


class ByIdentity(Generic[Source, Made]):
    """`of(source)` makes once and answers the same object afterwards. The source must never change."""

    def __init__(self, make: Callable[[Source], Made]) -> None:
        self._make = make
        self._kept: dict[int, tuple[Source, Made]] = {}

    def of(self, source: Source) -> Made:
        found = self._kept.get(id(source))
        if found is not None:
            return found[1]
        made = self._make(source)
        if len(self._kept) >= KEPT_MAX:
            self._kept.clear()
        self._kept[id(source)] = (source, made)
        return made
