"""Use cases on connections: read, decide, commit one change with its audit entry."""

from __future__ import annotations

from dataclasses import dataclass

from crossdock.contracts.config import check_config
from crossdock.model.connection import Connection, ConnectionSignal, ConnectionState, Revision
from crossdock.model.contract import Contract
from crossdock.model.errors import Conflict, IllegalMove, Invalid
from crossdock.model.ids import ConnectionId, ContractId, Json, JsonObject, StoreId, base32
from crossdock.stores.office import Act, Office, Prospect, Trials, again_if_moved
from crossdock.stores.port import AddConnection, AddRevision, MoveConnection, Write
from crossdock.stores.revision import (
    Need,
    closed,
    digest,
    moved,
    must_be_whole,
    next_number,
    opened,
    refuse_unmet,
    relaned,
    rollback_target,
)
from crossdock.stores.standing import Standing, contract_of, read_standing, still_needs

_S, _G = ConnectionState, ConnectionSignal
IN_USE = frozenset({_S.ENABLED, _S.PAUSED})
DONE = {
    _G.CONFIGURE: "configured",
    _G.VALIDATE: "validated",
    _G.ENABLE: "enabled",
    _G.PAUSE: "paused",
    _G.RESUME: "resumed",
    _G.DISABLE: "disabled",
    _G.ROLLBACK: "rolled_back",
}


@dataclass(frozen=True, slots=True)
class ConnectWish:
    """`config` None: the defaults, if they are enough; otherwise the draft waits for its configuration."""

    contract: ContractId
    version: str | None = None
    label: str = ""
    config: JsonObject | None = None


