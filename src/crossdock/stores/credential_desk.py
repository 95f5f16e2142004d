"""Use cases on credentials. They go in, and never come out through here."""

from __future__ import annotations

from crossdock.credentials.secret import Secret
from crossdock.model.connection import Connection, ConnectionState, Credential
from crossdock.model.contract import Contract, CredentialSlot, Verify
from crossdock.model.errors import Conflict, Invalid
from crossdock.model.ids import ConnectionId, Instant, StoreId
from crossdock.signing import SCHEMES
from crossdock.signing.scheme import deferred, unusable
from crossdock.stores.authority import nothing_here
from crossdock.stores.office import Act, Office, again_if_moved
from crossdock.stores.port import DropCredential, PutCredential
from crossdock.stores.standing import Standing, read_standing
from crossdock.stores.store_desk import checked
from crossdock.stores.targets import hosts_of


class CredentialDesk:
    def __init__(self, office: Office) -> None:
        self._office = office

    async def listed(self, store: StoreId, connection: ConnectionId) -> Standing:
        """The contract's slots and what fills them: names, versions, hosts and times, never a value."""
        return await read_standing(self._office, store, connection)

    async def set(self, act: Act, store: StoreId, connection: ConnectionId, name: str, secret: Secret) -> Credential:
        """Seals `secret` for the hosts that it may go to now. The one before stays good for the slot's overlap.

        Invalid CD3008 for a name that the contract has no slot for, or a value out of bounds; CD6012 for a signing
        secret that its scheme cannot use."""
        office = self._office
        keys = office.vault.open(await office.store(store))
        checked(secret)

        async def once() -> Credential:
            standing = await read_standing(office, store, connection)
            slot = _slot(standing, name)
            _must_sign(standing.contract, name, secret)
            hosts = hosts_of(standing.contract, name, standing.config, office.hosts)
            now = office.clock()
            before = standing.credential(name)
            version = before.version + 1 if before is not None else 1
            overlaps = before is not None and slot.overlap_ms > 0 and before.hosts == hosts
            made = Credential(
                store=store,
                connection=connection,
                name=name,
                sealed=keys.seal_secret(connection, name, hosts, version, secret),
                hosts=hosts,
                version=version,
                at=now,
                previous=before.sealed if before is not None and overlaps else None,
                previous_until=Instant(now + slot.overlap_ms) if overlaps else None,
            )
            await office.commit(
                act,
                "credential.set",
                (store, f"{connection}/credentials/{name}"),
                (PutCredential(made, before.version if before is not None else 0),),
                version=version,
                hosts=list(hosts),
                previous_until=made.previous_until,
            )
            return made

        return await again_if_moved(once)

    async def drop(self, act: Act, store: StoreId, connection: ConnectionId, name: str) -> None:
        """NotFound (CD3004) if the slot is empty; Conflict (CD3011) while the connection moves data with it."""
        standing = await read_standing(self._office, store, connection)
        if standing.credential(name) is None:
            raise nothing_here()
        _must_rest(standing.connection)
        await self._office.commit(
            act,
            "credential.dropped",
            (store, f"{connection}/credentials/{name}"),
            (DropCredential(store, connection, name),),
        )


def _slot(standing: Standing, name: str) -> CredentialSlot:
    slot = standing.contract.slot(name)
    if slot is None:
        names = ", ".join(one.name for one in standing.contract.credentials) or "none"
        raise Invalid(
            "CD3008", f"{standing.contract.ref} has no such credential.", where="/name", remedy=f"It has: {names}."
        )
    return slot


def _must_rest(connection: Connection) -> None:
    if connection.state in {ConnectionState.ENABLED, ConnectionState.PAUSED}:
        raise Conflict(
            "CD3011",
            f"The connection is {connection.state}: a credential in use is not dropped.",
            remedy="Set a new one over it, or disable the connection first.",
        )


def _must_sign(contract: Contract, name: str, secret: Secret) -> None:
    """Said when it is entered: later, every request would be refused, or every entry parked, for it. Knobs that wait
    for the configuration cannot be judged here."""
    for route in contract.routes:
        source = route.source
        problem = ""
        if source is not None and source.secret == name and not deferred(source.knobs):
            problem = SCHEMES[source.verify].secret_problem(secret, source.knobs)
        elif route.webhook_secret == name:
            problem = SCHEMES[Verify.STANDARD_WEBHOOKS].secret_problem(secret, {})
        if problem:
            raise unusable(problem)
