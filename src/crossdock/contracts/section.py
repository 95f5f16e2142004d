"""Reading one mapping of a contract: each key typed, unknown keys refused with the nearest known one."""

from __future__ import annotations

import difflib
import re
from enum import Enum
from typing import TypeVar

from crossdock.contracts.finding import Report
from crossdock.contracts.located import Located
from crossdock.model.ids import Json, JsonObject
from crossdock.model.limits import DAY_MS, HOUR_MS, KIB, MIB, MINUTE_MS, SECOND_MS

Choice = TypeVar("Choice", bound=Enum)

_DURATION = re.compile(r"P(?:(\d{1,4})W)?(?:(\d{1,4})D)?(?:T(?:(\d{1,5})H)?(?:(\d{1,6})M)?(?:(\d{1,8})S)?)?")
_UNITS_MS = (7 * DAY_MS, DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS)
_SIZE = re.compile(r"([1-9][0-9]{0,9})(B|KiB|MiB)")
_SIZES = {"B": 1, "KiB": KIB, "MiB": MIB}


def duration_ms(text: str) -> int | None:
    """An ISO 8601 duration of weeks, days, hours, minutes and seconds; None where it is none."""
    found = _DURATION.fullmatch(text)
    if found is None or text.endswith(("P", "T")):
        return None
    return sum(int(number) * unit for number, unit in zip(found.groups(), _UNITS_MS, strict=True) if number)


def size_bytes(text: str) -> int | None:
    found = _SIZE.fullmatch(text)
    return int(found.group(1)) * _SIZES[found.group(2)] if found else None


