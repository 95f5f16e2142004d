"""Event schemas: JSON Schema 2020-12 with a data class per field (`x-class`) and the data subject (`x-subject`)."""

from __future__ import annotations

import json
import re

from crossdock.contracts.pointers import EACH, escape
from crossdock.contracts.schemas import compiled
from crossdock.model.contract import DataClass, EventSchema
from crossdock.model.errors import Invalid
from crossdock.model.ids import Json, JsonObject

SCHEMA_FILE = re.compile(r"schemas/([a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+)@([1-9][0-9]{0,3})\.json")
EVENT_TYPE = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+")
DEPTH_MAX = 16
BANNED = {"$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "patternProperties", "prefixItems"}


def _wrong(message: str, pointer: str) -> Invalid:
    return Invalid("CD2009", message, where=pointer or "/", remedy="Correct the event schema.")


def event_schema(file: str, text: str) -> EventSchema:
    """The schema in `schemas/<type>@<major>.json`; Invalid (CD2001, CD2009) where it cannot serve as one.

    Every object is closed, every leaf has a class, and only `properties` and `items` nest: so a class can be told for
    each pointer that an event may have.
    """
    named = SCHEMA_FILE.fullmatch(file)
    if named is None:
        raise _wrong("An event schema's file is named schemas/<type>@<major>.json.", "")
    try:
        document: Json = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong("The event schema is not JSON.", "") from error
    if not isinstance(document, dict) or document.get("type") != "object":
        raise _wrong("The event schema does not describe an object.", "")
    compiled(document)
    classes: dict[str, DataClass] = {}
    _walk(document, "", classes, 0)
    return EventSchema(named.group(1), int(named.group(2)), document, classes, _subject(document, classes))


def _walk(node: JsonObject, pointer: str, classes: dict[str, DataClass], depth: int) -> None:
    _plain(node, pointer, depth)
    if "x-class" in node:
        classes[pointer] = _class(node["x-class"], pointer)
    properties, items = node.get("properties"), node.get("items")
    if isinstance(properties, dict):
        if node.get("additionalProperties") is not False:
            raise _wrong("An object of the event schema is open: set additionalProperties to false.", pointer)
        for name, inner in properties.items():
            _walk(_object(inner, pointer), f"{pointer}/{escape(name)}", classes, depth + 1)
    elif isinstance(items, dict):
        _walk(items, f"{pointer}/{EACH}", classes, depth + 1)
    elif not any(pointer.startswith(above) and above for above in classes):
        raise _wrong("A field of the event schema has no x-class, and nothing above it has one.", pointer)


def _plain(node: JsonObject, pointer: str, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise _wrong(f"The event schema nests deeper than {DEPTH_MAX}.", pointer)
    banned = BANNED & node.keys()
    if banned:
        raise _wrong(f"The event schema uses {min(banned)}; only properties and items nest.", pointer)


def _object(node: Json, pointer: str) -> JsonObject:
    if not isinstance(node, dict):
        raise _wrong("A property of the event schema is not an object.", pointer)
    return node


def _class(value: Json, pointer: str) -> DataClass:
    known = {one.name.lower(): one for one in DataClass}
    if not isinstance(value, str) or value not in known:
        raise _wrong(f"x-class is one of {', '.join(known)}.", pointer)
    if not pointer:
        raise _wrong("A whole event has no class: its fields have.", pointer)
    return known[value]


def _subject(document: JsonObject, classes: dict[str, DataClass]) -> tuple[str, ...]:
    subject = document.get("x-subject", [])
    if not isinstance(subject, list) or not all(isinstance(one, str) for one in subject):
        raise _wrong("x-subject is a list of JSON pointers.", "/x-subject")
    pointers = tuple(str(one) for one in subject)
    for pointer in pointers:
        if class_of(classes, pointer) is None:
            raise _wrong("x-subject names a field that the schema has not.", pointer)
    if not pointers and any(one.personal for one in classes.values()):
        raise _wrong("The event schema has personal fields and names no data subject (x-subject).", "/x-subject")
    return pointers


def class_of(classes: dict[str, DataClass] | EventSchema, pointer: str) -> DataClass | None:
    """The highest class at, beneath or, where nothing is said there, above `pointer`; None where nothing is classed."""
    table = classes.classes if isinstance(classes, EventSchema) else classes
    beneath = [one for at, one in table.items() if at == pointer or at.startswith(pointer + "/")]
    above = [one for at, one in table.items() if at and pointer.startswith(at + "/")]
    personal_above = [one for one in above if one.personal]
    found = (beneath or above) + personal_above
    return max(found) if found else None


def has_pointer(schema: EventSchema, pointer: str) -> bool:
    """Whether events of this schema may have something at `pointer` (a pattern with `*` for array items)."""
    node: Json = schema.document
    for raw in pointer.split("/")[1:]:
        token = raw.replace("~1", "/").replace("~0", "~")
        properties = node.get("properties") if isinstance(node, dict) else None
        if token == EACH and isinstance(node, dict) and isinstance(node.get("items"), dict):
            node = node["items"]
        elif isinstance(properties, dict) and token in properties:
            node = properties[token]
        else:
            return False
    return pointer.startswith("/")
