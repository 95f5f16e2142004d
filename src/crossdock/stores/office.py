"""What every use case leans on: who acts, and one change committed with its audit entry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from crossdock.audit.entry import entry
from crossdock.contracts.catalogue import Catalogue
from crossdock.credentials.vault import Vault
from crossdock.model.connection import Connection, Principal, Store
from crossdock.model.contract import Contract
from crossdock.model.errors import Conflict
from crossdock.model.ids import ConnectionId, CorrelationId, Instant, Json, StoreId
from crossdock.observe.lines import Lines
from crossdock.stores.authority import nothing_here
from crossdock.stores.port import Change, Registry, Write
from crossdock.stores.targets import Hosts

T = TypeVar("T")
TRIES_MAX = 4  # two operators who collide four times in a row are told so


@dataclass(frozen=True, slots=True)
class Act:
    """Who does it, and under which correlation id it is found again."""

    principal: Principal
    correlation: CorrelationId


@dataclass(frozen=True, slots=True)
class Prospect:
    """A connection whose revision in force is to be tried."""

    connection: Connection
    contract: Contract


class Trials(Protocol):
    """Proof, before enabling, that needs the outside or a driver. Each answers '' or what is wrong, without data."""

    async def check(self, prospect: Prospect) -> str:
        """The contract's harmless call, with the credentials as they are."""
        ...

    async def dry_run(self, prospect: Prospect) -> str:
        """Renders a sample event of each route, and sends nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Office:
    """The collaborators of every use case, and the one way in which they write."""

    registry: Registry
    catalogue: Catalogue
    vault: Vault
    hosts: Hosts
    clock: Callable[[], Instant]
    random: Callable[[int], bytes]
    lines: Lines

    async def store(self, store: StoreId) -> Store:
        """NotFound (CD3004) if there is none."""
        found = await self.registry.store(store)
        if found is None:
            raise nothing_here()
        return found

    async def connection(self, store: StoreId, connection: ConnectionId) -> Connection:
        """NotFound (CD3004) if there is none, or it is another store's."""
        found = await self.registry.connection(connection)
        if found is None or found.store != store:
            raise nothing_here()
        return found

    async def commit(
        self, act: Act, action: str, place: tuple[StoreId | None, str], writes: tuple[Write, ...], **detail: Json
    ) -> None:
        """All writes and the audit entry of one action, or nothing. `place` is the store and the object."""
        store, what = place
        made = entry(self.clock(), act.principal, action, place, "done", act.correlation, **detail)
        await self.registry.commit(Change(writes, (made,)))
        self.lines.write(
            "control.changed",
            store=store,
            actor=made.actor,
            action=action,
            object=what,
            outcome=made.outcome,
            correlation=act.correlation,
        )


async def again_if_moved(decide_and_commit: Callable[[], Awaitable[T]]) -> T:
    """Runs a use case that reads, decides and commits; anew, from the reading, while its rows move under it."""
    for _ in range(TRIES_MAX - 1):
        try:
            return await decide_and_commit()
        except Conflict as error:
            if error.code != "CD3002":
                raise
    return await decide_and_commit()