class ConnectionDesk:
    def __init__(self, office: Office, trials: Trials) -> None:
        self._office = office
        self._trials = trials

    async def listed(self, store: StoreId) -> list[Connection]:
        await self._office.store(store)
        return await self._office.registry.connections(store)

    async def read(self, store: StoreId, connection: ConnectionId) -> Standing:
        return await read_standing(self._office, store, connection)

    async def revisions(self, store: StoreId, connection: ConnectionId) -> list[Revision]:
        await self._office.connection(store, connection)
        return await self._office.registry.revisions(store, connection)

    async def connect(self, act: Act, store: StoreId, wish: ConnectWish) -> Connection:
        """A new draft: nothing moves. Invalid CD3006 for an unknown contract, CD2005 for a config that does not fit."""
        office = self._office
        await office.store(store)
        contract = contract_of(office, wish.contract, wish.version)
        name = ConnectionId(f"con_{base32(office.random(17), 26)}")
        config = _first_config(contract, wish)
        number = 0 if config is None else 1
        made = Connection(name, store, contract.id, _S.DRAFT, number, wish.label, office.clock())
        writes: tuple[Write, ...] = (AddConnection(made),)
        if config is not None:
            writes += (AddRevision(self._revision(act, made, 1, contract, config)),)
        await office.commit(
            act,
            "connection.created",
            (store, name),
            writes,
            contract=contract.ref,
            revision=number,
            config=None if config is None else digest(config),
        )
        return made

    async def configure(
        self, act: Act, connection: Connection, config: JsonObject, version: str | None, expected: int | None = None
    ) -> Connection:
        """A new revision, in force at once. While enabled only whole: refused (CD3005) unless every need is met.

        `version` None keeps the contract version. With `expected`, Conflict (CD3002) unless the connection is at it."""

        async def once() -> Connection:
            standing = await self.read(connection.store, connection.id)
            _check_expected(standing.connection, expected)
            contract = standing.contract if version is None else contract_of(self._office, connection.contract, version)
            full = check_config(contract, config)
            number = next_number(await self.revisions(connection.store, connection.id))
            revision = self._revision(act, standing.connection, number, contract, full)
            return await self._point_at(act, standing, revision, _G.CONFIGURE)

        return await again_if_moved(once)

    async def rollback(self, act: Act, connection: Connection, number: int, expected: int | None = None) -> Connection:
        """Points at revision `number` again, as it is. Invalid (CD3007) if there is none."""

        async def once() -> Connection:
            standing = await self.read(connection.store, connection.id)
            _check_expected(standing.connection, expected)
            revisions = await self.revisions(connection.store, connection.id)
            target = rollback_target(standing.connection, revisions, number)
            return await self._point_at(act, standing, target, _G.ROLLBACK)

        return await again_if_moved(once)

    async def _point_at(self, act: Act, standing: Standing, target: Revision, signal: ConnectionSignal) -> Connection:
        before = standing.connection
        contract = contract_of(self._office, before.contract, target.contract_version)
        after = moved(before, signal, revision=target.number, reason=before.reason)
        if must_be_whole(before.state, signal):
            refuse_unmet(self._needs(contract, target.config, standing), DONE[signal])
        writes: tuple[Write, ...] = (MoveConnection(after, before.version),)
        if signal is _G.CONFIGURE:
            writes = (AddRevision(target), *writes)
        if before.state in IN_USE and contract.version != standing.contract.version:
            writes += relaned(before, standing.contract, contract)
        await self._commit(act, before, after, signal, writes, config=digest(target.config), contract=contract.ref)
        return after

    async def needs(self, store: StoreId, connection: ConnectionId) -> tuple[Need, ...]:
        """Everything that must hold before enabling, with the contract's own checks made now."""
        standing = await self.read(store, connection)
        needs = self._needs(standing.contract, standing.config, standing)
        if not all(need.met for need in needs):
            return needs  # a trial with half a configuration would blame the far end
        return needs + await self._tried(standing)

    async def validate(self, act: Act, connection: Connection) -> Connection:
        """Conflict (CD3005) that lists all that is missing."""
        return await self._move(act, connection, _G.VALIDATE)

    async def enable(self, act: Act, connection: Connection) -> Connection:
        """Opens the lanes. Everything is looked at again: what was valid yesterday may not be."""
        return await self._move(act, connection, _G.ENABLE)

    async def pause(self, act: Act, connection: Connection, reason: str = "") -> Connection:
        """Lanes stay open and keep their backlog; ingest goes on; nothing leaves."""
        return await self._move(act, connection, _G.PAUSE, reason)

    async def resume(self, act: Act, connection: Connection) -> Connection:
        return await self._move(act, connection, _G.RESUME)

    async def disable(self, act: Act, connection: Connection) -> Connection:
        """Closes the lanes; the contract says whether what is queued is held or discarded."""
        return await self._move(act, connection, _G.DISABLE)

    async def pause_if_enabled(self, act: Act, store: StoreId, connection: ConnectionId, reason: str) -> bool:
        """What delivery does when the far end wants no more. False when it no longer is enabled."""
        try:
            await self.pause(act, await self._office.connection(store, connection), reason)
        except IllegalMove:
            return False
        return True

    async def _move(self, act: Act, connection: Connection, signal: ConnectionSignal, reason: str = "") -> Connection:
        async def once() -> Connection:
            standing = await self.read(connection.store, connection.id)
            before = standing.connection
            after = moved(before, signal, reason=reason)
            if must_be_whole(before.state, signal):
                refuse_unmet(await self.needs(before.store, before.id), DONE[signal])
            writes: tuple[Write, ...] = (MoveConnection(after, before.version),)
            match signal:
                case ConnectionSignal.ENABLE:
                    writes += opened(before, standing.contract)
                case ConnectionSignal.DISABLE:
                    writes += closed(before, standing.contract, standing.contract.lifecycle.queued)
                case _:
                    pass
            await self._commit(act, before, after, signal, writes, contract=standing.contract.ref, reason=reason)
            return after

        return await again_if_moved(once)

    def _needs(self, contract: Contract, config: JsonObject, standing: Standing) -> tuple[Need, ...]:
        hosts = self._office.hosts
        return still_needs(contract, config, standing.credentials, hosts.environment, hosts)

    async def _tried(self, standing: Standing) -> tuple[Need, ...]:
        wanted = standing.contract.lifecycle.enable_needs
        prospect = Prospect(standing.connection, standing.contract)
        found: tuple[Need, ...] = ()
        if "credentials_check" in wanted and standing.contract.check is not None:
            why = await self._trials.check(prospect)
            found += (Need("credentials_check", not why, why),)
        if "dry_run" in wanted:
            why = await self._trials.dry_run(prospect)
            found += (Need("dry_run", not why, why),)
        return found

    def _revision(
        self, act: Act, connection: Connection, number: int, contract: Contract, config: JsonObject
    ) -> Revision:
        return Revision(
            connection.id,
            connection.store,
            number,
            contract.version,
            config,
            act.principal.name,
            self._office.clock(),
        )

    async def _commit(
        self,
        act: Act,
        before: Connection,
        after: Connection,
        signal: ConnectionSignal,
        writes: tuple[Write, ...],
        **detail: Json,
    ) -> None:
        await self._office.commit(
            act,
            f"connection.{DONE[signal]}",
            (before.store, before.id),
            writes,
            before={"state": str(before.state), "revision": before.revision},
            after={"state": str(after.state), "revision": after.revision},
            **detail,
        )


def _first_config(contract: Contract, wish: ConnectWish) -> JsonObject | None:
    if wish.config is not None:
        return check_config(contract, wish.config)
    try:
        return check_config(contract, {})
    except Invalid:
        return None


def _check_expected(connection: Connection, expected: int | None) -> None:
    if expected is not None and connection.version != expected:
        raise Conflict(
            "CD3002",
            "The connection is not as it was read. Nothing was written.",
            remedy="Read it again, and decide.",
            facts={"version": connection.version},
        )
