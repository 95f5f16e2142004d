"""The list of tables has every table and column that holds a store's data, on both engines."""

from __future__ import annotations

from pathlib import Path

import apsw
import psycopg

from crossdock.engines.sqlite.database import open_writer
from crossdock.freight.tables import BY_NAME, TABLES
from postgres import House

KEPT_BY_POSTGRES = {("lanes", "slot"), ("lanes", "unresolved"), ("tokens", "of_store")}
APART = {"journals"}


def listed() -> set[tuple[str, str]]:
    return {(table.name, name) for table in TABLES for name in table.names}


def test_every_column_of_a_store_on_postgresql_is_freight_or_kept_by_the_engine(postgres_house: House) -> None:
    with psycopg.connect(postgres_house.admin) as admin:
        rows = admin.execute(
            "SELECT c.table_name, c.column_name, c.data_type FROM information_schema.columns AS c"
            " JOIN information_schema.columns AS s USING (table_schema, table_name)"
            " WHERE c.table_schema = 'crossdock' AND s.column_name = 'store_id' AND c.column_name <> 'store_id'"
        ).fetchall()
    found = {(table, column) for table, column, _ in rows if table not in APART}
    assert found - KEPT_BY_POSTGRES == listed()
    kinds = {(table, column): kind for table, column, kind in rows}
    for table in TABLES:
        for column in table.columns:
            assert kinds[table.name, column.name] == column.kind, (table.name, column.name)


def test_every_column_of_a_store_on_sqlite_is_freight(tmp_path: Path) -> None:
    connection = open_writer(tmp_path / "one.db")
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    found = {(name, row[1]) for name in names for row in connection.execute(f"PRAGMA table_info({name})")}
    of_stores = {name for name, column in found if column == "store_id"}
    assert {(name, column) for name, column in found if name in of_stores - APART and column != "store_id"} == listed()
    keys = {name: tuple(keyed(connection, name)) for name in of_stores - APART}
    connection.close()
    for name in ("entries", "subject_keys", "conflicts", "lanes", "held", "attempts", "revisions", "credentials"):
        assert ("store_id", *BY_NAME[name].key) == keys[name]


def keyed(connection: apsw.Connection, table: str) -> list[str]:
    rows = connection.execute(f"PRAGMA table_info({table})").fetchall()
    return [row[1] for row in sorted(rows, key=lambda row: row[5]) if row[5]]


def test_no_row_comes_before_one_that_it_names(postgres_house: House) -> None:
    order = {table.name: at for at, table in enumerate(TABLES)}
    with psycopg.connect(postgres_house.admin) as admin:
        rows = admin.execute(
            "SELECT r.relname, f.relname FROM pg_constraint AS c JOIN pg_class AS r ON r.oid = c.conrelid"
            " JOIN pg_class AS f ON f.oid = c.confrelid WHERE c.contype = 'f'"
        ).fetchall()
    named = [(name, other) for name, other in rows if name in order]
    assert len(named) >= 8
    for name, other in named:
        assert order[other] < order[name], (name, other)
