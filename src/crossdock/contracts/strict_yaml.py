"""YAML, strictly: one document, no duplicate keys, no anchors, aliases or tags, and JSON's own scalars.

Only `true` and `false` are booleans, only `null` and `~` and nothing are null, only JSON numbers are numbers; all else
that is plain is text (`no`, `on`, `0o17`, `1_000`, `2026-01-01`). The tree is built from parser events without
recursion, so no text can crash it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from crossdock.contracts.finding import Report
from crossdock.contracts.located import Located, Scalar
from crossdock.model.limits import CONTRACT_BYTES_MAX

DEPTH_MAX = 32  # the format itself is 7 deep; a config schema or a case adds a few
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,3})?")
_WORDS: dict[str, Scalar] = {"true": True, "false": False, "null": None, "~": None, "": None}
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(slots=True)
class _Open:
    """A collection that has not ended. `key` is the mapping key that waits for its value."""

    node: Located
    key: Located | None = None
    twice: set[str] = field(default_factory=set)


def read_yaml(text: str, report: Report) -> Located | None:
    """The document's root, or None when there is none to go on with. What is wrong goes to `report` as Y001."""
    if len(text.encode("utf-8", "replace")) > CONTRACT_BYTES_MAX:
        report.add(
            "Y001", Located(None), f"The file is larger than {CONTRACT_BYTES_MAX} bytes.", "Split or shorten it."
        )
        return None
    builder = _Builder(report)
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if not builder.take(event):
                return None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Located(None, mark.line + 1, mark.column + 1) if mark else Located(None)
        report.add("Y001", place, f"This is not YAML: {error.problem or 'it cannot be parsed'}.", "Correct it here.")
        return None
    except (yaml.YAMLError, ValueError, OverflowError):
        # PyYAML's reader refuses control characters; its scanner passes on what chr() says of an escape beyond Unicode.
        report.add("Y001", Located(None), "The file has characters or escapes that YAML forbids.", "Remove them.")
        return None
    if builder.root is None:
        report.add("Y001", Located(None), "The file is empty.", "Write one document into it.")
    return builder.root


class _Builder:
    def __init__(self, report: Report) -> None:
        self.root: Located | None = None
        self._report = report
        self._open: list[_Open] = []
        self._documents = 0

    def take(self, event: Event) -> bool:
        """False when reading cannot usefully go on."""
        place = _place(event)
        self._strict(event, place)
        match event:
            case DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self._say(place, "A second document starts here.", "Keep one document in a file.")
                    return False
            case MappingStartEvent():
                return self._enter(Located({}, place.line, place.column))
            case SequenceStartEvent():
                return self._enter(Located([], place.line, place.column))
            case MappingEndEvent() | SequenceEndEvent():
                self._open.pop()
            case ScalarEvent():
                self._scalar(event, place)
            case AliasEvent():
                self._put(place)
            case _:
                pass
        return True

    def _strict(self, event: Event, place: Located) -> None:
        if getattr(event, "anchor", None):
            what = "alias" if isinstance(event, AliasEvent) else "anchor"
            self._say(place, f"An {what} stands here.", "Write the value out.")
        if getattr(event, "tag", None):
            self._say(place, "A tag stands here.", "Drop it: the value's form says its type.")

    def _enter(self, node: Located) -> bool:
        if self._open and isinstance(self._open[-1].node.value, dict) and self._open[-1].key is None:
            self._say(node, "A mapping or list stands as a key.", "Keys are plain text.")
            return False
        if len(self._open) >= DEPTH_MAX:
            self._say(node, f"The file nests deeper than {DEPTH_MAX}.", "Flatten it.")
            return False
        self._put(node)
        self._open.append(_Open(node))
        return True

    def _scalar(self, event: ScalarEvent, place: Located) -> None:
        if _SURROGATE.search(event.value):
            self._say(place, "Half a character (a lone surrogate) stands here.", "Write the character itself.")
        top = self._open[-1] if self._open else None
        if top is not None and isinstance(top.node.value, dict) and top.key is None:
            place.value = str(event.value)
            top.key = place
            return
        plain = event.style is None and event.implicit[0]
        place.value = self._resolve(str(event.value), place) if plain else str(event.value)
        self._put(place)

    def _resolve(self, text: str, place: Located) -> Scalar:
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            number = float(text)
            if math.isfinite(number):
                return number
            self._say(place, "This number is too large.", "Write a smaller one, or quote it as text.")
        return text

    def _put(self, node: Located) -> None:
        if not self._open:
            self.root = node
            return
        top = self._open[-1]
        if isinstance(top.node.value, list):
            top.node.value.append(node)
        elif isinstance(top.node.value, dict) and top.key is None:
            self._say(node, "An alias stands as a key.", "Write the key out.")
            top.key = Located("", node.line, node.column)
        elif isinstance(top.node.value, dict) and top.key is not None:
            name = str(top.key.value)
            if name in top.node.value:
                self._say(top.key, f"The key {name[:60]!r} stands here a second time.", "Keep one of them.")
            else:
                top.node.value[name] = node
                top.node.keys[name] = (top.key.line, top.key.column)
            top.key = None

    def _say(self, place: Located, message: str, remedy: str) -> None:
        self._report.add("Y001", place, message, remedy)


def _place(event: Event) -> Located:
    mark = event.start_mark
    return Located(None, mark.line + 1, mark.column + 1) if mark else Located(None)
