"""A few stores with everything that they seal, and every way to carry it somewhere else."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from crossdock.credentials.root import RootKey
from crossdock.credentials.secret import Secret
from crossdock.credentials.vault import StoreKeys, Vault
from crossdock.model.connection import Credential, Store
from crossdock.model.ids import ConnectionId, EventId, Instant, StoreId

NOW = Instant(1_760_000_000_000)
STORES = ("north", "south", "n", "orth")
CONNECTIONS = ("con_1", "con_12", "con_", "1con_")
NAMES = ("token", "secret", "tokens", "2")
HOSTS = (("a.example",), ("b.example",), ("a.example", "b.example"), ("a.example,b.example",), ())
EVENTS = ("e1", "e2", "1e", "")
REFS = (b"r" * 32, b"s" * 32)


def dice(seed: int = 7) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


def vault(seed: int = 7) -> Vault:
    return Vault(RootKey(random.Random(seed).randbytes(32)), dice(seed + 1))


def store(id: str, held: Vault) -> Store:
    return Store(StoreId(id), id, NOW, held.new_store_key(StoreId(id)))


def opened(id: str, held: Vault) -> StoreKeys:
    return held.open(store(id, held))


def credential(keys: StoreKeys, value: bytes = b"value", *, version: int = 1) -> Credential:
    """One at its place: connection con_1, name token, host a.example."""
    connection, name, hosts = ConnectionId("con_1"), "token", ("a.example",)
    sealed = keys.seal_secret(connection, name, hosts, version, Secret(value))
    return Credential(keys.store, connection, name, sealed, hosts, version, NOW)


@dataclass(frozen=True)
class Spot:
    """A place at which something may be sealed, or tried."""

    kind: str
    store: str
    connection: str = ""
    name: str = ""
    hosts: tuple[str, ...] = ()
    version: int = 0
    event: str = ""
    ref: bytes = b""


def spot(dice: random.Random) -> Spot:
    """Any place of any kind."""
    kind = dice.choice(("credential", "core", "body", "personal", "subject"))
    here = Spot(kind, dice.choice(STORES))
    if kind == "credential":
        return replace(
            here,
            connection=dice.choice(CONNECTIONS),
            name=dice.choice(NAMES),
            hosts=dice.choice(HOSTS),
            version=dice.randint(1, 3),
        )
    if kind in ("body", "personal"):
        here = replace(here, event=dice.choice(EVENTS))
    return replace(here, ref=dice.choice(REFS)) if kind in ("personal", "subject") else here


class House:
    """Stores under one root. `seal` and `unseal` do whatever the kind of the spot asks for."""

    def __init__(self) -> None:
        self.vault = vault()
        self.rows = {id: store(id, self.vault) for id in STORES}
        self.subjects = {(id, ref): self.keys(id).new_subject_key(ref) for id in STORES for ref in REFS}

    def keys(self, id: str) -> StoreKeys:
        return self.vault.open(self.rows[id])

    def seal(self, at: Spot, plain: bytes) -> bytes:
        keys, event = self.keys(at.store), EventId(at.event)
        match at.kind:
            case "credential":
                return keys.seal_secret(ConnectionId(at.connection), at.name, at.hosts, at.version, Secret(plain))
            case "core":
                return keys.seal_core_secret(Secret(plain))
            case "body":
                return keys.seal_body(event, plain)
            case "personal":
                return keys.seal_personal(self.subjects[at.store, at.ref], event, plain)
            case _:
                return self.subjects[at.store, at.ref].wrapped

    def unseal(self, at: Spot, sealed: bytes) -> bytes:
        """What opens at `at`; SealBroken if nothing does."""
        keys, event = self.keys(at.store), EventId(at.event)
        match at.kind:
            case "credential":
                connection = ConnectionId(at.connection)
                row = Credential(keys.store, connection, at.name, sealed, at.hosts, at.version, NOW)
                return keys.unseal_secret(row).reveal()
            case "core":
                return keys.unseal_core_secret(sealed).reveal()
            case "body":
                return keys.unseal_body(event, sealed)
            case "personal":
                return keys.unseal_personal(self.subjects[at.store, at.ref], event, sealed)
            case _:
                keys.forget_subject(at.ref)  # an open key would answer from memory
                keys.open_subject_key(at.ref, sealed)
                return b"opened"
