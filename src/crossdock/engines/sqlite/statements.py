"""The SQL of the embedded engine: `queries.sql` by name, the schema and its migrations, as package data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, TypeAlias

import apsw

SqlValue: TypeAlias = "None | int | str | bytes"
Row: TypeAlias = "tuple[SqlValue, ...]"

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_VALUES = re.compile(r"VALUES (\([?, ]+\))")
_CHUNKS = (256, 64, 16, 4, 1)


def text(name: str) -> str:
    """A file of this package."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


@cache
def _queries() -> dict[str, str]:
    parts = _NAME.split(text("queries.sql"))
    return {name: body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def query(name: str) -> str:
    return _queries()[name]


@cache
def _widened(name: str, rows: int) -> str:
    return _VALUES.sub(lambda found: "VALUES " + ", ".join([found[1]] * rows), query(name), count=1)


def rows_of(connection: apsw.Connection, name: str, values: Sequence[SqlValue]) -> list[tuple[Any, ...]]:
    """Every row that the query returns."""
    return connection.execute(query(name), values).fetchall()


def run_many(connection: apsw.Connection, name: str, rows: Sequence[Row]) -> Iterator[Row]:
    """Runs a query whose `VALUES (?, ...)` takes one row with many rows at once, and yields what it returns.

    One call into SQLite takes up to 256 rows: each call gives up the interpreter lock, and under a busy event loop it
    takes long to get it back. The widths are few, so that each stays prepared."""
    done = 0
    for width in _CHUNKS:
        while len(rows) - done >= width:
            bindings = [value for row in rows[done : done + width] for value in row]
            yield from connection.execute(_widened(name, width), bindings)
            done += width


def write_many(connection: apsw.Connection, name: str, rows: Sequence[Row]) -> None:
    for _ in run_many(connection, name, rows):
        pass
