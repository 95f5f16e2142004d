"""CloudEvents 1.0.2 from the core: structured, binary, batch and NDJSON, all to the same `CoreEvent`. Pure.

Data is a JSON object; `dataschema` picks the major version by its ending (`.../order.placed@3`, `@3`), else the newest.
Of the extensions, `crossdockcause` (the connection that caused the event) and `crossdockhops` (how many systems it
passed), and `traceparent` are kept; others are allowed and not kept, since no contract lists them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import unquote

from crossdock.ingest.checks import canonical, items_of, lines_of, object_of
from crossdock.model.errors import BadRequest, Invalid, WrongMedia
from crossdock.model.ids import CONNECTION_ID, ConnectionId, EventId, Instant, Json, JsonObject
from crossdock.model.limits import ID_CHARS_MAX

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
NDJSON = "application/x-ndjson"
JSON = "application/json"
BULK = frozenset({BATCH, NDJSON})

HOPS_MAX = 255
_NAME = re.compile(r"[a-z0-9]{1,64}")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,12}))?([Zz]|[+-]\d\d:\d\d)")
_MAJOR = re.compile(r"(?:.*[/:])?([A-Za-z0-9_.-]*)@(\d{1,9})(?:\.json)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TRACE = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


@dataclass(frozen=True, slots=True)
class CoreEvent:
    """`major` None means the newest. `spelling` is the one spelling of what was sent, for the fingerprint."""

    id: EventId
    source: str
    type: str
    major: int | None
    time: Instant | None
    data: JsonObject
    traceparent: str | None
    caused_by: ConnectionId | None
    hops: int
    spelling: bytes


def events_of(media: str, headers: Mapping[str, str], body: bytes) -> list[CoreEvent]:
    """The events of a request; `media` is its content type in lower case without parameters, header names are
    lower-case. WrongMedia (CD1008), Invalid (CD1014, CD1018), and what `checks` raises. Of a batch the pointer starts
    with the event's index."""
    if media == STRUCTURED:
        return [_event(object_of(body), "")]
    if media == BATCH:
        return [_at(index, item) for index, item in enumerate(items_of(body))]
    if media == NDJSON:
        return [_at(index, line) for index, line in enumerate(lines_of(body))]
    if media == JSON and "ce-specversion" in headers:
        return [_event(_binary(headers, body), "")]
    raise WrongMedia(
        "CD1008",
        "This is not a CloudEvents request.",
        where="content-type",
        remedy=f"Send {STRUCTURED}, {BATCH}, {NDJSON}, or {JSON} with ce-* headers.",
    )


def trace_of(text: Json) -> str | None:
    """A valid W3C traceparent as it is, None for anything else: the specification says to start anew then."""
    return text if isinstance(text, str) and _TRACE.fullmatch(text) else None


def instant_of(text: str) -> Instant | None:
    """RFC 3339 to milliseconds since the epoch; None for what is not one (a leap second included)."""
    form = _TIME.fullmatch(text)
    if form is None:
        return None
    zone = "+00:00" if form[4] in "Zz" else form[4]
    try:
        at = datetime.fromisoformat(f"{form[1]}T{form[2]}{zone}")
        seconds = (at - _EPOCH) // timedelta(seconds=1)
    except (ValueError, OverflowError):
        return None
    return Instant(seconds * 1_000 + int((form[3] or "0")[:3].ljust(3, "0")))


def _at(index: int, raw: bytes) -> CoreEvent:
    try:
        return _event(object_of(raw), f"/{index}")
    except (Invalid, BadRequest) as error:
        if error.where.startswith(f"/{index}"):
            raise
        raise type(error)(error.code, error.message, where=f"/{index}", remedy=error.remedy) from None


def _binary(headers: Mapping[str, str], body: bytes) -> JsonObject:
    """The structured form of a binary request (CloudEvents HTTP binding 3.1: values are percent-encoded)."""
    event: JsonObject = {
        name[3:]: unquote(text, errors="replace") for name, text in headers.items() if name.startswith("ce-")
    }
    event["data"] = object_of(body)
    if "traceparent" in headers:
        event.setdefault("traceparent", headers["traceparent"])
    return event


def _event(event: JsonObject, at: str) -> CoreEvent:
    if event.get("specversion") != "1.0":
        raise _wrong(at, "specversion", "must be 1.0")
    for name in event:
        if name not in ("data", "data_base64") and _NAME.fullmatch(name) is None:
            raise _wrong(at, "", "has an attribute whose name is not lower-case letters and digits")
    media = event.get("datacontenttype", JSON)
    if not isinstance(media, str) or media.partition(";")[0].strip().lower() != JSON:
        raise _wrong(at, "datacontenttype", f"must be {JSON}")
    data = event.get("data")
    if not isinstance(data, dict):
        raise _wrong(at, "data", "must be a JSON object")
    name, source, kind = _text(event, "id", at), _text(event, "source", at), _text(event, "type", at)
    return CoreEvent(
        id=EventId(name),
        source=source,
        type=kind,
        major=_major(event, kind, at),
        time=_time(event, at),
        data=data,
        traceparent=trace_of(event.get("traceparent")),
        caused_by=_cause(event, at),
        hops=_hops(event, at),
        spelling=canonical([name, source, kind, event.get("dataschema"), event.get("subject"), data]),
    )


def _text(event: JsonObject, name: str, at: str) -> str:
    value = event.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= ID_CHARS_MAX or _CONTROL.search(value):
        raise _wrong(at, name, f"must be text of 1 to {ID_CHARS_MAX} characters, none of them a control character")
    return value


def _major(event: JsonObject, kind: str, at: str) -> int | None:
    schema = event.get("dataschema")
    if schema is None:
        return None
    form = _MAJOR.fullmatch(schema) if isinstance(schema, str) and len(schema) <= 8 * ID_CHARS_MAX else None
    if form is None or form[1] not in ("", kind):
        raise _wrong(at, "dataschema", "must end in the event's type and major version, as in order.placed@3")
    return int(form[2])


def _time(event: JsonObject, at: str) -> Instant | None:
    text = event.get("time")
    if text is None:
        return None
    time = instant_of(text) if isinstance(text, str) else None
    if time is None:
        raise _wrong(at, "time", "must be a time as RFC 3339 has it")
    return time


def _cause(event: JsonObject, at: str) -> ConnectionId | None:
    cause = event.get("crossdockcause")
    if cause is None:
        return None
    if not isinstance(cause, str) or CONNECTION_ID.fullmatch(cause) is None:
        raise _wrong(at, "crossdockcause", "must be a connection id")
    return ConnectionId(cause)


def _hops(event: JsonObject, at: str) -> int:
    hops = event.get("crossdockhops", 0)
    if isinstance(hops, str) and hops.isascii() and hops.isdigit() and len(hops) <= 3:
        hops = int(hops)
    if not isinstance(hops, int) or isinstance(hops, bool) or not 0 <= hops <= HOPS_MAX:
        raise _wrong(at, "crossdockhops", f"must be a whole number from 0 to {HOPS_MAX}")
    return hops


def _wrong(at: str, name: str, rule: str) -> Invalid:
    subject = f"The attribute {name}" if name else "The event"
    pointer = f"{at}/{name}" if name else at
    return Invalid(
        "CD1014",
        f"{subject} {rule}.",
        where=pointer,
        remedy="See CloudEvents 1.0.2 and the page of this code.",
        facts={"pointers": [pointer]},
    )
