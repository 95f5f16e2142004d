"""What a promise's test found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Result:
    """One row of the table: whether the promise holds, and what was seen."""

    holds: bool
    seen: str


def below(found: int, of: int) -> str:
    """The bound that none of so many gives with 95 % confidence (rule of three)."""
    return "" if found or not of else f" (below {3 / of:.1e})"
