"""A rate meter per key: the generic cell rate algorithm (ITU-T I.371), one integer a key, no timers. Pure.

A meter is the theoretical arrival time of the next request, in milliseconds times the rate's `limit`, so that every
rate is exact in integers. Over any window of w ms at most `burst + w * limit / per_ms` are let in.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass

from crossdock.model.contract import Rate
from crossdock.model.ids import Instant

METERS_MAX = 65_536  # about 16 MiB; the least recently seen goes first, and a forgotten meter starts full


@dataclass(frozen=True, slots=True)
class Allowed:
    """`meter` is the state to keep."""

    meter: int


@dataclass(frozen=True, slots=True)
class TooSoon:
    """Nothing was charged; the same request is let in after `retry_after_ms`, if nobody else comes first."""

    retry_after_ms: int


def decide(rate: Rate, meter: int, now: Instant, cost: int = 1) -> Allowed | TooSoon:
    """What the meter says of a request that costs `cost` (at most the burst is charged at once). `meter` is 0 at first.

    A meter further ahead than a burst can only mean that the clock was set back: it starts anew."""
    at = now * rate.limit
    full = rate.burst * rate.per_ms
    standing = meter if at < meter <= at + full else at
    after = standing + min(cost, rate.burst) * rate.per_ms
    if after - at <= full:
        return Allowed(after)
    return TooSoon(-(-(after - at - full) // rate.limit))


class Meters:
    """The meters of one rate, by key, bounded."""

    def __init__(self, rate: Rate, keys_max: int = METERS_MAX) -> None:
        self._rate = rate
        self._keys_max = keys_max
        self._meters: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._meters)

    def charge(self, key: str, now: Instant, cost: int = 1, rate: Rate | None = None) -> int:
        """0 when let in, else how many ms to wait. `rate` where a key has its own."""
        answer = decide(rate or self._rate, self._meters.get(key, 0), now, cost)
        if isinstance(answer, TooSoon):
            return answer.retry_after_ms
        self._meters[key] = answer.meter
        self._meters.move_to_end(key)
        if len(self._meters) > self._keys_max:
            self._meters.popitem(last=False)
        return 0

    def wait_ms(self, key: str, now: Instant) -> int:
        """What `charge` would say, charging nothing."""
        answer = decide(self._rate, self._meters.get(key, 0), now)
        return answer.retry_after_ms if isinstance(answer, TooSoon) else 0


def address_key(host: str) -> str:
    """The address that is held to account: the /64 for IPv6, since one sender commands all of it."""
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
