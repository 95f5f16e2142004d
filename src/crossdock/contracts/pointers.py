"""JSON Pointers (RFC 6901), and patterns of them in which `*` stands for any array index."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from typing import Final, Literal

from crossdock.model.errors import Invalid
from crossdock.model.ids import Json


class Absent(Enum):
    MISSING = "missing"


MISSING: Final = Absent.MISSING
"""Not there at all, which is something else than null."""

Missing = Literal[Absent.MISSING]
EACH = "*"
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


def escape(token: str) -> str:
    return token.replace("~", "~0").replace("/", "~1")


def written(tokens: Iterable[str]) -> str:
    return "".join("/" + escape(token) for token in tokens)


@lru_cache(maxsize=4_096)
def tokens_of(pointer: str) -> tuple[str, ...]:
    """The reference tokens of `pointer`; Invalid (CD2006) where it is not a JSON Pointer."""
    if pointer == "":
        return ()
    if not pointer.startswith("/") or any(bad not in "01" for bad in _after_tildes(pointer)):
        raise Invalid("CD2006", "This is not a JSON Pointer.", remedy="Write it as /name/of/field (RFC 6901).")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/"))


def _after_tildes(pointer: str) -> list[str]:
    return [pointer[at + 1 : at + 2] or "?" for at, char in enumerate(pointer) if char == "~"]


def index_of(token: str, length: int) -> int | None:
    """The array index that `token` names, None where it names none (RFC 6901: no sign, no leading zero)."""
    if _INDEX.fullmatch(token) is None:
        return None
    index = int(token)
    return index if index < length else None


def value_at(document: Json, pointer: str) -> Json | Missing:
    """What `pointer` leads to, MISSING where it leads nowhere."""
    at: Json = document
    for token in tokens_of(pointer):
        if isinstance(at, dict):
            if token not in at:
                return MISSING
            at = at[token]
        elif isinstance(at, list):
            index = index_of(token, len(at))
            if index is None:
                return MISSING
            at = at[index]
        else:
            return MISSING
    return at
