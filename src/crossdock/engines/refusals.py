"""What every engine says when a registry write cannot be made, in the same words."""

from __future__ import annotations

from crossdock.model.errors import Bug, Conflict
from crossdock.model.ids import LaneId, StoreId


def taken(store: StoreId) -> Conflict:
    return Conflict("CD3003", f"The store id {store} is taken.", remedy="Choose another id.")


def moved(what: str) -> Conflict:
    """`what` starts the sentence: the row that the write was decided on."""
    return Conflict(
        "CD3002", f"{what} is not as it was read. Nothing was written.", remedy="Read it again, and decide."
    )


def needed(present: bool, what: str) -> None:
    """Bug (CD5006) if what a write leans on is not there: the use case read it, and rows of it are never removed."""
    if not present:
        raise Bug("CD5006", f"A write names the {what}, which does not exist. Nothing was written.")


def check_version(what: str, version: int, expected: int) -> None:
    """Bug (CD5006) unless a replacing row has a version above the one that it replaces."""
    if version <= expected:
        raise Bug("CD5006", f"A {what} was written with version {version}, which is not above {expected}.")


def unequal_keys(lane: LaneId) -> Bug:
    return Bug("CD5006", "A replay names not as many keys as positions. Nothing was written.", where=f"lane {lane}")
