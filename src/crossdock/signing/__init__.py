"""Signature schemes, each with sign() beside verify(). Pure: the time comes in, nothing goes out."""

from __future__ import annotations

from collections.abc import Mapping

from crossdock.model.contract import Verify
from crossdock.signing.generic_hmac import GenericHmac
from crossdock.signing.scheme import Revealing, Scheme, SignedRequest, Unverified, Verified
from crossdock.signing.shopify import Shopify
from crossdock.signing.standard_webhooks import StandardWebhooks

__all__ = [
    "SCHEMES",
    "Revealing",
    "Scheme",
    "SignedRequest",
    "Unverified",
    "Verified",
    "knobs_problems",
]

SCHEMES: Mapping[Verify, Scheme] = {
    Verify.STANDARD_WEBHOOKS: StandardWebhooks(),
    Verify.SHOPIFY: Shopify(),
    Verify.GENERIC_HMAC: GenericHmac(),
}


def knobs_problems(verify: Verify, knobs: Mapping[str, str]) -> list[str]:
    """What is wrong with a contract's `source` knobs, in sentences; empty if nothing is."""
    return SCHEMES[verify].knobs_problems(knobs)
