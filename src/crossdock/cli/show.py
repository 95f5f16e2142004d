"""How answers look to a person: tables and short lists. Each keeps its data for `--json`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

STATE_STYLES = {
    "enabled": "green",
    "validated": "cyan",
    "paused": "yellow",
    "disabled": "dim",
    "parked": "red",
    "retrying": "yellow",
    "accepted": "green",
    "delivered": "green",
}
Column = str | Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True)
class Shown:
    """`data` is the answer for programs, `parts` the same for a person. `failed` makes the exit code 1."""

    data: Any
    parts: tuple[RenderableType, ...]
    failed: bool = False


def lines(data: Any, *text: str, failed: bool = False) -> Shown:
    return Shown(data, text, failed)


def table(
    data: Any, rows: Iterable[Mapping[str, Any]], columns: Mapping[str, Column], *, empty: str, failed: bool = False
) -> Shown:
    """A row per item; `columns` gives the heading and where its value is."""
    listed = list(rows)
    if not listed:
        return Shown(data, (empty,), failed)
    drawn = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    for heading in columns:
        drawn.add_column(heading, overflow="fold", justify="right" if heading in NUMBERS else "left")
    for row in listed:
        drawn.add_row(*(cell(value_of(row, column)) for column in columns.values()))
    return Shown(data, (drawn,), failed)


NUMBERS = frozenset(
    {
        *("Position", "Attempts", "Attempt", "Revision", "Took", "Version", "Accepted", "Replayed", "Delivered"),
        *("Waiting", "Parked", "Superseded", "Filtered", "Expired", "Erased"),
    }
)
"""Headings of columns of numbers."""


def details(data: Mapping[str, Any], fields: Mapping[str, Column] | None = None) -> Shown:
    """A name and a value per line."""
    chosen = fields or {name.replace("_", " ").capitalize(): _column(name) for name in data}
    drawn = Table.grid(padding=(0, 2))
    for heading, column in chosen.items():
        value = value_of(data, column)
        if value not in (None, "", [], {}):
            drawn.add_row(Text(heading, style="bold"), cell(value))
    return Shown(dict(data), (drawn,))


def _column(name: str) -> Column:
    return moment(name) if name == "at" or name.endswith("_at") else name


def value_of(row: Mapping[str, Any], column: Column) -> Any:
    return row.get(column) if isinstance(column, str) else column(row)


def cell(value: Any) -> Text:
    """Text as it is: nothing from a server is read as markup."""
    if value is None:
        return Text("")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, Mapping):
        return Text(", ".join(f"{name}={plain(item)}" for name, item in value.items()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return Text("\n".join(plain(item) for item in value))
    text = plain(value)
    return Text(text, style=STATE_STYLES.get(text, ""))


def plain(value: Any) -> str:
    """One line, without control characters: a server's text cannot move the cursor."""
    if isinstance(value, Mapping):
        value = " ".join(str(item) for item in value.values() if item not in (None, ""))
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in str(value))


def moment(name: str) -> Callable[[Mapping[str, Any]], str]:
    """A time of the answer, as ms since 1970 or RFC 3339, in UTC to the second."""

    def read(row: Mapping[str, Any]) -> str:
        value = row.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return f"{datetime.fromtimestamp(value / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"
        return str(value or "")

    return read


def items_of(answer: Any, *names: str) -> list[dict[str, Any]]:
    """The list in an answer: itself, or under one of `names`."""
    if isinstance(answer, list):
        return answer
    return next((answer[name] for name in (*names, "items") if isinstance(answer.get(name), list)), [])
