"""CloudEvents 1.0 as the client sends them. Pure: time and randomness come in as arguments.

An event is a plain dict in the structured JSON form. Its id is made once, before the first try, so that every try
carries the same one and Crossdock keeps it once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from crossdock.client.exchange import Call, path
from crossdock.client.problems import InvalidEvent

JSON_EVENT = "application/cloudevents+json"
JSON_BATCH = "application/cloudevents-batch+json"
BATCH_EVENTS_MAX = 1_000  # what the server takes in one request
BATCH_BYTES_MAX = 7 * 1024 * 1024  # a little below the server's 8 MiB
_TEXT = ("id", "source", "type", "subject", "time", "dataschema", "datacontenttype")


def event_id(now_ms: int, random: bytes) -> str:
    """A UUID of version 7 (RFC 9562, 5.7): sorted by time, then random. `random` is 10 bytes."""
    stamp = (now_ms & ((1 << 48) - 1)) << 80
    rest = int.from_bytes(random[:10], "big")
    number = stamp | (7 << 76) | (((rest >> 62) & 0xFFF) << 64) | (2 << 62) | (rest & ((1 << 62) - 1))
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def completed(event: Mapping[str, Any], *, now_ms: int, random: bytes, source: str) -> dict[str, Any]:
    """The event with specversion, id, source and time filled in where they lack; InvalidEvent if it cannot be sent."""
    whole = dict(event)
    whole.setdefault("specversion", "1.0")
    whole.setdefault("id", event_id(now_ms, random))
    whole.setdefault("source", source)
    whole.setdefault("time", _stamp(now_ms))
    if "data" in whole:
        whole.setdefault("datacontenttype", "application/json")
    if whole["specversion"] != "1.0":
        raise InvalidEvent("CD7021 specversion is not 1.0.")
    for name in ("id", "source", "type"):
        if not isinstance(whole.get(name), str) or not whole[name]:
            raise InvalidEvent(f"CD7021 {name} lacks, or is not text.")
    for name in _TEXT:
        if name in whole and not isinstance(whole[name], str):
            raise InvalidEvent(f"CD7021 {name} is not text.")
    encoded(whole)
    return whole


def encoded(event: Mapping[str, Any]) -> bytes:
    """Compact JSON, UTF-8; InvalidEvent where JSON has no such value (NaN, an object of Python)."""
    try:
        return json.dumps(event, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidEvent(f"CD7021 The event is not JSON: {type(error).__name__}.") from None


def batches(events: Iterable[Mapping[str, Any]]) -> Iterator[list[bytes]]:
    """The events in order, encoded, in groups that one request may carry."""
    group: list[bytes] = []
    size = 0
    for event in events:
        raw = encoded(event)
        if group and (len(group) == BATCH_EVENTS_MAX or size + len(raw) > BATCH_BYTES_MAX):
            yield group
            group, size = [], 0
        group.append(raw)
        size += len(raw) + 1
    if group:
        yield group


@dataclass(frozen=True, slots=True)
class Receipt:
    """Crossdock has this event, durably. One that it had before gets the same receipt as the first time."""

    event_id: str
    correlation_id: str = ""


def _stamp(now_ms: int) -> str:
    seconds, rest = divmod(now_ms, 1_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def publishing(store: str, events: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Call, list[str]]]:
    """The calls that publish complete events, each with the ids that it carries. Repeatable: the ids are fixed."""
    whole = list(events)
    done = 0
    for group in batches(whole):
        ids = [str(event["id"]) for event in whole[done : done + len(group)]]
        done += len(group)
        alone = len(group) == 1
        body = group[0] if alone else b"[" + b",".join(group) + b"]"
        yield Call("POST", path("v1", "stores", store, "events"), body, JSON_EVENT if alone else JSON_BATCH), ids


def receipts_of(answer: Any, ids: list[str]) -> list[Receipt]:
    """One receipt per id, in order, from the answer to one call."""
    items = answer.get("events", [answer]) if isinstance(answer, dict) else []
    found = {str(item["event_id"]): item for item in items if isinstance(item, dict) and "event_id" in item}
    return [Receipt(name, str(found.get(name, {}).get("correlation_id", ""))) for name in ids]
