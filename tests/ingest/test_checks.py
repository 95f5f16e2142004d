"""Strict JSON: any bytes are read exactly or refused with a typed error; the cheap bounds prove the limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.ingest import checks
from crossdock.ingest.checks import canonical, items_of, lines_of, object_of, value_of
from crossdock.model.errors import BadRequest, Invalid, Refused
from crossdock.model.limits import (
    BATCH_EVENTS_MAX,
    JSON_DEPTH_MAX,
    JSON_KEYS_MAX,
    JSON_NUMBER_DIGITS_MAX,
    JSON_STRING_BYTES_MAX,
)

SAMPLES = Path(__file__).resolve().parents[2].parent / "shared" / "samples"
TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**60), 10**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=30,
)
HOSTILE = st.text('[]{}:,"\\u0039aAdDeE.-+ \n', max_size=200).map(str.encode)


@given(st.binary(max_size=300) | HOSTILE)
def test_arbitrary_bytes_are_read_or_refused(raw: bytes) -> None:
    codes: set[str] = set()
    for take in (value_of, object_of, items_of, lines_of):
        try:
            take(raw)
        except Refused as refusal:
            codes.add(refusal.code)
    assert codes <= {"CD1003", "CD1004", "CD1005", "CD1006", "CD1018"}


@given(VALUES, st.booleans(), st.sampled_from([None, 2]))
def test_what_is_json_comes_back_as_it_was(value: Any, ascii_only: bool, indent: int | None) -> None:
    raw = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    assert value_of(raw) == value
    assert value_of(canonical(value)) == value


@given(HOSTILE)
def test_what_is_read_is_read_alike_by_another_parser(raw: bytes) -> None:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs), "a key came twice"
        return dict(pairs)

    try:
        value = value_of(raw)
    except Refused:
        return
    assert json.loads(raw, object_pairs_hook=once) == value


@given(st.dictionaries(TEXT, VALUES, min_size=1, max_size=4), st.data())
def test_a_key_that_comes_twice_is_always_seen(value: dict[str, Any], data: st.DataObject) -> None:
    """Also when colons are hidden in escapes or stand in strings."""
    twice = data.draw(st.sampled_from(sorted(value)))
    inner = [f"{json.dumps(key)}:{json.dumps(one)}" for key, one in value.items()]
    hidden = data.draw(st.sampled_from(['"\\u003a\\u003A:"', '":::"', "1", '{"a":":"}']))
    raw = "{" + ",".join([*inner, f"{json.dumps(twice)}:{hidden}"]) + "}"
    with pytest.raises(Invalid, match="CD1005"):
        value_of(raw.encode())


@pytest.mark.parametrize(
    ("within", "beyond"),
    [
        (b"[" * JSON_DEPTH_MAX + b"]" * JSON_DEPTH_MAX, b"[" * (JSON_DEPTH_MAX + 1) + b"]" * (JSON_DEPTH_MAX + 1)),
        (b'{"a":' * 64 + b"1" + b"}" * 64, b'{"a":' * 65 + b"1" + b"}" * 65),
        (b'["' + b"[" * 500 + b'"]', b'["]]]]",' * 65 + b'"[[[["' + b"]" * 65),
        (b"1" * JSON_NUMBER_DIGITS_MAX, b"1" * (JSON_NUMBER_DIGITS_MAX + 1)),
        (b'"' + b"1" * 400 + b'"', b"0." + b"1" * JSON_NUMBER_DIGITS_MAX),
        (b"[0." + b"1" * 31 + b"," + b"1" * 60 + b"]", b"1" * 30 + b"." + b"1" * 30 + b"e-10000"),
        (
            json.dumps({str(key): 0 for key in range(JSON_KEYS_MAX)}).encode(),
            json.dumps({str(key): 0 for key in range(JSON_KEYS_MAX + 1)}).encode(),
        ),
        (
            json.dumps({"k": ":" * (JSON_KEYS_MAX + 5)}).encode(),
            json.dumps([{"k": ":"}] * (JSON_KEYS_MAX + 1)).encode(),
        ),
        (
            b'"' + b"x" * JSON_STRING_BYTES_MAX + b'"',
            b'"' + b"x" * (JSON_STRING_BYTES_MAX + 1) + b'"',
        ),
        (b'["a"]', b"1e999"),
        (b'{"n":"\\\\u0000"}', b"[" * 100_000),
    ],
)
def test_a_limit_holds_exactly(within: bytes, beyond: bytes) -> None:
    value_of(within)
    with pytest.raises(Invalid, match="CD1004"):
        value_of(beyond)


@pytest.mark.parametrize(
    "raw", [b"NaN", b"Infinity", b"-Infinity", b"", b"\xef\xbb\xbf{}", b'"\xff"', b"{} {}", b"[1,]"]
)
def test_what_only_some_parsers_take_is_refused(raw: bytes) -> None:
    with pytest.raises(BadRequest, match="CD1003"):
        value_of(raw)


@pytest.mark.parametrize(
    "raw", [b'"\\u0000"', b'{"\\u0000":1}', b'["\\ud800"]', b'"\\udfff x"', b'"\\uDC00\\uD800"', b'"\\ud83d \\ude00"']
)
def test_nul_and_half_a_pair_are_refused(raw: bytes) -> None:
    with pytest.raises(Invalid, match="CD1006"):
        value_of(raw)


def test_large_integers_stay_exact() -> None:
    assert value_of(b'{"n": 18446744073709551617, "m": 123456789012345678901234567890}') == {
        "n": 2**64 + 1,
        "m": 123456789012345678901234567890,
    }


def test_a_batch_has_its_bounds() -> None:
    assert items_of(b'[{"a": 1}, 2 ,"x"]') == [b'{"a": 1}', b"2", b'"x"']
    assert lines_of(b"1\r\n\n 2\n") == [b"1\r", b" 2"]
    for raw in (b"[]", b"[" + b"1," * BATCH_EVENTS_MAX + b"1]"):
        with pytest.raises(Invalid, match="CD1018"):
            items_of(raw)


def test_an_ordinary_body_is_proved_by_the_cheap_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    def close_look(*_: object) -> None:
        raise AssertionError("the detailed look ran")

    monkeypatch.setattr(checks, "_look_closely", close_look)
    value_of(json.dumps({"order_id": "1001", "at": "2026-05-01T10:00:00Z", "lines": [{"sku": "A"}] * 20}).encode())


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the folder of real samples is not here")
def test_real_payloads_are_within_every_limit() -> None:
    found = [path for path in sorted(SAMPLES.rglob("*.json")) if path.stat().st_size < 1 << 20]
    for path in found:
        value_of(path.read_bytes())
