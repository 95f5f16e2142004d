"""What providers publish passes; whatever is changed in it fails, and all failures are alike from outside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
from vectors import VECTORS, Vector

from crossdock.credentials.secret import Secret
from crossdock.model.contract import Verify
from crossdock.model.ids import Instant
from crossdock.model.limits import HOUR_MS, MINUTE_MS
from crossdock.signing import SCHEMES, SignedRequest, Unverified, Verified

TOLERANCE_MS = 5 * MINUTE_MS
TIMED = [vector for vector in VECTORS if vector.now]


def named(vector: Vector) -> str:
    return vector.name


def asked(vector: Vector) -> SignedRequest:
    return SignedRequest("POST", vector.url, vector.headers, vector.content())


def outcome(
    vector: Vector, request: SignedRequest, secret: bytes | None = None, now: int | None = None
) -> Verified | Unverified:
    return SCHEMES[vector.scheme].verify(
        request,
        [Secret(vector.secret if secret is None else secret)],
        vector.knobs,
        TOLERANCE_MS,
        Instant(vector.now if now is None else now),
    )


def refused(answer: Verified | Unverified) -> bool:
    return type(answer) is Unverified


def without(headers: Mapping[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key != name}


def changed_bytes(body: bytes) -> Iterator[bytes]:
    """One bit flipped at each of up to 64 places, one byte more, one less."""
    for index in range(0, len(body), max(1, len(body) // 64)):
        yield body[:index] + bytes([body[index] ^ 1]) + body[index + 1 :]
    yield body + b" "
    if body:
        yield body[:-1]


@pytest.mark.parametrize("vector", VECTORS, ids=named)
def test_a_published_signature_passes(vector: Vector) -> None:
    answer = outcome(vector, asked(vector))
    assert isinstance(answer, Verified)
    assert answer.timestamp == (vector.now // 1000 * 1000 if vector.now else None) or vector.name == "stripe"


@pytest.mark.parametrize("vector", VECTORS, ids=named)
def test_the_knobs_of_a_provider_and_its_secret_are_accepted(vector: Vector) -> None:
    scheme = SCHEMES[vector.scheme]
    assert scheme.knobs_problems(vector.knobs) == []
    problem = scheme.secret_problem(Secret(vector.secret), vector.knobs)
    assert (problem == "") is (vector.name != "zendesk")  # Zendesk prints its test secret: anybody can sign with it


@pytest.mark.parametrize("vector", VECTORS, ids=named)
def test_a_changed_body_fails(vector: Vector) -> None:
    request = asked(vector)
    assert all(refused(outcome(vector, replace(request, body=body))) for body in changed_bytes(request.body))


@pytest.mark.parametrize("vector", VECTORS, ids=named)
def test_without_any_of_its_headers_it_fails(vector: Vector) -> None:
    request = asked(vector)
    for name in vector.headers:
        assert refused(outcome(vector, replace(request, headers=without(vector.headers, name)))), name
        assert refused(outcome(vector, replace(request, headers={**vector.headers, name: ""}))), name


@pytest.mark.parametrize("vector", VECTORS, ids=named)
def test_another_secret_fails(vector: Vector) -> None:
    request = asked(vector)
    for secret in (b"", b"another", b"whsec_" + b"A" * 32, b"00" * 32, vector.secret + b"0", vector.secret[:-2]):
        assert refused(outcome(vector, request, secret=secret)), len(secret)
    assert refused(SCHEMES[vector.scheme].verify(request, [], vector.knobs, TOLERANCE_MS, vector.now))


@pytest.mark.parametrize("vector", VECTORS, ids=named)
def test_the_right_secret_is_found_among_others(vector: Vector) -> None:
    scheme, request = SCHEMES[vector.scheme], asked(vector)
    other = Secret(b"whsec_" + b"A" * 32)
    for secrets in ([other, Secret(vector.secret)], [Secret(vector.secret), other]):
        assert isinstance(scheme.verify(request, secrets, vector.knobs, TOLERANCE_MS, vector.now), Verified)


@pytest.mark.parametrize("vector", TIMED, ids=named)
def test_what_is_too_old_or_from_the_future_fails(vector: Vector) -> None:
    request = asked(vector)
    signed = outcome(vector, request)
    assert isinstance(signed, Verified)
    assert signed.timestamp is not None
    at = signed.timestamp
    for now in (at - TOLERANCE_MS, at, at + TOLERANCE_MS):
        assert isinstance(outcome(vector, request, now=now), Verified)
    for now in (0, at - HOUR_MS, at - TOLERANCE_MS - 1, at + TOLERANCE_MS + 1, at + HOUR_MS):
        if abs(now - at) > TOLERANCE_MS:
            assert refused(outcome(vector, request, now=now)), now - at


@pytest.mark.parametrize("vector", TIMED, ids=named)
def test_a_time_made_fresh_without_the_secret_fails(vector: Vector) -> None:
    later = vector.now + HOUR_MS
    old, new = (str(vector.now // 1000), str(later // 1000))
    if vector.name == "hubspot-v3":
        old, new = (str(vector.now), str(later))
    if vector.name == "stripe":
        old, new = ("1533204620", str(later // 1000))
    headers = {
        name: value.replace(old, new) if "time" in name or f"={old}" in value else value
        for name, value in vector.headers.items()
    }
    assert headers != vector.headers
    assert refused(outcome(vector, replace(asked(vector), headers=headers), now=later))


@pytest.mark.parametrize("vector", [one for one in VECTORS if "{url}" in one.knobs.get("template", "")], ids=named)
def test_a_signed_address_or_method_binds(vector: Vector) -> None:
    request = asked(vector)
    assert refused(outcome(vector, replace(request, url=vector.url + "/")))
    if "{method}" in vector.knobs["template"]:
        assert refused(outcome(vector, replace(request, method="PUT")))
    registered = {**vector.knobs, "url": vector.url}
    behind_a_proxy = replace(request, url="http://10.0.0.1/in/con_1")
    assert isinstance(outcome(replace(vector, knobs=registered), behind_a_proxy), Verified)


@pytest.mark.parametrize("vector", VECTORS, ids=named)
def test_every_failure_looks_the_same_from_outside(vector: Vector) -> None:
    """Only the reason code differs, and it goes to the log alone: the type says no more."""
    request = asked(vector)
    failures = [
        outcome(vector, replace(request, body=request.body + b"x")),
        outcome(vector, replace(request, headers={})),
        outcome(vector, request, secret=b"another"),
        outcome(vector, replace(request, headers={**vector.headers, **dict.fromkeys(vector.headers, "\u00e9")})),
    ]
    if vector.now:
        failures += [outcome(vector, request, now=0), outcome(vector, request, now=vector.now + HOUR_MS)]
    assert {type(one) for one in failures} == {Unverified}
    assert all(set(one.__slots__) == {"reason"} for one in failures)
    for one in failures:
        assert vector.secret.decode() not in repr(one)
        assert not any(value and value in repr(one) for value in vector.headers.values())


def test_an_ed25519_signature_counts_for_its_own_public_key_alone() -> None:
    vector = next(one for one in VECTORS if one.name == "standard-webhooks v1a")
    private = b"whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
    scheme = SCHEMES[Verify.STANDARD_WEBHOOKS]
    made = scheme.sign(vector.body, Secret(private), vector.headers["webhook-id"], vector.now, {})
    assert made == vector.headers
    signature = vector.headers["webhook-signature"]
    as_shared = {**vector.headers, "webhook-signature": signature.replace("v1a,", "v1,")}
    assert refused(outcome(vector, replace(asked(vector), headers=as_shared)))
    assert refused(outcome(vector, asked(vector), secret=b"whsec_" + vector.secret.removeprefix(b"whpk_")))


def test_the_public_key_of_a_sender_is_no_shared_secret() -> None:
    """Otherwise whoever knows the public key could sign v1 with it."""
    vector = next(one for one in VECTORS if one.name == "standard-webhooks v1a")
    public = vector.secret
    scheme = SCHEMES[Verify.STANDARD_WEBHOOKS]
    forged = scheme.sign(vector.body, Secret(public.removeprefix(b"whpk_")), "msg_1", vector.now, {})
    assert refused(outcome(vector, SignedRequest("POST", "", forged, vector.body)))
