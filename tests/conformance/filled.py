"""A database whose rows can be brought back to what they were, so that many examples share one that was filled once."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from crossdock.engines.postgres.walls import SCHEMAS
from postgres import House

TABLES = """
SELECT n.nspname || '.' || c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'store_id'
WHERE n.nspname = ANY (%s) AND c.relkind IN ('r', 'p') ORDER BY 1
"""
COLUMNS = """
SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
"""


@dataclass(frozen=True)
class Filled:
    """`tables` are those that hold a store's data, with their schemas; `reset` brings every row back."""

    house: House
    tables: tuple[str, ...]
    reset: str

    def rows(self, store: str) -> dict[str, list[str]]:
        """Every row of a store, as text, by table."""
        with psycopg.connect(self.house.admin) as admin:
            return {table: [row[0] for row in admin.execute(self._dump(table), (store,))] for table in self.tables}

    @staticmethod
    def _dump(table: str) -> str:
        return f"SELECT t::text FROM {table} AS t WHERE store_id = %s ORDER BY 1"

    def restore(self) -> None:
        with psycopg.connect(self.house.admin) as admin:
            admin.execute(self.reset)


def kept(house: House) -> Filled:
    """As the house is now: every row is copied away."""
    with psycopg.connect(house.admin) as admin:
        tables = tuple(str(row[0]) for row in admin.execute(TABLES, (list(SCHEMAS),)))
        admin.execute("CREATE SCHEMA aside")
        back = ["SET LOCAL session_replication_role = replica"]
        for table in (*tables, "crossdock.installation"):
            aside = f'aside."{table}"'
            admin.execute(f"CREATE TABLE {aside} AS TABLE {table}")
            ((columns,),) = admin.execute(COLUMNS, (table,)).fetchall()
            back.append(f"DELETE FROM {table}")
            back.append(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {aside}")
        return Filled(house, tables, "; ".join(back))
