"""Standard Webhooks: `v1` HMAC-SHA256 and `v1a` ed25519 over `id.timestamp.body` (standard-webhooks.md, version 1).

Knobs: `headers` webhook (default) or svix; `key` whsec (default: base64 after `whsec_`) or utf8 (bytes as they are).
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

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
    wrong_knobs,
)

KNOBS = {"headers": ("webhook", "svix"), "key": ("whsec", "utf8")}
SECRET_BYTES_MIN = 24
SECRET_BYTES_MAX = 64


class StandardWebhooks:
    def verify(
        self,
        request: SignedRequest,
        secrets: Sequence[Revealing],
        knobs: Mapping[str, str],
        tolerance_ms: int,
        now: Instant,
    ) -> Verified | Unverified:
        start = knobs.get("headers", "webhook")
        message_id = request.headers.get(start + "-id", "")
        stamp = request.headers.get(start + "-timestamp", "")
        signatures = request.headers.get(start + "-signature", "")
        if not sound_list(signatures, " ") or not sound_id(message_id) or "." in message_id:
            return Unverified("header")
        at = read_time(stamp, "s")
        if at is None:
            return Unverified("timestamp")
        if not fresh(at, now, tolerance_ms):
            return Unverified("stale")
        listed = signatures.split(" ")
        if len(listed) > SIGNATURES_MAX:
            return Unverified("signatures")
        content = f"{message_id}.{stamp}.".encode() + request.body
        found = False
        for secret in secrets:
            found |= _matches(secret.reveal(), content, listed, knobs)
        return Verified(message_id, at) if found else Unverified("signature")

    def sign(
        self, body: bytes, secret: Revealing, message_id: str, now: Instant, knobs: Mapping[str, str]
    ) -> dict[str, str]:
        problems = self.knobs_problems(knobs)
        if not sound_id(message_id) or "." in message_id:
            problems.append("a message id is 1 to 255 printable ASCII characters without space or dot")
        if problems:
            raise wrong_knobs(problems)
        stamp = str(now // 1000)
        content = f"{message_id}.{stamp}.".encode() + body
        raw = secret.reveal()
        if raw.startswith(b"whsk_"):
            private = _private(raw)
            if private is None:
                raise unusable("whsk_ takes an ed25519 key of 64 bytes in base64")
            signature = "v1a," + base64.b64encode(private.sign(content)).decode()
        else:
            key = _shared(raw, knobs)
            if key is None:
                raise unusable("whsec_ takes 24 to 64 bytes in base64")
            signature = "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode()
        start = knobs.get("headers", "webhook")
        return {f"{start}-id": message_id, f"{start}-timestamp": stamp, f"{start}-signature": signature}

    def knobs_problems(self, knobs: Mapping[str, str]) -> list[str]:
        problems = unknown_knobs(knobs, frozenset(KNOBS))
        if deferred(knobs):
            return problems
        return problems + [
            f"{name} is {' or '.join(allowed)}"
            for name, allowed in KNOBS.items()
            if name in knobs and knobs[name] not in allowed
        ]

    def secret_problem(self, secret: Revealing, knobs: Mapping[str, str]) -> str:
        raw = secret.reveal()
        if raw.startswith(b"whpk_"):
            return "" if _public(raw) else "whpk_ takes an ed25519 public key of 32 bytes in base64"
        if raw.startswith(b"whsk_"):
            return "" if _private(raw) else "whsk_ takes an ed25519 key of 64 bytes in base64"
        return "" if _shared(raw, knobs) else "whsec_ takes 24 to 64 bytes in base64"


def _matches(raw: bytes, content: bytes, listed: Sequence[str], knobs: Mapping[str, str]) -> bool:
    if raw.startswith((b"whpk_", b"whsk_")):
        public = _public(raw)
        return public is not None and _any_signed(public, content, listed)
    key = _shared(raw, knobs)
    if key is None:
        return False
    expected = b"v1," + base64.b64encode(hmac.digest(key, content, "sha256"))
    found = False
    for signature in listed:
        found |= hmac.compare_digest(signature.encode(), expected)
    return found


def _any_signed(public: Ed25519PublicKey, content: bytes, listed: Sequence[str]) -> bool:
    found = False
    for signature in listed:
        version, _, text = signature.partition(",")
        raw = from_base64(text.encode()) if version == "v1a" else None
        # base64 with stray bits decodes too: only the one canonical text of a signature counts.
        if raw is None or base64.b64encode(raw).decode() != text:
            continue
        try:
            public.verify(raw, content)
            found = True
        except InvalidSignature:
            continue
    return found


def _shared(raw: bytes, knobs: Mapping[str, str]) -> bytes | None:
    if knobs.get("key", "whsec") == "utf8":
        return raw or None
    if raw.startswith((b"whpk_", b"whsk_")):
        return None
    key = from_base64(raw.removeprefix(b"whsec_"))
    return key if key is not None and SECRET_BYTES_MIN <= len(key) <= SECRET_BYTES_MAX else None


def _private(raw: bytes) -> Ed25519PrivateKey | None:
    """The secret is seed and public key, 64 bytes; a bare seed of 32 is taken too."""
    key = from_base64(raw.removeprefix(b"whsk_"))
    if key is None or len(key) not in (32, 64):
        return None
    private = Ed25519PrivateKey.from_private_bytes(key[:32])
    return private if len(key) == 32 or private.public_key().public_bytes_raw() == key[32:] else None


def _public(raw: bytes) -> Ed25519PublicKey | None:
    if raw.startswith(b"whsk_"):
        private = _private(raw)
        return private.public_key() if private else None
    key = from_base64(raw.removeprefix(b"whpk_"))
    return Ed25519PublicKey.from_public_bytes(key) if key is not None and len(key) == 32 else None
