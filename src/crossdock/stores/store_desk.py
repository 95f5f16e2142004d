"""Use cases on stores and on the way of their inbound events to the core."""

from __future__ import annotations

from dataclasses import dataclass, replace

from crossdock.audit.entry import entry
from crossdock.credentials.secret import Secret
from crossdock.journal.port import Journal
from crossdock.model.connection import AuditEntry, CoreEndpoint, CoreMode, Store
from crossdock.model.contract import Verify
from crossdock.model.errors import Invalid
from crossdock.model.ids import STORE_ID, Instant, Position, StoreId
from crossdock.model.lane import Gate
from crossdock.model.limits import SECRET_BYTES_MAX, STORE_WEIGHT_MAX
from crossdock.signing import SCHEMES
from crossdock.signing.scheme import unusable
from crossdock.stores.office import Act, Office, again_if_moved
from crossdock.stores.port import AddStore, PutCoreEndpoint, SetWeight
from crossdock.stores.targets import url_target


@dataclass(frozen=True, slots=True)
class CoreWish:
    """`secret` None keeps the one that is there."""

    mode: CoreMode
    url: str = ""
    secret: Secret | None = None


class StoreDesk:
    def __init__(self, office: Office, journal: Journal) -> None:
        self._office = office
        self._journal = journal

    async def create(self, act: Act, store: StoreId, name: str) -> Store:
        """Invalid (CD3010) for an id that is no DNS label, Conflict (CD3003) for one that is taken."""
        if STORE_ID.fullmatch(store) is None:
            raise Invalid("CD3010", "A store id is 1 to 63 of a-z, 0-9 and -, with no - at either end.", where="/id")
        made = Store(store, name, self._office.clock(), self._office.vault.new_store_key(store))
        await self._office.commit(act, "store.created", (store, store), (AddStore(made),), name=name)
        return made

    async def listed(self, after: str, limit: int) -> list[Store]:
        return await self._office.registry.stores(after, limit)

    async def read(self, store: StoreId) -> Store:
        return await self._office.store(store)

    async def set_weight(self, act: Act, store: StoreId, weight: int) -> Store:
        """Invalid (CD3018) for what is not 1 to STORE_WEIGHT_MAX."""
        if not 1 <= weight <= STORE_WEIGHT_MAX:
            raise Invalid(
                "CD3018", f"A weight is 1 to {STORE_WEIGHT_MAX}.", where="/weight", remedy="1 is a plain share."
            )
        found = await self._office.store(store)
        await self._office.commit(
            act, "store.weighted", (store, store), (SetWeight(store, weight),), before=found.weight, after=weight
        )
        return replace(found, weight=weight)

    async def set_gate(self, act: Act, store: StoreId, gate: Gate) -> Store:
        """For a store that moves to another database. On record before it counts, in the installation's log: a shut
        store's own log takes nothing."""
        found = await self._office.store(store)
        await self._office.commit(act, "store.gate_set", (None, store), (), gate=str(gate))
        await self._journal.gate(store, gate)
        return found

    async def core_endpoint(self, store: StoreId) -> CoreEndpoint:
        """Pull, where nothing has been set."""
        await self._office.store(store)
        return await self._office.registry.core_endpoint(store) or CoreEndpoint(store)

    async def set_core_endpoint(self, act: Act, store: StoreId, wish: CoreWish) -> CoreEndpoint:
        """Invalid CD3009 for a URL that may not be called, CD3008 for a push without a secret, CD6012 for a secret that
        pushes cannot be signed with."""
        office = self._office
        keys = office.vault.open(await office.store(store))
        sealed = b"" if wish.secret is None else keys.seal_core_secret(signs_pushes(checked(wish.secret)))
        if wish.mode is CoreMode.PUSH:
            url_target(wish.url, "/url", office.hosts)

        async def once() -> CoreEndpoint:
            standing = await office.registry.core_endpoint(store) or CoreEndpoint(store)
            made = replace(
                standing,
                mode=wish.mode,
                url=wish.url if wish.mode is CoreMode.PUSH else "",
                sealed_secret=sealed or standing.sealed_secret,
                version=standing.version + 1,
            )
            if made.mode is CoreMode.PUSH and not made.sealed_secret:
                raise Invalid("CD3008", "A push needs a signing secret.", where="/secret", remedy="Give one.")
            await office.commit(
                act,
                "core.set",
                (store, f"{store}/core"),
                (PutCoreEndpoint(made, standing.version),),
                mode=str(made.mode),
                url=made.url,
                secret="set" if sealed else "kept",
            )
            return made

        return await again_if_moved(once)


def arrival(now: Instant, act: Act, store: StoreId, head: Position, digest: str) -> AuditEntry:
    """The entry, at a store's new place, which says that it has come there with all that it had."""
    return entry(now, act.principal, "store.moved", (store, store), "done", act.correlation, head=head, digest=digest)


def checked(secret: Secret) -> Secret:
    """Invalid (CD3008) for an empty secret or one above SECRET_BYTES_MAX."""
    if not 1 <= len(secret.reveal()) <= SECRET_BYTES_MAX:
        raise Invalid("CD3008", f"A secret is 1 to {SECRET_BYTES_MAX} bytes.", where="/secret")
    return secret


def signs_pushes(secret: Secret) -> Secret:
    """Said when it is entered: later, no push could be signed with it."""
    problem = SCHEMES[Verify.STANDARD_WEBHOOKS].secret_problem(secret, {})
    if problem:
        raise unusable(problem)
    return secret