class Section:
    """A mapping being read. What is missing or wrong goes to the report as S001, and a harmless value comes back, so
    that one pass finds everything. `end()` refuses the keys that nobody asked for."""

    def __init__(self, node: Located, report: Report, name: str) -> None:
        self.node = node
        self.name = name
        self._report = report
        self._asked: dict[str, None] = {}
        if not isinstance(node.value, dict):
            self.wrong(node, f"{name} must be a mapping.", "Write `key: value` lines below it.")

    def wrong(self, node: Located, message: str, remedy: str) -> None:
        self._report.add("S001", node, message, remedy)

    def take(self, key: str, *, required: bool) -> Located | None:
        self._asked[key] = None
        found = self.node.entries.get(key)
        if found is None and required and isinstance(self.node.value, dict):
            self.wrong(self.node, f"{self.name} lacks {key}.", f"Add `{key}:`.")
        return found

    def has(self, key: str) -> bool:
        return key in self.node.entries

    def end(self) -> None:
        for key in self.node.entries:
            if key not in self._asked:
                near = difflib.get_close_matches(key, self._asked, n=1)
                remedy = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(self._asked)}."
                self.wrong(self.node.key(key), f"{self.name} has no key {key[:60]!r}.", remedy)

    def text(self, key: str, default: str | None = None, pattern: re.Pattern[str] | None = None) -> str:
        """A text that is not empty. Required where `default` is None."""
        found = self.take(key, required=default is None)
        if found is None:
            return default or ""
        if not isinstance(found.value, str) or not found.value:
            self.wrong(found, f"{key} must be a text.", "Quote it if it looks like a number or a boolean.")
            return ""
        if pattern is not None and pattern.fullmatch(found.value) is None:
            self.wrong(found, f"{key} is not of the right form.", f"It must match {pattern.pattern}")
        return found.value

    def number(self, key: str, default: int | None = None, *, low: int = 0, high: int = 2**31) -> int:
        found = self.take(key, required=default is None)
        if found is None:
            return low if default is None else default
        if not isinstance(found.value, int) or isinstance(found.value, bool) or not low <= found.value <= high:
            self.wrong(found, f"{key} must be a whole number from {low} to {high}.", "Correct it.")
            return low
        return found.value

    def flag(self, key: str, default: bool) -> bool:
        found = self.take(key, required=False)
        if found is None:
            return default
        if not isinstance(found.value, bool):
            self.wrong(found, f"{key} must be true or false.", "Only these two words are booleans.")
            return default
        return found.value

    def duration(self, key: str, default: int | None = None) -> int:
        return self._measure(key, default, "an ISO 8601 duration such as PT15S, PT5M or P7D")

    def optional_duration(self, key: str) -> int | None:
        self._asked[key] = None
        return self.duration(key) if self.has(key) else None

    def size(self, key: str, default: int | None = None) -> int:
        return self._measure(key, default, "a size such as 512B, 256KiB or 1MiB")

    def _measure(self, key: str, default: int | None, form: str) -> int:
        found = self.take(key, required=default is None)
        if found is None:
            return default or 0
        measured = None
        if isinstance(found.value, str):
            measured = size_bytes(found.value) if "size" in form else duration_ms(found.value)
        if measured is None:
            self.wrong(found, f"{key} must be {form}.", "Write it in that form.")
        return measured or 0

    def choice(self, key: str, kind: type[Choice], default: Choice | None = None) -> Choice:
        """One of an enum's values (an IntEnum's by lower-case name)."""
        known = {str(one.value) if isinstance(one.value, str) else one.name.lower(): one for one in kind}
        found = self.take(key, required=default is None)
        fallback = default if default is not None else next(iter(known.values()))
        if found is None:
            return fallback
        if not isinstance(found.value, str) or found.value not in known:
            near = difflib.get_close_matches(str(found.value), known, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known)}."
            self.wrong(found, f"{key} does not know this value.", hint)
            return fallback
        return known[found.value]

    def texts(self, key: str, *, required: bool = False) -> tuple[str, ...]:
        found = self.take(key, required=required)
        if found is None:
            return ()
        if not isinstance(found.value, list) or not all(isinstance(item.value, str) for item in found.items):
            self.wrong(found, f"{key} must be a list of texts.", "Write [one, two].")
            return ()
        return tuple(str(item.value) for item in found.items)

    def numbers(self, key: str, default: frozenset[int] = frozenset()) -> frozenset[int]:
        found = self.take(key, required=False)
        if found is None:
            return default
        values = [
            item.value for item in found.items if isinstance(item.value, int) and not isinstance(item.value, bool)
        ]
        if not isinstance(found.value, list) or len(values) != len(found.items):
            self.wrong(found, f"{key} must be a list of whole numbers.", "Write [400, 422].")
        return frozenset(values)

    def section(self, key: str) -> Section | None:
        """A mapping that may be absent."""
        found = self.take(key, required=False)
        return None if found is None else Section(found, self._report, key)

    def needed(self, key: str) -> Section:
        """A mapping that must be there; an empty one stands in where it is not."""
        found = self.take(key, required=True)
        return Section(found if found is not None else Located({}, self.node.line, self.node.column), self._report, key)

    def named(self, key: str, *, required: bool = False) -> list[tuple[str, Section]]:
        """A mapping of names to mappings."""
        found = self.take(key, required=required)
        if found is None:
            return []
        if not isinstance(found.value, dict):
            self.wrong(found, f"{key} must be a mapping.", "Write `name: {...}` lines below it.")
        return [(name, Section(node, self._report, name)) for name, node in found.entries.items()]

    def listed(self, key: str) -> list[Section]:
        """A list of mappings, at least one."""
        found = self.take(key, required=True)
        if found is not None and not found.items:
            self.wrong(found, f"{key} must be a list of at least one mapping.", "Write `- name: ...` below it.")
        return [] if found is None else [Section(node, self._report, f"{key} entry") for node in found.items]

    def words(self, key: str) -> dict[str, str]:
        """A mapping of names to texts."""
        found = self.take(key, required=False)
        if found is None:
            return {}
        if not isinstance(found.value, dict) or not all(isinstance(item.value, str) for item in found.entries.values()):
            self.wrong(found, f"{key} must map names to texts.", "Quote values that look like numbers.")
            return {}
        return {name: str(node.value) for name, node in found.entries.items()}

    def document(self, key: str, *, required: bool) -> JsonObject:
        """A mapping as it is (a JSON Schema)."""
        found = self.take(key, required=required)
        plain: Json = found.plain() if found is not None else {}
        if not isinstance(plain, dict):
            self.wrong(found or self.node, f"{key} must be a mapping.", "Write a JSON Schema below it.")
            return {}
        return plain
