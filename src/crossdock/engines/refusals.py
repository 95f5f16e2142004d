"""What every engine says when a registry write cannot be made, in the same words."""

from __future__ import annotations

from collections.abc import Mapping

from crossdock.journal.books import moving
from crossdock.model.errors import Bug, Conflict
from crossdock.model.ids import LaneId, StoreId
from crossdock.model.lane import Gate
from crossdock.stores.port import (
    AddConnection,
    AddRevision,
    AddStore,
    AddToken,
    Change,
    DropCredential,
    MoveConnection,
    PutCoreEndpoint,
    PutCredential,
    RevokeToken,
    SetWeight,
    Write,
)


def taken(store: StoreId) -> Conflict:
    return Conflict("CD3003", f"The store id {store} is taken.", remedy="Choose another id.")


def moved(what: str) -> Conflict:
    """`what` starts the sentence: the row that the write was decided on."""
    return Conflict(
        "CD3002", f"{what} is not as it was read. Nothing was written.", remedy="Read it again, and decide."
    )


def refuse_shut(gates: Mapping[StoreId, Gate]) -> None:
    """Unavailable (CD5024) for a change to a store whose gate is shut: its rows are on their way to another place."""
    for store, gate in gates.items():
        if gate is Gate.SHUT:
            raise moving(store)


def stores_of_change(change: Change) -> set[StoreId]:
    """The stores that a change names; that of a token which it revokes is not known here."""
    named = {entry.store for entry in change.audit} | {store_of(write) for write in change.writes}
    return {store for store in named if store is not None}


def store_of(write: Write) -> StoreId | None:
    match write:
        case AddStore(store):
            return store.id
        case SetWeight(store_id):
            return store_id
        case AddToken(token):
            return token.store
        case RevokeToken():
            return None
        case AddConnection(one) | MoveConnection(one, _) | AddRevision(one) | PutCredential(one, _):
            return one.store
        case PutCoreEndpoint(endpoint, _):
            return endpoint.store
        case _:
            return write.store if isinstance(write, DropCredential) else write.lane.store


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
