"""Strict JSON: bytes that any two parsers read alike, within bounds, or a refusal. Pure.

The parser is msgspec's. What it lets through and we do not: duplicate keys (it keeps the last one, another parser the
first, so what was signed and what is read may differ; refused from providers as from the core: none of the published
webhook samples has one), NUL, and documents beyond the limits. Integers of any size stay exact.

An ordinary body costs one parse, one encode and a few counts in C. Only where these cheap bounds do not already prove
that the limits hold, the text outside strings is looked at in detail.
"""

from __future__ import annotations

import re

import msgspec

from crossdock.model.errors import BadRequest, Invalid
from crossdock.model.ids import Json, JsonObject
from crossdock.model.limits import (
    BATCH_EVENTS_MAX,
    JSON_DEPTH_MAX,
    JSON_KEYS_MAX,
    JSON_NUMBER_DIGITS_MAX,
    JSON_STRING_BYTES_MAX,
)

_decode = msgspec.json.Decoder().decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_DIGITS_AS_ZERO = bytes.maketrans(b"123456789", b"000000000")
_TOO_MANY_DIGITS = b"0" * (JSON_NUMBER_DIGITS_MAX + 1)
_NUMBER_MARKS = re.compile(rb"(?<=0)[.eE][+-]?(?=0)")
_AS_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def value_of(raw: bytes) -> Json:
    """The value; BadRequest (CD1003) for what is not JSON, Invalid for a limit (CD1004), a duplicate key (CD1005), a
    NUL or a lone surrogate (CD1006)."""
    value = _parsed(raw)
    encoded = _encode(value)
    if not _plain(raw, encoded):
        _look_closely(raw, encoded)
        if b"\\u0000" in raw or len(raw) > JSON_STRING_BYTES_MAX:
            _check_texts(value)
    return value


def object_of(raw: bytes) -> JsonObject:
    """As `value_of`, and it must be an object (BadRequest CD1003)."""
    value = value_of(raw)
    if not isinstance(value, dict):
        raise malformed("The body is not a JSON object.")
    return value


def items_of(raw: bytes) -> list[bytes]:
    """The elements of a JSON array, each as it came, so that the limits hold for each. Nothing in them is checked yet.

    BadRequest (CD1003) unless it is an array, Invalid (CD1018) unless it has 1 to BATCH_EVENTS_MAX elements."""
    try:
        items = [bytes(item) for item in _decode_items(raw)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise malformed("The body is not a JSON array.") from None
    return _counted(items)


def lines_of(raw: bytes) -> list[bytes]:
    """The lines of NDJSON, empty ones left out; Invalid (CD1018) unless there are 1 to BATCH_EVENTS_MAX."""
    return _counted([line for line in raw.split(b"\n") if line.strip()])


def canonical(value: Json) -> bytes:
    """One spelling per value: compact, keys sorted."""
    return _encode_sorted(value)


def malformed(message: str) -> BadRequest:
    return BadRequest("CD1003", message, remedy="Send one JSON text in UTF-8 (RFC 8259), without a byte order mark.")


def _counted(items: list[bytes]) -> list[bytes]:
    if not 1 <= len(items) <= BATCH_EVENTS_MAX:
        raise Invalid(
            "CD1018",
            f"A batch holds 1 to {BATCH_EVENTS_MAX} events; this one has {len(items)}.",
            remedy="Send several batches.",
        )
    return items


def _parsed(raw: bytes) -> Json:
    try:
        value: Json = _decode(raw)
    except RecursionError:
        raise _beyond(f"It is nested more than {JSON_DEPTH_MAX} deep.") from None
    except msgspec.ValidationError:  # a number that no 64-bit float or exact integer can hold
        raise _beyond("A number is too large.") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        if _SURROGATE.search(raw):
            _check_surrogates(raw)
        raise malformed("The body is not JSON.") from None
    return value


def _plain(raw: bytes, encoded: bytes) -> bool:
    """True when cheap counts prove every limit: each bound is on the whole text, strings included, so it can only be
    too careful. As many colons after a round trip as before it means that no key was lost, unless an escape hides one.
    """
    return (
        len(raw) <= JSON_STRING_BYTES_MAX
        and raw.count(b"{") + raw.count(b"[") <= JSON_DEPTH_MAX
        and raw.count(b":") <= JSON_KEYS_MAX
        and raw.count(b":") == encoded.count(b":")
        and b"\\u00" not in raw
        and _TOO_MANY_DIGITS not in _digits(raw)
    )


def _digits(raw: bytes) -> bytes:
    """Every digit as 0. A fraction and an exponent belong to the number: 0.00 is three digits."""
    zeroed = raw.translate(_DIGITS_AS_ZERO)
    return _NUMBER_MARKS.sub(b"", zeroed) if b"0" * (JSON_NUMBER_DIGITS_MAX // 3) in zeroed else zeroed


def _look_closely(raw: bytes, encoded: bytes) -> None:
    """The same bounds, exactly: outside strings. Linear in the text."""
    bare = _STRING.sub(b'""', raw)
    keys = bare.count(b":")
    if keys > JSON_KEYS_MAX:
        raise _beyond(f"It has more than {JSON_KEYS_MAX} keys.")
    if _depth_exceeds(bare):
        raise _beyond(f"It is nested more than {JSON_DEPTH_MAX} deep.")
    if _TOO_MANY_DIGITS in _digits(bare):
        raise _beyond(f"A number has more than {JSON_NUMBER_DIGITS_MAX} digits.")
    if keys != _STRING.sub(b'""', encoded).count(b":"):
        raise Invalid("CD1005", "An object names a key twice.", remedy="Name each key once.")


def _depth_exceeds(bare: bytes) -> bool:
    """Whether brackets nest deeper than the limit: each round takes the innermost pairs away."""
    brackets = bare.translate(_AS_BRACKETS, _NOT_BRACKETS)
    for _ in range(JSON_DEPTH_MAX):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def _check_texts(value: Json) -> None:
    """Every string and key. The depth is bounded by now."""
    if isinstance(value, str):
        if "\0" in value:
            raise Invalid("CD1006", "A string holds a NUL character.", remedy="Leave it out.")
        if len(value) > JSON_STRING_BYTES_MAX // 4 and len(value.encode()) > JSON_STRING_BYTES_MAX:
            raise _beyond(f"A string is longer than {JSON_STRING_BYTES_MAX} bytes.")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check_texts(key)
            _check_texts(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_texts(inner)


def _check_surrogates(raw: bytes) -> None:
    """Refuses a text that would be JSON but for a lone surrogate with its own code: its sender's strings are cut."""
    mended = _SURROGATE.sub(rb"\\u00", raw)
    try:
        _decode(mended)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    raise Invalid(
        "CD1006", "A string holds half of a surrogate pair.", remedy="Cut strings between characters, not inside one."
    )


def _beyond(message: str) -> Invalid:
    return Invalid("CD1004", message, remedy="Send less, or send it in parts.")
