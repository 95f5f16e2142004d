"""The root key: 32 random bytes from a file that only its owner reads, or from the environment. Never a default."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from crossdock.credentials.seal import KEY_BYTES, Random, Sealer, key_id
from crossdock.model.errors import Conflict, Invalid

TEXT_BYTES_MAX = 256
DISTINCT_BYTES_MIN = 20  # 32 random bytes have fewer distinct values once in about 10^12 keys
KNOWN_WORDS = ("", "secret", "changeme", "change-me", "crossdock", "password", "test", "default", "key", "root")


class RootKey:
    """Wraps store keys and nothing else. `id` may be shown; the key itself has no way out."""

    __slots__ = ("__key", "id")

    def __init__(self, key: bytes) -> None:
        """Invalid (CD6005) for a key that nobody drew at random."""
        _check(key)
        self.__key = key
        self.id = key_id(key).hex()

    def __repr__(self) -> str:
        return f"RootKey({self.id})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A root key cannot be copied out of its process.")

    def sealer(self, store: str, random: Random) -> Sealer:
        """The sealer of one store's own key."""
        return Sealer(self.__key, store, "store key", random)

    @classmethod
    def from_text(cls, text: str) -> RootKey:
        """From base64 of 32 bytes (standard or URL-safe alphabet); Invalid (CD6005) otherwise."""
        try:
            raw = base64.b64decode(text.strip().replace("-", "+").replace("_", "/"), validate=True)
        except (binascii.Error, ValueError):
            raise _refused("it is not base64") from None
        return cls(raw)

    @classmethod
    def from_file(cls, path: Path) -> RootKey:
        """Invalid CD6003 if it cannot be read, CD6004 if others may read it, CD6005 if it is no key."""
        try:
            with path.open("rb") as file:
                facts = os.fstat(file.fileno())
                text = file.read(TEXT_BYTES_MAX + 1)
        except OSError as error:
            raise Invalid(
                "CD6003",
                "The root key file cannot be read.",
                where=str(path),
                remedy="Correct the path, or put 32 random bytes in base64 there (mode 0600).",
                facts={"errno": error.errno},
            ) from None
        if not stat.S_ISREG(facts.st_mode) or stat.S_IMODE(facts.st_mode) & 0o077:
            raise Invalid(
                "CD6004",
                "The root key file may be read by others than its owner.",
                where=str(path),
                remedy="chmod 600 on it.",
                facts={"mode": oct(stat.S_IMODE(facts.st_mode))},
            )
        if len(text) > TEXT_BYTES_MAX or not text.isascii():
            raise _refused("it is not base64")
        return cls.from_text(text.decode("ascii"))


def write_new(path: Path, random: Random) -> RootKey:
    """A new root key in a new file of mode 0600, on the disk when this returns; Conflict (CD6006) if it exists."""
    key = random(KEY_BYTES)
    root = RootKey(key)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise Conflict(
            "CD6006",
            "A root key file is there already; it is not overwritten.",
            where=str(path),
            remedy="Without it nothing that was sealed opens again. Use another path, or move it away.",
        ) from None
    with os.fdopen(handle, "wb") as file:
        file.write(base64.b64encode(key) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return root


def _refused(why: str) -> Invalid:
    return Invalid(
        "CD6005",
        f"The root key is refused: {why}.",
        remedy="Use 32 random bytes in base64, as `openssl rand -base64 32` prints them.",
    )


def _check(key: bytes) -> None:
    if len(key) != KEY_BYTES:
        raise _refused(f"it has {len(key)} bytes, not {KEY_BYTES}")
    steps = {(after - before) % 256 for before, after in pairwise(key)}
    if len(set(key)) < DISTINCT_BYTES_MIN or len(steps) < DISTINCT_BYTES_MIN // 2:
        raise _refused("it is not random")
    if all(32 <= byte < 127 for byte in key):
        raise _refused("it is text, not random bytes")
    if key in {hashlib.sha256(word.encode()).digest() for word in KNOWN_WORDS}:
        raise _refused("it is a well-known value")
