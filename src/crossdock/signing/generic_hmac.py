"""HMAC over what a template names, as most providers sign: their differences are knobs.

| knob | values (default first) |
|---|---|
| header | the signature's header (required) |
| prefix | what stands before a signature, as `sha256=` |
| algorithm | sha256, sha512; sha1 only with `legacy: "true"` |
| encoding | hex, base64, base64url |
| key | how the secret becomes bytes: utf8, base64, hex |
| template | `{raw}`; literals with {raw} {timestamp} {id} {url} {method} |
| timestamp_header, timestamp_unit | where the time stands; s, ms, iso8601 |
| id_header | the sender's id of the message |
| separator | between several signatures, or between pairs (`,` there) |
| signature_key, timestamp_key | for a header of pairs, `t=1,v1=ab`: which pair is which |
| url | the address as registered with the sender, where it is not the request's own |
| legacy | false, true |
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from crossdock.model.ids import Instant
from crossdock.signing.scheme import (
    SIGNATURES_MAX,
    Revealing,
    SignedRequest,
    Unverified,
    Verified,
    deferred,
    fresh,
    from_base64,
    read_time,
    sound_id,
    sound_list,
    unknown_knobs,
    unusable,
    write_time,
    wrong_knobs,
)

CHOICES = {
    "algorithm": ("sha256", "sha512", "sha1"),
    "encoding": ("hex", "base64", "base64url"),
    "key": ("utf8", "base64", "hex"),
    "timestamp_unit": ("s", "ms", "iso8601"),
    "legacy": ("false", "true"),
}
HEADERS = ("header", "timestamp_header", "id_header")
KNOBS = frozenset(
    {*CHOICES, *HEADERS, "prefix", "template", "separator", "signature_key", "timestamp_key", "url"},
)
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
PLACES = re.compile(r"(\{[a-z]+\})")
NAMES = frozenset({"{raw}", "{timestamp}", "{id}", "{url}", "{method}"})
PUBLISHED_SECRETS = frozenset({b"dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ=="})
"""Secrets that a provider prints in its own documentation (Zendesk's builder tests): anybody can sign with them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The knobs, read once."""

    header: str
    prefix: str
    algorithm: str
    encoding: str
    key: str
    parts: tuple[str, ...]
    timestamp_header: str
    timestamp_unit: str
    timestamp_key: str
    signature_key: str
    id_header: str
    separator: str
    url: str
    problems: tuple[str, ...]

    @property
    def timed(self) -> bool:
        return bool(self.timestamp_header or self.timestamp_key)


@dataclass(frozen=True, slots=True)
class Presented:
    """What a request shows: candidate signatures, and the texts that the template names."""

    signatures: tuple[str, ...]
    stamp: str
    message_id: str


class GenericHmac:
    def verify(
        self,
        request: SignedRequest,
        secrets: Sequence[Revealing],
        knobs: Mapping[str, str],
        tolerance_ms: int,
        now: Instant,
    ) -> Verified | Unverified:
        plan = _plan(tuple(knobs.items()))
        if plan.problems:
            return Unverified("knobs")
        shown = _presented(plan, request.headers)
        if shown is None:
            return Unverified("header")
        at = None
        if plan.timed:
            at = read_time(shown.stamp, plan.timestamp_unit)
            if at is None:
                return Unverified("timestamp")
            if not fresh(at, now, tolerance_ms):
                return Unverified("stale")
        found = _matches(plan, shown.signatures, _content(plan, request, shown), secrets)
        return Verified(shown.message_id or None, at) if found else Unverified("signature")

    def sign(  # the address is part of what some senders sign
        self,
        body: bytes,
        secret: Revealing,
        message_id: str,
        now: Instant,
        knobs: Mapping[str, str],
        url: str = "",
    ) -> dict[str, str]:
        """As a POST to `url`, which counts only where the template names it."""
        plan = _plan(tuple(knobs.items()))
        problems = list(plan.problems)
        if plan.id_header and not sound_id(message_id):
            problems.append("a message id is 1 to 255 printable ASCII characters without space")
        if problems:
            raise wrong_knobs(problems)
        key = _key(plan, secret.reveal())
        if not key:
            raise unusable(f"it is not {plan.key}, or empty")
        stamp = write_time(now, plan.timestamp_unit) if plan.timed else ""
        content = _content(plan, SignedRequest("POST", url, {}, body), Presented((), stamp, message_id))
        signature = plan.prefix + _encoded(plan, hmac.digest(key, content, plan.algorithm))
        headers = {}
        if plan.signature_key:
            pairs = [f"{plan.timestamp_key}={stamp}"] if plan.timestamp_key else []
            signature = plan.separator.join([*pairs, f"{plan.signature_key}={signature}"])
        if plan.timestamp_header:
            headers[knobs["timestamp_header"]] = stamp
        if plan.id_header:
            headers[knobs["id_header"]] = message_id
        headers[knobs["header"]] = signature
        return headers

    def knobs_problems(self, knobs: Mapping[str, str]) -> list[str]:
        if deferred(knobs):
            return unknown_knobs(knobs, KNOBS)
        return list(_plan(tuple(knobs.items())).problems)

    def secret_problem(self, secret: Revealing, knobs: Mapping[str, str]) -> str:
        plan = _plan(tuple(knobs.items()))
        raw = secret.reveal()
        if raw in PUBLISHED_SECRETS:
            return "it is printed in a provider's documentation"
        return "" if _key(plan, raw) else f"it is not {plan.key}, or empty"


@lru_cache(maxsize=1_024)
def _plan(items: tuple[tuple[str, str], ...]) -> Plan:
    knobs = dict(items)
    pairs = bool(knobs.get("signature_key"))
    return Plan(
        header=knobs.get("header", "").lower(),
        prefix=knobs.get("prefix", ""),
        algorithm=knobs.get("algorithm", "sha256"),
        encoding=knobs.get("encoding", "hex"),
        key=knobs.get("key", "utf8"),
        parts=tuple(part for part in PLACES.split(knobs.get("template", "{raw}")) if part),
        timestamp_header=knobs.get("timestamp_header", "").lower(),
        timestamp_unit=knobs.get("timestamp_unit", "s"),
        timestamp_key=knobs.get("timestamp_key", ""),
        signature_key=knobs.get("signature_key", ""),
        id_header=knobs.get("id_header", "").lower(),
        separator=knobs.get("separator", "," if pairs else ""),
        url=knobs.get("url", ""),
        problems=tuple([*unknown_knobs(knobs, KNOBS), *_wrong_values(knobs), *_wrong_template(knobs)]),
    )


def _wrong_values(knobs: Mapping[str, str]) -> list[str]:
    problems = [
        f"{name} is one of {', '.join(allowed)}"
        for name, allowed in CHOICES.items()
        if knobs.get(name, allowed[0]) not in allowed
    ]
    if "header" not in knobs:
        problems.append("header is missing")
    problems += [
        f"{name} is no header name" for name in HEADERS if name in knobs and not HEADER_NAME.fullmatch(knobs[name])
    ]
    if knobs.get("algorithm") == "sha1" and knobs.get("legacy") != "true":
        problems.append('sha1 takes legacy: "true"')
    if knobs.get("timestamp_key") and not knobs.get("signature_key"):
        problems.append("timestamp_key takes a signature_key")
    if knobs.get("timestamp_key") and knobs.get("timestamp_header"):
        problems.append("the time stands in a header or in a pair, not in both")
    return problems


def _wrong_template(knobs: Mapping[str, str]) -> list[str]:
    template = knobs.get("template", "{raw}")
    places = PLACES.findall(template)
    problems = [f"the template cannot hold {place}" for place in places if place not in NAMES]
    if places.count("{raw}") != 1:
        problems.append("the template holds {raw} once: an unsigned body proves nothing")
    timed = bool(knobs.get("timestamp_header") or knobs.get("timestamp_key"))
    if timed != ("{timestamp}" in places):
        problems.append("a time is read where the template signs it, and nowhere else")
    if "{id}" in places and not knobs.get("id_header"):
        problems.append("the template's {id} takes an id_header")
    return problems


def _presented(plan: Plan, headers: Mapping[str, str]) -> Presented | None:
    value = headers.get(plan.header)
    stamp = headers.get(plan.timestamp_header, "") if plan.timestamp_header else ""
    message_id = headers.get(plan.id_header, "") if plan.id_header else ""
    if value is None or not sound_list(value, plan.separator) or (plan.id_header and not sound_id(message_id)):
        return None
    listed = value.split(plan.separator) if plan.separator else [value]
    if len(listed) > SIGNATURES_MAX:
        return None
    if plan.signature_key:
        pairs = [(name.strip(), text.strip()) for name, _, text in (part.partition("=") for part in listed)]
        stamps = [text for name, text in pairs if name == plan.timestamp_key]
        listed = [text for name, text in pairs if name == plan.signature_key]
        if plan.timestamp_key:
            if len(stamps) != 1:
                return None
            stamp = stamps[0]
    signatures = [
        _canonical(plan, text.removeprefix(plan.prefix))
        for text in [text.strip() for text in listed]
        if text.startswith(plan.prefix)
    ]
    return Presented(tuple(signatures), stamp, message_id) if signatures else None


def _matches(plan: Plan, signatures: Sequence[str], content: bytes, secrets: Sequence[Revealing]) -> bool:
    """Whether any secret made any of them. Each pair is compared, so that the time says nothing about which."""
    given = [signature.encode() for signature in signatures]
    found = False
    for secret in secrets:
        key = _key(plan, secret.reveal())
        if not key:
            continue
        expected = _encoded(plan, hmac.digest(key, content, plan.algorithm)).encode()
        for signature in given:
            found |= hmac.compare_digest(signature, expected)
    return found


def _canonical(plan: Plan, text: str) -> str:
    if plan.encoding == "hex":
        return text.lower()
    return text.rstrip("=") if plan.encoding == "base64url" else text


def _encoded(plan: Plan, digest: bytes) -> str:
    if plan.encoding == "hex":
        return digest.hex()
    if plan.encoding == "base64":
        return base64.b64encode(digest).decode()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _content(plan: Plan, request: SignedRequest, shown: Presented) -> bytes:
    if plan.parts == ("{raw}",):
        return request.body
    texts = {
        "{timestamp}": shown.stamp,
        "{id}": shown.message_id,
        "{url}": plan.url or request.url,
        "{method}": request.method.upper(),
    }
    return b"".join(
        [
            request.body if part == "{raw}" else texts.get(part, part).encode("utf-8", "surrogatepass")
            for part in plan.parts
        ]
    )


def _key(plan: Plan, raw: bytes) -> bytes | None:
    if plan.key == "base64":
        return from_base64(raw)
    if plan.key == "hex":
        try:
            return bytes.fromhex(raw.decode("ascii"))
        except ValueError:
            return None
    return raw
