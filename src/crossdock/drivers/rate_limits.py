"""How many calls a far end still takes, as the headers of its answers say. Pure, and never raises: what cannot be read
says nothing.

- `RateLimit: "name";r=49;t=30` (draft-ietf-httpapi-ratelimit-headers, from version 8 on), and of the versions before it
  `RateLimit: limit=100, remaining=49, reset=30` and `RateLimit-Remaining` with `RateLimit-Reset` (seconds from now).
- `X-RateLimit-Remaining` with `X-RateLimit-Reset`, never standardised: seconds from now, or since 1970, or milliseconds
  since 1970. GitHub and X (`X-Rate-Limit-...`) give seconds since 1970, others seconds from now: whatever lies beyond
  SPAN_SECONDS_MAX is a moment.

Of several quotas the one that has least left counts, and of two with as much left the one that lasts longer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from crossdock.model.ids import Instant
from crossdock.model.limits import DAY_MS, RETRY_AFTER_MS_MAX, SECOND_MS

PAIRS = (
    ("ratelimit-remaining", "ratelimit-reset"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("x-rate-limit-remaining", "x-rate-limit-reset"),
)
NAMES = frozenset({"ratelimit", *(name for pair in PAIRS for name in pair)})
"""The headers that are looked at, in lower case."""

SPAN_SECONDS_MAX = 366 * DAY_MS // SECOND_MS
MILLISECONDS_FROM = 10**11  # as seconds this would be the year 5138
_NUMBER = re.compile(r"[0-9]{1,16}(?:\.[0-9]{1,9})?")
_MEMBER = re.compile(r"(?:^|[;,])\s*(r|t|remaining|reset)\s*=\s*([0-9.]{1,26})\s*(?=$|[;,])")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')

Left = tuple[int, int]
"""Calls, and for how many ms that holds, at most RETRY_AFTER_MS_MAX."""


def left_of(headers: Mapping[str, str], now: Instant) -> Left | None:
    """What is left; None where the headers, given by lower-case name, do not say both how much and for how long."""
    found = [one for one in (_left(*pair, now) for pair in _said(headers)) if one is not None]
    return min(found, key=lambda one: (one[0], -one[1]), default=None)


def _said(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    said = [(headers.get(left, ""), headers.get(reset, "")) for left, reset in PAIRS]
    text = _STRING.sub("quota", headers.get("ratelimit", ""))
    # The newer form lists quotas with parameters, the older one is one quota in three members.
    quotas = [text] if "remaining" in text else text.split(",")
    for quota in quotas:
        members = dict(_MEMBER.findall(quota))
        said.append((members.get("r") or members.get("remaining", ""), members.get("t") or members.get("reset", "")))
    return said


def _left(left: str, reset: str, now: Instant) -> Left | None:
    if not (_NUMBER.fullmatch(left.strip()) and _NUMBER.fullmatch(reset.strip())):
        return None
    at = float(reset)
    if at >= MILLISECONDS_FROM:
        wait_ms = at - now
    elif at > SPAN_SECONDS_MAX:
        wait_ms = at * SECOND_MS - now
    else:
        wait_ms = at * SECOND_MS
    return int(float(left)), max(0, min(math.ceil(wait_ms), RETRY_AFTER_MS_MAX))
