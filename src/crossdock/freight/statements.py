"""The SQL of freight, made from the one list of tables, so that what each engine reads and writes cannot fall apart.

Every name in it stands in `tables.py`; nothing comes from outside. `$1` is the store, the key's columns come after."""

from __future__ import annotations

from collections.abc import Mapping

from crossdock.freight.tables import LANES, TABLES, Column, Kind, Table

ARRIVING = {LANES.name: (Column("slot", Kind.SMALL),)}
"""Columns that PostgreSQL has beside the listed ones, and that are known when a row arrives."""


FORGET_ROWS = 2_000  # deleted in one transaction


def written(table: Table) -> tuple[Column, ...]:
    return table.columns + ARRIVING.get(table.name, ())


def reads() -> Mapping[str, str]:
    """`first_T` (store, limit), `after_T` (store, key, limit) and, where T grows, `last_T` (store, prefix)."""
    found: dict[str, str] = {}
    for table in TABLES:
        keyed = [f"${at}" for at in range(2, len(table.key) + 2)]
        found[f"first_{table.name}"] = _read(table, "", "$2")
        if table.key:
            beyond = f"AND ({', '.join(table.key)}) > ({', '.join(keyed)})"
            found[f"after_{table.name}"] = _read(table, beyond, f"${len(keyed) + 2}")
        if table.grows:
            found[f"last_{table.name}"] = _last(table)
    return found


def writes() -> Mapping[str, str]:
    """PostgreSQL's `put_T` (store, one array per column of `written`), `drop_T` (store, one array per key column) where
    rows of T may go again, and `forget_T` (store), which deletes a portion of what need not stay on record."""
    found = {f"put_{table.name}": _put(table) for table in TABLES}
    found |= {f"forget_{table.name}": _forget(table) for table in TABLES if not table.stays}
    return found | {f"drop_{table.name}": _drop(table) for table in TABLES if table.key and not table.grows}


def of_sqlite(statement: str) -> str:
    """The same for SQLite, where a row of the platform's has NULL for its store."""
    return statement.replace("store_id = $1", "store_id IS ?1").replace("$", "?")


def _read(table: Table, beyond: str, limit: str) -> str:
    order = ", ".join(table.key) or "store_id"
    parts = ("SELECT", ", ".join(table.names), "FROM", table.name, "WHERE store_id = $1", beyond)
    return " ".join((*parts, "ORDER BY", order, "LIMIT", limit))


def _last(table: Table) -> str:
    *prefix, count = table.key
    under = "".join(f" AND {name} = ${at}" for at, name in enumerate(prefix, 2))
    parts = ("SELECT", count, "FROM", table.name, f"WHERE store_id = $1{under}")
    return " ".join((*parts, "ORDER BY", ", ".join(f"{name} DESC" for name in table.key), "LIMIT 1"))


def _arrays(columns: tuple[Column, ...]) -> str:
    return ", ".join(f"${at}::{column.kind}[]" for at, column in enumerate(columns, 2))


def _put(table: Table) -> str:
    columns = written(table)
    names = ", ".join(column.name for column in columns)
    into = ("INSERT INTO", table.name, "AS t (store_id,", names, ")", "SELECT $1::text, new.*")
    conflict = ("ON CONFLICT (", ", ".join(("store_id", *table.key)), ") DO")
    then = "NOTHING" if table.grows else "UPDATE SET " + ", ".join(_replaced(table, column.name) for column in columns)
    return " ".join((*into, "FROM unnest(", _arrays(columns), ") AS new", *conflict, then))


def _replaced(table: Table, name: str) -> str:
    """A lane's epoch never goes back."""
    given = f"excluded.{name}"
    return f"{name} = " + (f"greatest(t.{name}, {given})" if (table.name, name) == ("lanes", "epoch") else given)


def _forget(table: Table) -> str:
    some = ("SELECT ctid FROM", table.name, "WHERE store_id = $1 LIMIT", str(FORGET_ROWS))
    return " ".join(("DELETE FROM", table.name, "WHERE store_id = $1 AND ctid = ANY (ARRAY (", *some, "))"))


def _drop(table: Table) -> str:
    kinds = {column.name: column for column in table.columns}
    names = ", ".join(table.key)
    asked = ("SELECT * FROM unnest(", _arrays(tuple(kinds[name] for name in table.key)), ")")
    return " ".join(("DELETE FROM", table.name, f"WHERE store_id = $1 AND ({names}) IN (", *asked, ")"))
