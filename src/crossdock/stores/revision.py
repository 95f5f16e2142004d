"""What may happen to a connection's configuration: pure decisions over what was read.

A revision is immutable and numbered 1, 2, 3, ...; the connection points at the one in force. A rollback moves that
pointer, so what comes back is byte for byte what was there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from crossdock.model.connection import (
    Connection,
    ConnectionSignal,
    ConnectionState,
    Revision,
    after,
)
from crossdock.model.contract import Contract, Environment, Queued, Status
from crossdock.model.errors import Conflict, Invalid
from crossdock.model.ids import JsonObject, LaneId
from crossdock.stores.port import CloseLane, OpenLane

Lanes = tuple[OpenLane | CloseLane, ...]


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that must hold before a connection may move data, and whether it does. `why` has no secret in it."""

    name: str
    met: bool
    why: str = ""


def next_number(revisions: Sequence[Revision]) -> int:
    """One above the highest ever written: a rollback never makes a number free."""
    return max((one.number for one in revisions), default=0) + 1


def rollback_target(connection: Connection, revisions: Sequence[Revision], number: int) -> Revision:
    """The revision to point at; Invalid (CD3007) if there is none of that number, or it is in force already."""
    if number == connection.revision:
        raise Invalid("CD3007", f"Revision {number} is in force already.", remedy="Name another revision.")
    found = next((one for one in revisions if one.number == number), None)
    if found is None:
        known = ", ".join(str(one.number) for one in revisions) or "none"
        raise Invalid("CD3007", f"There is no revision {number}.", remedy=f"The revisions are: {known}.")
    return found


def moved(
    connection: Connection, signal: ConnectionSignal, *, revision: int | None = None, reason: str = ""
) -> Connection:
    """The row after `signal`; IllegalMove (CD3001) where the table has no such move."""
    return replace(
        connection,
        state=after(connection.state, signal),
        revision=connection.revision if revision is None else revision,
        reason=reason,
        version=connection.version + 1,
    )


def must_be_whole(state: ConnectionState, signal: ConnectionSignal) -> bool:
    """Whether every need must be met for this move: whatever leads to `enabled`, stays there, or vouches for it."""
    return after(state, signal) in {ConnectionState.ENABLED, ConnectionState.VALIDATED}


def refuse_unmet(needs: Sequence[Need], what: str) -> None:
    """Conflict (CD3005) that lists all that is missing, if anything is."""
    unmet = [need for need in needs if not need.met]
    if unmet:
        raise Conflict(
            "CD3005",
            f"The connection cannot be {what}: {'; '.join(f'{need.name}: {need.why}' for need in unmet)}.",
            remedy="Mend each of these, then try again.",
            facts={"missing": [need.name for need in unmet]},
        )


def usable(contract: Contract, environment: Environment) -> Need:
    """A contract moves data only once it is accepted; a draft may be tried outside production."""
    if contract.status is Status.RETIRED:
        return Need("contract", False, f"{contract.ref} is retired")
    if contract.status is Status.DRAFT and environment is Environment.PRODUCTION:
        return Need("contract", False, f"{contract.ref} is a draft, and this is production")
    return Need("contract", True)


def credentials_need(contract: Contract, held: Mapping[str, str]) -> Need:
    """`held` names each slot that has a credential, with '' or what is wrong with it."""
    missing = [slot.name for slot in contract.credentials if not slot.optional and slot.name not in held]
    wrong = [f"{name} {trouble}" for name, trouble in sorted(held.items()) if trouble]
    parts = ([f"missing {', '.join(missing)}"] if missing else []) + wrong
    return Need("credentials", not parts, ", ".join(parts))


def opened(connection: Connection, contract: Contract) -> Lanes:
    """A lane for each route of the contract."""
    return tuple(OpenLane(LaneId(connection.store, connection.id, route.name)) for route in contract.routes)


def closed(connection: Connection, contract: Contract, queued: Queued) -> Lanes:
    return tuple(CloseLane(LaneId(connection.store, connection.id, route.name), queued) for route in contract.routes)


def relaned(connection: Connection, before: Contract, contract: Contract) -> Lanes:
    """What a change of contract version means for lanes in use: new routes open, gone ones close and hold."""
    names = {route.name for route in contract.routes}
    gone = tuple(
        CloseLane(LaneId(connection.store, connection.id, route.name), Queued.HOLD)
        for route in before.routes
        if route.name not in names
    )
    return gone + opened(connection, contract)


def digest(config: JsonObject) -> str:
    """SHA-256 of the canonical JSON: what the audit log says of a configuration."""
    text = json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
