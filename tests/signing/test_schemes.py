"""Signing and verifying are one another's inverse, agree with the reference library, and survive whatever comes."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from crossdock.credentials.secret import Secret
from crossdock.model.contract import Verify
from crossdock.model.errors import Invalid
from crossdock.model.ids import Instant
from crossdock.model.limits import MINUTE_MS
from crossdock.signing import SCHEMES, SignedRequest, Unverified, Verified, knobs_problems

TOLERANCE_MS = 5 * MINUTE_MS
NOW = Instant(1_760_000_000_000)
URL = "https://in.example/in/con_1"
TIMED = {"timestamp_header": "X-Time", "template": "{timestamp}.{raw}"}
GENERIC: tuple[dict[str, str], ...] = (
    {"header": "X-Sign"},
    {"header": "X-Sign", "prefix": "sha256="},
    {"header": "X-Sign", "algorithm": "sha512", "encoding": "base64"},
    {"header": "X-Sign", "algorithm": "sha1", "legacy": "true"},
    {"header": "X-Sign", "encoding": "base64url", "separator": " "},
    {"header": "X-Sign", **TIMED},
    {"header": "X-Sign", **TIMED, "timestamp_unit": "ms"},
    {"header": "X-Sign", **TIMED, "timestamp_unit": "iso8601"},
    {"header": "X-Sign", "id_header": "X-Id", "template": "{id}:{url}:{method}:{raw}", "url": URL},
    {"header": "X-Sign", "timestamp_key": "t", "signature_key": "v1", "template": "{timestamp}.{raw}"},
    {"header": "X-Sign", "signature_key": "s", "separator": ";", "encoding": "base64"},
)
CASES: tuple[tuple[Verify, dict[str, str]], ...] = (
    (Verify.STANDARD_WEBHOOKS, {}),
    (Verify.STANDARD_WEBHOOKS, {"headers": "svix"}),
    (Verify.STANDARD_WEBHOOKS, {"key": "utf8"}),
    (Verify.SHOPIFY, {}),
    (Verify.SHOPIFY, {"staleness": "triggered_at"}),
    *((Verify.GENERIC_HMAC, knobs) for knobs in GENERIC),
)
cases = st.sampled_from(CASES)
bodies = st.binary(max_size=300)
keys = st.binary(min_size=24, max_size=64)
message_ids = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="."), min_size=1)
instants = st.integers(0, 4_000_000_000_000).map(Instant)


def secret_for(scheme: Verify, knobs: Mapping[str, str], key: bytes) -> Secret:
    plain = scheme is not Verify.STANDARD_WEBHOOKS or knobs.get("key") == "utf8"
    return Secret(key if plain else b"whsec_" + base64.b64encode(key))


def signed(
    case: tuple[Verify, dict[str, str]], body: bytes, secret: Secret, message_id: str, now: Instant
) -> dict[str, str]:
    """What would arrive: the headers of sign(), their names in lower case."""
    headers = SCHEMES[case[0]].sign(body, secret, message_id, now, case[1])
    return {name.lower(): value for name, value in headers.items()}


def verified(
    case: tuple[Verify, dict[str, str]], headers: Mapping[str, str], body: bytes, secret: Secret, now: Instant = NOW
) -> Verified | Unverified:
    return SCHEMES[case[0]].verify(SignedRequest("POST", URL, headers, body), [secret], case[1], TOLERANCE_MS, now)


@given(cases, bodies, keys, message_ids, instants)
def test_what_is_signed_verifies(
    case: tuple[Verify, dict[str, str]], body: bytes, key: bytes, message_id: str, now: Instant
) -> None:
    secret = secret_for(*case, key)
    message_id = message_id[:255]
    answer = verified(case, signed(case, body, secret, message_id, now), body, secret, now)
    assert isinstance(answer, Verified)
    assert answer.message_id in (None, message_id)
    assert answer.timestamp is None or 0 <= now - answer.timestamp < 1000


@given(cases, st.binary(min_size=1, max_size=300), keys, st.data())
def test_any_flipped_bit_of_the_body_fails(
    case: tuple[Verify, dict[str, str]], body: bytes, key: bytes, data: st.DataObject
) -> None:
    secret = secret_for(*case, key)
    headers = signed(case, body, secret, "msg_1", NOW)
    at, bit = data.draw(st.integers(0, len(body) - 1)), data.draw(st.integers(0, 7))
    changed = body[:at] + bytes([body[at] ^ (1 << bit)]) + body[at + 1 :]
    assert isinstance(verified(case, headers, changed, secret), Unverified)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_byte_of_a_long_body_counts(case: tuple[Verify, dict[str, str]]) -> None:
    secret, body = secret_for(*case, b"k" * 32), bytes(range(256)) * 40
    headers = signed(case, body, secret, "msg_1", NOW)
    assert isinstance(verified(case, headers, body, secret), Verified)
    for at in (*range(0, len(body), 97), len(body) - 1):
        changed = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        assert isinstance(verified(case, headers, changed, secret), Unverified), at


@pytest.mark.parametrize(
    ("case", "headers"),
    [
        ((Verify.SHOPIFY, {}), {"x-shopify-hmac-sha256": "base64"}),
        ((Verify.GENERIC_HMAC, {"header": "X"}), {"x": "hex"}),
        ((Verify.GENERIC_HMAC, {"header": "X", "key": "hex"}), {"x": "hex"}),
        ((Verify.GENERIC_HMAC, {"header": "X", "key": "base64"}), {"x": "hex"}),
        ((Verify.STANDARD_WEBHOOKS, {"key": "utf8"}), {"webhook-signature": "v1"}),
    ],
    ids=str,
)
def test_an_empty_secret_is_nobodys(case: Any, headers: dict[str, str]) -> None:
    """Anybody can sign with it."""
    content = b"{}"
    if case[0] is Verify.STANDARD_WEBHOOKS:
        content = f"msg_1.{NOW // 1000}.".encode() + content
        headers = {**headers, "webhook-id": "msg_1", "webhook-timestamp": str(NOW // 1000)}
    digest = hmac.digest(b"", content, "sha256")
    spelled = {
        "hex": digest.hex(),
        "base64": base64.b64encode(digest).decode(),
        "v1": "v1," + base64.b64encode(digest).decode(),
    }
    forged = {name: spelled.get(value, value) for name, value in headers.items()}
    assert isinstance(verified(case, forged, b"{}", Secret(b"")), Unverified)


@given(cases, bodies, keys, st.data())
def test_any_flipped_bit_of_the_key_fails(
    case: tuple[Verify, dict[str, str]], body: bytes, key: bytes, data: st.DataObject
) -> None:
    headers = signed(case, body, secret_for(*case, key), "msg_1", NOW)
    at, bit = data.draw(st.integers(0, len(key) - 1)), data.draw(st.integers(0, 7))
    other = key[:at] + bytes([key[at] ^ (1 << bit)]) + key[at + 1 :]
    assert isinstance(verified(case, headers, body, secret_for(*case, other)), Unverified)


@given(cases, bodies, keys, st.data())
def test_a_changed_header_never_raises_and_never_passes_for_another_message(
    case: tuple[Verify, dict[str, str]], body: bytes, key: bytes, data: st.DataObject
) -> None:
    secret = secret_for(*case, key)
    headers = signed(case, body, secret, "msg_1", NOW)
    name = data.draw(st.sampled_from(sorted(headers)))
    headers[name] = data.draw(st.text(max_size=60))
    answer = verified(case, headers, body, secret)
    # What is not signed (an id beside the signature) may change; what is signed may not.
    unsigned = case[0] is Verify.SHOPIFY and name != "x-shopify-hmac-sha256"
    spelled_alike = isinstance(answer, Verified) and answer.message_id in (None, "msg_1")
    assert isinstance(answer, Unverified) or unsigned or spelled_alike


strange = st.one_of(
    st.text(max_size=80),
    st.text(st.characters(codec="latin-1"), max_size=80),
    st.sampled_from(
        ["", " ", ",", "=", "v1,", "v1a,", "t=1", "t=,v1=", "\x00", "\ud800", "é", "٣", "1e9", "-1", "9" * 400]
    ),
    st.integers(0, 10**30).map(str),
    st.sampled_from(["v1," * 20, "a" * 5_000, "v1,AAAA " * 500, "sha256=" + "0" * 64, "2020-01-01T00:00:00"]),
    st.sampled_from(["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2020-01-01"]),
)


@settings(max_examples=400)
@given(cases, st.data(), bodies, st.binary(max_size=70))
def test_whatever_the_headers_hold_the_answer_is_unverified(
    case: tuple[Verify, dict[str, str]], data: st.DataObject, body: bytes, secret: bytes
) -> None:
    names = sorted(signed(case, body, secret_for(*case, b"k" * 32), "msg_1", NOW))
    headers = data.draw(st.dictionaries(st.sampled_from(names), strange))
    now = data.draw(instants)
    assert isinstance(verified(case, headers, body, Secret(secret), now), Unverified)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_repeated_an_overlong_and_a_foreign_header_fail(case: tuple[Verify, dict[str, str]]) -> None:
    """A repeated header arrives joined with a comma and a space (RFC 9110, 5.3)."""
    secret = secret_for(*case, b"k" * 32)
    headers = signed(case, b"{}", secret, "msg_1", NOW)
    assert isinstance(verified(case, headers, b"{}", secret), Verified)
    for name, value in headers.items():
        for bad in (
            f"{value}, {value}",
            value + "\u00e9",
            value + "\x7f",
            value + "0" * 5_000,
            "\ud800",
            "\r\n" + value,
        ):
            answer = verified(case, {**headers, name: bad}, b"{}", secret)
            ignored = case == (Verify.SHOPIFY, {}) and name == "x-shopify-triggered-at"
            assert isinstance(answer, Verified) is ignored, (name, bad[:20])


@pytest.mark.parametrize(
    "case", [one for one in CASES if one[1].get("separator") or one[0] is Verify.STANDARD_WEBHOOKS]
)
def test_of_many_candidates_one_may_match_but_not_behind_too_many(case: tuple[Verify, dict[str, str]]) -> None:
    secret = secret_for(*case, b"k" * 32)
    headers = signed(case, b"{}", secret, "msg_1", NOW)
    name = next(one for one in headers if "sign" in one)
    between = case[1].get("separator", " ")
    for wrong, passes in ((1, True), (15, True), (16, False), (400, False)):
        listed = between.join(["v1,AAAA"] * wrong + [headers[name]])
        answer = verified(case, {**headers, name: listed}, b"{}", secret)
        assert isinstance(answer, Verified) is passes


def test_every_scheme_of_the_contracts_is_there() -> None:
    assert set(SCHEMES) == set(Verify)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200), keys)
def test_the_reference_library_accepts_what_we_sign(body: str, key: bytes) -> None:
    now = Instant(int(datetime.now(tz=UTC).timestamp() * 1000))  # the library reads the clock itself
    text = "whsec_" + base64.b64encode(key).decode()
    headers = SCHEMES[Verify.STANDARD_WEBHOOKS].sign(body.encode(), Secret(text.encode()), "msg_1", now, {})
    Webhook(text).verify(body, headers, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(text).verify(body + "x", headers, json_parse=False)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200), keys)
def test_we_accept_what_the_reference_library_signs(body: str, key: bytes) -> None:
    text = "whsec_" + base64.b64encode(key).decode()
    stamp = NOW // 1000
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(stamp),
        "webhook-signature": Webhook(text).sign("msg_1", datetime.fromtimestamp(stamp, UTC), body),
    }
    case: tuple[Verify, dict[str, str]] = (Verify.STANDARD_WEBHOOKS, {})
    assert isinstance(verified(case, headers, body.encode(), Secret(text.encode())), Verified)
    assert isinstance(verified(case, headers, body.encode() + b"x", Secret(text.encode())), Unverified)


WRONG_KNOBS: tuple[tuple[Verify, dict[str, str]], ...] = (
    (Verify.STANDARD_WEBHOOKS, {"header": "X"}),
    (Verify.STANDARD_WEBHOOKS, {"headers": "mine"}),
    (Verify.SHOPIFY, {"staleness": "yes"}),
    (Verify.SHOPIFY, {"prefix": ""}),
    (Verify.GENERIC_HMAC, {}),
    (Verify.GENERIC_HMAC, {"header": "no header"}),
    (Verify.GENERIC_HMAC, {"header": "X", "algorithm": "sha1"}),
    (Verify.GENERIC_HMAC, {"header": "X", "algorithm": "md5"}),
    (Verify.GENERIC_HMAC, {"header": "X", "encoding": "rot13"}),
    (Verify.GENERIC_HMAC, {"header": "X", "template": "{timestamp}"}),
    (Verify.GENERIC_HMAC, {"header": "X", "template": "{raw}{raw}"}),
    (Verify.GENERIC_HMAC, {"header": "X", "template": "{raw}{secret}"}),
    (Verify.GENERIC_HMAC, {"header": "X", "template": "{timestamp}{raw}"}),
    (Verify.GENERIC_HMAC, {"header": "X", "template": "{id}{raw}"}),
    (Verify.GENERIC_HMAC, {"header": "X", "timestamp_header": "X-Time"}),
    (Verify.GENERIC_HMAC, {"header": "X", "timestamp_key": "t", "template": "{timestamp}{raw}"}),
)


@pytest.mark.parametrize("case", WRONG_KNOBS, ids=str)
def test_wrong_knobs_are_named_and_nothing_verifies_under_them(case: tuple[Verify, dict[str, str]]) -> None:
    assert knobs_problems(*case)
    with pytest.raises(Invalid) as caught:
        SCHEMES[case[0]].sign(b"{}", Secret(b"k" * 32), "msg_1", NOW, case[1])
    assert caught.value.code == "CD6011"


@pytest.mark.parametrize(
    ("case", "secret"),
    [
        ((Verify.STANDARD_WEBHOOKS, {}), b""),
        ((Verify.STANDARD_WEBHOOKS, {}), b"whsec_c2hvcnQ="),
        ((Verify.STANDARD_WEBHOOKS, {}), b"whsec_not base64"),
        ((Verify.STANDARD_WEBHOOKS, {}), b"whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="),
        ((Verify.STANDARD_WEBHOOKS, {}), b"whsk_AAAA"),
        ((Verify.STANDARD_WEBHOOKS, {}), b"whsk_" + base64.b64encode(b"a" * 64)),
        ((Verify.STANDARD_WEBHOOKS, {"key": "utf8"}), b""),
        ((Verify.SHOPIFY, {}), b""),
        ((Verify.GENERIC_HMAC, {"header": "X"}), b""),
        ((Verify.GENERIC_HMAC, {"header": "X", "key": "hex"}), b"zz"),
        ((Verify.GENERIC_HMAC, {"header": "X", "key": "base64"}), b"***"),
    ],
    ids=str,
)
def test_an_unusable_secret_signs_nothing_verifies_nothing_and_is_not_repeated(case: Any, secret: bytes) -> None:
    headers = {"webhook-id": "m", "webhook-timestamp": str(NOW // 1000), "webhook-signature": "v1,AAAA", "x": "00"}
    assert isinstance(verified(case, headers, b"{}", Secret(secret)), Unverified)
    with pytest.raises(Invalid) as caught:
        SCHEMES[case[0]].sign(b"{}", Secret(secret), "msg_1", NOW, case[1])
    assert caught.value.code == "CD6012"
    assert not secret or secret.decode() not in str(caught.value)
