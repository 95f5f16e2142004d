"""AES-256-GCM bound to a place: what was sealed for one store, connection, name or event opens nowhere else.

A sealed value is `version (1) | key id (8) | nonce (12) | ciphertext and tag`. The associated data is the canonical,
length-prefixed list `v1, store, kind, place ..., key id`, so that no two places have the same bytes (NIST SP 800-38D;
random 96-bit nonces bound one key to 2^32 sealings).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import ClassVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crossdock.model.errors import CrossdockError

VERSION = b"\x01"
KEY_BYTES = 32
KEY_ID_BYTES = 8
NONCE_BYTES = 12
TAG_BYTES = 16
HEAD_BYTES = 1 + KEY_ID_BYTES + NONCE_BYTES
OVERHEAD_BYTES = HEAD_BYTES + TAG_BYTES

Random = Callable[[int], bytes]


class SealBroken(CrossdockError):
    """A sealed value does not open here: it was moved, changed, or sealed under another key. Says nothing more."""

    status: ClassVar[int] = 500


def key_id(key: bytes) -> bytes:
    """8 bytes that name a key without giving it away."""
    return hashlib.sha256(b"crossdock key id\x00" + key).digest()[:KEY_ID_BYTES]


def place(*fields: str | bytes) -> bytes:
    """The fields as one byte string, each behind its length in 4 bytes: equal only for equal lists."""
    parts: list[bytes] = []
    for field in fields:
        raw = field.encode() if isinstance(field, str) else field
        parts.append(len(raw).to_bytes(4, "big"))
        parts.append(raw)
    return b"".join(parts)


def broken(what: str) -> SealBroken:
    return SealBroken(
        "CD6001", f"The sealed {what} does not open at this place.", remedy="Run `crossdock explain CD6001`."
    )


class Sealer:
    """One key, one kind of thing, one store. Knows no plaintext longer than a call."""

    __slots__ = ("__cipher", "__head", "__prefix", "__random", "__tail", "what")

    def __init__(self, key: bytes, store: str, what: str, random: Random) -> None:
        name = key_id(key)
        self.what = what
        self.__cipher = AESGCM(key)
        self.__head = VERSION + name
        self.__prefix = place("v1", store, what)
        self.__tail = place(name)
        self.__random = random

    def __repr__(self) -> str:
        return f"Sealer({self.what})"

    def seal(self, plain: bytes, at: bytes) -> bytes:
        """`plain` sealed for `at` (made by `place`)."""
        nonce = self.__random(NONCE_BYTES)
        return self.__head + nonce + self.__cipher.encrypt(nonce, plain, self.__prefix + at + self.__tail)

    def unseal(self, sealed: bytes, at: bytes) -> bytes:
        """What was sealed for `at` by this key; SealBroken (CD6001) for anything else."""
        if len(sealed) < OVERHEAD_BYTES or sealed[: 1 + KEY_ID_BYTES] != self.__head:
            raise broken(self.what)
        nonce = sealed[1 + KEY_ID_BYTES : HEAD_BYTES]
        try:
            return self.__cipher.decrypt(nonce, sealed[HEAD_BYTES:], self.__prefix + at + self.__tail)
        except InvalidTag:
            raise broken(self.what) from None
