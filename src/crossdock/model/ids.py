"""Ids and instants are types, so that two of them cannot be swapped by accident."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NewType, TypeAlias

Json: TypeAlias = "None | bool | int | float | str | list[Json] | dict[str, Json]"
JsonObject: TypeAlias = "dict[str, Json]"

StoreId = NewType("StoreId", str)
ConnectionId = NewType("ConnectionId", str)
ContractId = NewType("ContractId", str)
RouteName = NewType("RouteName", str)
EventId = NewType("EventId", str)
TokenId = NewType("TokenId", str)
CorrelationId = NewType("CorrelationId", str)
Position = NewType("Position", int)
"""An entry's place in its store's journal: 1, 2, 3, ... without a gap. 0 stands before the first entry."""
Instant = NewType("Instant", int)
"""Milliseconds since the Unix epoch, UTC."""

START = Position(0)

STORE_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""A store id is a DNS label (RFC 1123): it may stand in a path, a file name and a log line as it is."""
CONNECTION_ID = re.compile(r"con_[0-9a-hjkmnp-tv-z]{26}")
"""130 random bits in Crockford base 32, so that a connection's address cannot be guessed."""
CONTRACT_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*(?:\.[a-z0-9]+(?:-[a-z0-9]+)*)+")
ROUTE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")

CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = tuple(one + other for one in CROCKFORD for other in CROCKFORD)


def base32(random: bytes, length: int) -> str:
    """The first `length` Crockford base 32 digits of `random` (5 bits each); ValueError if it is too short."""
    if len(random) * 8 < length * 5:
        raise ValueError(f"{length} digits need {length * 5} bits, got {len(random) * 8}")
    even = length + length % 2  # two digits at a time: this runs twice for each event that is accepted
    number = (int.from_bytes(random, "big") << 5) >> (len(random) * 8 + 5 - even * 5)
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in range((even - 2) * 5, -1, -10)])[:length]


@dataclass(frozen=True, slots=True, order=True)
class LaneId:
    """A connection's way through its store's journal for one route."""

    store: StoreId
    connection: ConnectionId
    route: RouteName

    def __str__(self) -> str:
        return f"{self.store}/{self.connection}/{self.route}"


CORE_ORIGIN = "core"
"""The origin of an entry that the commerce core published."""


def origin_of(connection: ConnectionId, route: RouteName) -> str:
    """The origin of an entry that came in through a connection."""
    return f"{connection}/{route}"
