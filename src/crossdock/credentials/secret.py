"""A secret in memory: it can be revealed on purpose, and in no other way."""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """Bytes that have no `repr`, no `str`, no pickle and no JSON form. Compare in constant time with `==`."""

    __slots__ = ("__value",)

    def __init__(self, value: bytes) -> None:
        self.__value = value

    def reveal(self) -> bytes:
        """The bytes, for the one call that needs them."""
        return self.__value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self.__value, other.reveal())

    __hash__ = None  # type: ignore[assignment]  # a hash of a secret is an oracle

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret cannot be copied out of its process.")
