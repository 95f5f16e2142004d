"""Shopify webhooks: base64 HMAC-SHA256 of the raw body under the app's client secret (shopify.dev, verify deliveries).

Nothing but the body is signed. Knob: `staleness` triggered_at also refuses by `X-Shopify-Triggered-At` where sent;
as that header is not signed, it only keeps out honest latecomers.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping, Sequence

from crossdock.model.ids import Instant
from crossdock.signing.scheme import (
    Revealing,
    SignedRequest,
    Unverified,
    Verified,
    deferred,
    fresh,
    read_time,
    sound,
    sound_id,
    unknown_knobs,
    unusable,
    write_time,
    wrong_knobs,
)

SIGNATURE_HEADER = "X-Shopify-Hmac-SHA256"
ID_HEADER = "X-Shopify-Webhook-Id"
TIME_HEADER = "X-Shopify-Triggered-At"


class Shopify:
    def verify(
        self,
        request: SignedRequest,
        secrets: Sequence[Revealing],
        knobs: Mapping[str, str],
        tolerance_ms: int,
        now: Instant,
    ) -> Verified | Unverified:
        signature = request.headers.get("x-shopify-hmac-sha256")
        message_id = request.headers.get("x-shopify-webhook-id")
        if signature is None or not sound(signature) or (message_id is not None and not sound_id(message_id)):
            return Unverified("header")
        stamp = request.headers.get("x-shopify-triggered-at")
        at = None
        if stamp is not None and knobs.get("staleness") == "triggered_at":
            at = read_time(stamp, "iso8601")
            if at is None:
                return Unverified("timestamp")
            if not fresh(at, now, tolerance_ms):
                return Unverified("stale")
        given = signature.encode()
        found = False
        for secret in secrets:
            key = secret.reveal()
            expected = base64.b64encode(hmac.digest(key, request.body, "sha256"))
            found |= hmac.compare_digest(given, expected) and bool(key)
        return Verified(message_id, at) if found else Unverified("signature")

    def sign(
        self, body: bytes, secret: Revealing, message_id: str, now: Instant, knobs: Mapping[str, str]
    ) -> dict[str, str]:
        problems = self.knobs_problems(knobs)
        if not sound_id(message_id):
            problems.append("a message id is 1 to 255 printable ASCII characters without space")
        if problems:
            raise wrong_knobs(problems)
        key = secret.reveal()
        if not key:
            raise unusable("it is empty")
        return {
            SIGNATURE_HEADER: base64.b64encode(hmac.digest(key, body, "sha256")).decode(),
            ID_HEADER: message_id,
            TIME_HEADER: write_time(now, "iso8601"),
        }

    def knobs_problems(self, knobs: Mapping[str, str]) -> list[str]:
        problems = unknown_knobs(knobs, frozenset({"staleness"}))
        if not deferred(knobs) and knobs.get("staleness", "none") not in ("none", "triggered_at"):
            problems.append("staleness is none or triggered_at")
        return problems

    def secret_problem(self, secret: Revealing, knobs: Mapping[str, str]) -> str:
        return "" if secret.reveal() else "it is empty"
