"""From what came in to what is kept: topic, payload schema, mapping, field list, event schema, split. Pure.

Problems are told by JSON pointer and keyword, never by value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from crossdock.contracts.expressions import evaluate
from crossdock.contracts.project import MISSING, minimise, split, unlisted, value_at
from crossdock.contracts.schemas import Problem, validate
from crossdock.ingest.checks import canonical
from crossdock.model.contract import EventSchema, IdempotencyRule, Route, Source
from crossdock.model.errors import Invalid
from crossdock.model.ids import ConnectionId, Json, JsonObject, RouteName
from crossdock.model.limits import DOORS_REMEMBERED_MAX, ID_CHARS_MAX
from crossdock.stores.ways import Door

_CONFIG_NAME = re.compile(r"\{config\.([A-Za-z0-9_]+)\}")


@dataclass(frozen=True, slots=True)
class Shaped:
    """`body` and `personal` are canonical JSON, ready to be sealed; `subject` names the person, '' if nobody."""

    event: EventSchema
    body: bytes
    personal: bytes | None
    subject: str


@dataclass(frozen=True, slots=True)
class Came:
    """What a sender sent, verified and parsed. Header names are lower-case."""

    headers: Mapping[str, str]
    value: Json
    message_id: str | None
    config: JsonObject


def data_of(route: Route, source: Source, came: Came, pepper: Callable[[str], str]) -> JsonObject:
    """The event's data by the route's rules: only listed fields, nothing else.

    Invalid: CD1010 payload schema, CD1011 topic, CD1012 unlisted fields, CD1025 nothing that could be mapped."""
    check_topic(source, came.headers)
    if source.payload_schema is not None:
        refuse_problems(validate(source.payload_schema, came.value))
    mapped = _mapped(route, came)
    if route.reject_unknown_fields:
        extra = unlisted(mapped, route.fields)
        if extra:
            raise Invalid(
                "CD1012",
                "It holds fields that the contract does not list.",
                remedy="Send listed fields only.",
                facts={"pointers": list(extra)},
            )
    return minimise(mapped, route.fields, pepper)


def shape(event: EventSchema, data: JsonObject, at: str = "") -> Shaped:
    """The data against its event's schema, split by its classes; Invalid (CD1010), its pointers starting with `at`."""
    refuse_problems(validate(event.document, data), at)
    body, personal = split(data, event.classes)
    return Shaped(event, canonical(body), canonical(personal) if personal else None, subject_of(event, data))


def check_topic(source: Source, headers: Mapping[str, str]) -> None:
    """Invalid (CD1011) where the contract lists topics and this is none of them."""
    if source.topic_header and headers.get(source.topic_header.lower(), "") not in source.topics:
        raise Invalid(
            "CD1011",
            "The contract does not list this topic.",
            where=f"header {source.topic_header}",
            remedy="Subscribe only to the topics that the contract lists.",
        )


def subject_of(event: EventSchema, data: JsonObject) -> str:
    """The first of the schema's subject pointers that leads to text or a number."""
    for pointer in event.subject:
        found = value_at(data, pointer)
        if isinstance(found, str | int) and not isinstance(found, bool) and found != "":
            return str(found)
    return ""


def dedupe_parts(rule: IdempotencyRule, route: Route, came: Came, body: bytes) -> list[str | bytes]:
    """What makes this message the same as an earlier one. Without an id from the sender, its bytes are its identity.

    Invalid (CD1013) where the contract names a header or a field that is not there."""
    parts: list[str | bytes] = []
    for name in rule.sources:
        if name == "event.id":
            parts.append(came.message_id or body)
        elif name == "route.name":
            parts.append(route.name)
        else:
            parts.append(_named(name, came))
    return parts


class Knobs:
    """The knobs of each door, filled in once for each revision."""

    def __init__(self) -> None:
        self._filled: dict[tuple[ConnectionId, RouteName, int], Mapping[str, str]] = {}

    def of(self, door: Door, source: Source) -> Mapping[str, str]:
        place = door.connection, door.route.name, door.revision
        found = self._filled.get(place)
        if found is None:
            found = knobs_of(source, door.config)
            if len(self._filled) >= DOORS_REMEMBERED_MAX:
                self._filled.clear()
            self._filled[place] = found
        return found


def knobs_of(source: Source, config: JsonObject) -> Mapping[str, str]:
    """The scheme's knobs with {config.name} filled in."""
    if not any("{config." in value for value in source.knobs.values()):
        return source.knobs
    return {name: _CONFIG_NAME.sub(lambda at: _plain(config.get(at[1])), value) for name, value in source.knobs.items()}


def _plain(value: Json) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def refuse_problems(problems: Sequence[Problem], at: str = "") -> None:
    """Invalid (CD1010) if there is any."""
    if problems:
        raise Invalid(
            "CD1010",
            "It is not as its schema says.",
            where=at + problems[0].pointer,
            remedy="Mend what the pointers name.",
            facts={
                "pointers": [at + problem.pointer for problem in problems],
                "rules": [problem.rule for problem in problems],
            },
        )


def _named(name: str, came: Came) -> str:
    found: object = MISSING
    if name.startswith("header."):
        found = came.headers.get(name[7:].lower(), MISSING)
    elif name.startswith("/"):
        found = value_at(came.value, name)
    text = str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""
    if not 1 <= len(text) <= ID_CHARS_MAX:
        raise Invalid(
            "CD1013",
            f"It lacks what tells it from another: text or a whole number of 1 to {ID_CHARS_MAX} characters.",
            where=name,
            remedy="Send it, so that a repeat can be known as one.",
        )
    return text


def _mapped(route: Route, came: Came) -> JsonObject:
    value = came.value
    if route.mapping is not None:
        value = _evaluated(route.mapping, {"data": value, "config": came.config, "event": {"type": route.event.type}})
    if not isinstance(value, dict):
        raise Invalid("CD1025", "No event can be made of it: it does not map to an object.")
    return value


def _evaluated(mapping: str, document: JsonObject) -> Json:
    try:
        return evaluate(mapping, document)
    except Invalid as error:
        raise Invalid("CD1025", "No event can be made of it: the mapping meets a value that it cannot take.") from error
