"""Root key -> store key -> one key per purpose. What a store seals, no other store opens.

The root key wraps each store's own random key. From that, HKDF (RFC 5869) derives the keys for credentials, payloads,
subject keys, index references, fingerprints and peppers. A data subject's key is random and wrapped under the store's:
destroying its wrapped form erases what was sealed under it. Rotating the root rewraps store keys and nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from collections import OrderedDict
from collections.abc import Sequence

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from crossdock.credentials.root import RootKey
from crossdock.credentials.seal import KEY_BYTES, Random, SealBroken, Sealer, broken, place
from crossdock.credentials.secret import Secret
from crossdock.model.connection import Credential, Store
from crossdock.model.ids import ConnectionId, EventId, StoreId

STORES_OPEN_MAX = 1_024  # open stores kept in memory, about 4 KiB each
SUBJECTS_OPEN_MAX = 4_096  # open subject keys kept per store, about 1 KiB each
HOSTS_MARK_BYTES = 8
SECRET_HEAD_BYTES = 4 + HOSTS_MARK_BYTES


class SubjectKey:
    """One person's key. `wrapped` is what the journal keeps, and what erasure destroys."""

    __slots__ = ("ref", "sealer", "wrapped")

    def __init__(self, ref: bytes, wrapped: bytes, sealer: Sealer) -> None:
        self.ref = ref
        self.wrapped = wrapped
        self.sealer = sealer

    def __repr__(self) -> str:
        return "SubjectKey(…)"


class StoreKeys:
    """Everything a store seals or names by a keyed hash. Each unseal raises SealBroken (CD6001) at a wrong place."""

    def __init__(self, store: StoreId, key: bytes, random: Random) -> None:
        def derived(purpose: str) -> bytes:
            return HKDFExpand(SHA256(), KEY_BYTES, place("crossdock/v1", purpose, store)).derive(key)

        self.store = store
        self.__random = random
        self.__credentials = Sealer(derived("credentials"), store, "credential", random)
        self.__core = Sealer(derived("core"), store, "core secret", random)
        self.__payload = Sealer(derived("payload"), store, "payload", random)
        self.__subjects = Sealer(derived("subjects"), store, "subject key", random)
        self.__index = derived("index")
        self.__fingerprints = derived("fingerprint")
        self.__pepper = derived("pepper")
        self.__open_subjects: OrderedDict[bytes, SubjectKey] = OrderedDict()

    def __repr__(self) -> str:
        return f"StoreKeys({self.store})"

    def seal_secret(
        self, connection: ConnectionId, name: str, hosts: Sequence[str], version: int, secret: Secret
    ) -> bytes:
        """A credential for these hosts only, as `Credential.sealed` keeps it."""
        mark = _hosts_mark(hosts)
        head = version.to_bytes(4, "big") + mark
        return head + self.__credentials.seal(secret.reveal(), _secret_place(connection, name, hosts, version))

    def unseal_secret(self, credential: Credential, previous: bool = False) -> Secret:
        """The secret, or with `previous` the one before it. SealBroken CD6002 if its hosts are not those it was
        sealed for, CD6001 for everything else."""
        sealed = credential.previous if previous else credential.sealed
        if sealed is None or credential.store != self.store or len(sealed) < SECRET_HEAD_BYTES:
            raise broken("credential")
        version = int.from_bytes(sealed[:4], "big")
        if (version >= credential.version) if previous else (version != credential.version):
            raise broken("credential")
        if not hmac.compare_digest(sealed[4:SECRET_HEAD_BYTES], _hosts_mark(credential.hosts)):
            raise SealBroken(
                "CD6002",
                "The credential was entered for other hosts.",
                where=credential.name,
                remedy="Enter it again, for the hosts that it may be sent to now.",
            )
        at = _secret_place(credential.connection, credential.name, credential.hosts, version)
        return Secret(self.__credentials.unseal(sealed[SECRET_HEAD_BYTES:], at))

    def seal_core_secret(self, secret: Secret) -> bytes:
        return self.__core.seal(secret.reveal(), b"")

    def unseal_core_secret(self, sealed: bytes) -> Secret:
        return Secret(self.__core.unseal(sealed, b""))

    def seal_body(self, event_id: EventId, body: bytes) -> bytes:
        return self.__payload.seal(body, place(event_id))

    def unseal_body(self, event_id: EventId, sealed: bytes) -> bytes:
        return self.__payload.unseal(sealed, place(event_id))

    def subject_ref(self, value: str) -> bytes:
        """32 bytes that stand for a person in this store: HMAC-SHA256 of the trimmed, case-folded, NFC value."""
        plain = unicodedata.normalize("NFC", value.strip().casefold())
        return hmac.digest(self.__index, plain.encode("utf-8", "surrogatepass"), "sha256")

    def fingerprint(self, raw: bytes) -> bytes:
        """32 bytes that tell what a sender sent from anything else, and tell nobody else what it was."""
        return hmac.digest(self.__fingerprints, raw, "sha256")

    def pepper(self, value: str) -> str:
        """The 64 hex digits that stand for a protected field of this store."""
        return hmac.digest(self.__pepper, value.encode("utf-8", "surrogatepass"), "sha256").hex()

    def new_subject_key(self, ref: bytes) -> SubjectKey:
        """A fresh key for `ref`. It counts only once the journal has kept its wrapped form."""
        key = self.__random(KEY_BYTES)
        return SubjectKey(ref, self.__subjects.seal(key, place(ref)), self.__personal(key))

    def open_subject_key(self, ref: bytes, wrapped: bytes) -> SubjectKey:
        """The standing key of `ref`, from its wrapped form."""
        known = self.__open_subjects.get(ref)
        if known is not None and known.wrapped == wrapped:
            self.__open_subjects.move_to_end(ref)
            return known
        key = self.__subjects.unseal(wrapped, place(ref))
        opened = SubjectKey(ref, wrapped, self.__personal(key))
        self.__open_subjects[ref] = opened
        if len(self.__open_subjects) > SUBJECTS_OPEN_MAX:
            self.__open_subjects.popitem(last=False)
        return opened

    def forget_subject(self, ref: bytes) -> None:
        """Drop the open key of an erased person at once."""
        self.__open_subjects.pop(ref, None)

    def seal_personal(self, key: SubjectKey, event_id: EventId, personal: bytes) -> bytes:
        return key.sealer.seal(personal, place(key.ref, event_id))

    def unseal_personal(self, key: SubjectKey, event_id: EventId, sealed: bytes) -> bytes:
        return key.sealer.unseal(sealed, place(key.ref, event_id))

    def __personal(self, key: bytes) -> Sealer:
        return Sealer(key, self.store, "personal part", self.__random)


