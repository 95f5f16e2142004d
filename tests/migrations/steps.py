"""Migrations that a later release might bring, the runner on a house, and a catalogue to compare schemas by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
import pytest

from crossdock.engines.migrations import Migration, Phase, Step, known
from crossdock.engines.postgres import migrate as postgres
from postgres import House

CATALOGUE = {
    "columns": "SELECT table_name, column_name, data_type, collation_name, is_nullable, column_default,"
    " generation_expression FROM information_schema.columns WHERE table_schema = 'crossdock'",
    "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(c.oid) FROM pg_constraint AS c"
    " JOIN pg_namespace AS n ON n.oid = c.connamespace WHERE n.nspname = 'crossdock'",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'crossdock'",
    "policies": "SELECT tablename, policyname, permissive, roles, cmd, qual, with_check FROM pg_policies"
    " WHERE schemaname = 'crossdock'",
    "tables": "SELECT relname, relrowsecurity, relforcerowsecurity, reloptions FROM pg_class AS c"
    " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = 'crossdock'",
    "storage": "SELECT c.relname, a.attname, a.attstorage FROM pg_attribute AS a JOIN pg_class AS c"
    " ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace"
    " WHERE n.nspname = 'crossdock' AND a.attnum > 0 AND NOT a.attisdropped",
    "types": "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attidentity FROM pg_attribute AS a"
    " JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace"
    " WHERE n.nspname = 'crossdock' AND a.attnum > 0 AND NOT a.attisdropped",
    "comments": "SELECT c.relname, d.objsubid, d.description FROM pg_description AS d JOIN pg_class AS c"
    " ON c.oid = d.objoid JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = 'crossdock'",
    "triggers": "SELECT tgrelid::regclass::text, pg_get_triggerdef(t.oid) FROM pg_trigger AS t JOIN pg_class AS c"
    " ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace"
    " WHERE n.nspname = 'crossdock' AND NOT t.tgisinternal",
    "routines": "SELECT proname, prosrc FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace"
    " WHERE n.nspname = 'crossdock'",
}


def catalogue(url: str) -> dict[str, list[Any]]:
    """Everything that makes the schema what it is, but for the table of the migrations themselves."""
    with psycopg.connect(url) as connection:
        found = {name: sorted(map(str, connection.execute(query).fetchall())) for name, query in CATALOGUE.items()}
    return {name: [row for row in rows if "migrations" not in row] for name, rows in found.items()}


async def run(house: House, phases: set[Phase] = {Phase.PRE}) -> list[str]:  # noqa: B006  # it is only read
    said: list[str] = []
    await postgres.migrate(house.owner, postgres.login_of(house.app), phases, said.append)
    return said


def with_more(monkeypatch: pytest.MonkeyPatch, *more: Migration) -> None:
    """As if a later release's files were there."""
    every = (*known(postgres.PACKAGE), *more)
    monkeypatch.setattr(postgres, "known", lambda _: every)


def step(number: int, phase: Phase, text: str) -> Migration:
    return Migration(Step(number, phase), text)


NEXT = step(9001, Phase.PRE, "ALTER TABLE entries ADD COLUMN flavour text; CREATE TABLE later (id integer PRIMARY KEY)")
LAST = step(9001, Phase.POST, "ALTER TABLE entries DROP COLUMN hops")


def named(text: str) -> Mapping[str, str]:
    """The statements of a file of queries."""
    parts = text.split("-- name: ")[1:]
    return {name: body.strip() for name, _, body in (part.partition("\n") for part in parts)}