class Vault:
    """Opens stores. Keeps the last STORES_OPEN_MAX open."""

    def __init__(self, root: RootKey, random: Random) -> None:
        self.__root = root
        self.__random = random
        self.__open: OrderedDict[StoreId, tuple[bytes, StoreKeys]] = OrderedDict()

    @property
    def root_id(self) -> str:
        """Which root key this is: 16 hex digits that may be shown."""
        return self.__root.id

    def new_store_key(self, store: StoreId) -> bytes:
        """A fresh store key, wrapped: `Store.sealed_key`."""
        return self.__root.sealer(store, self.__random).seal(self.__random(KEY_BYTES), b"")

    def open(self, store: Store) -> StoreKeys:
        """The store's keys; SealBroken (CD6001) if its key was wrapped by another root or for another store."""
        known = self.__open.get(store.id)
        if known is not None and known[0] == store.sealed_key:
            self.__open.move_to_end(store.id)
            return known[1]
        key = self.__root.sealer(store.id, self.__random).unseal(store.sealed_key, b"")
        keys = StoreKeys(store.id, key, self.__random)
        self.__open[store.id] = (store.sealed_key, keys)
        self.__open.move_to_end(store.id)
        if len(self.__open) > STORES_OPEN_MAX:
            self.__open.popitem(last=False)
        return keys

    def forget(self, store: StoreId) -> None:
        """Drop an open store, as when its key is destroyed."""
        self.__open.pop(store, None)


def _hosts_mark(hosts: Sequence[str]) -> bytes:
    return hashlib.sha256(place(*sorted(set(hosts)))).digest()[:HOSTS_MARK_BYTES]


def _secret_place(connection: ConnectionId, name: str, hosts: Sequence[str], version: int) -> bytes:
    return place(connection, name, version.to_bytes(4, "big"), place(*sorted(set(hosts))))
