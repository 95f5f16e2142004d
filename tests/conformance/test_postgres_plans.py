"""Every query of the journal and of the lanes on PostgreSQL walks along its indexes by whole keys, also by a plan that
was made while the tables were empty or small and is kept while they grow."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

import asyncpg
import psycopg
import pytest

from crossdock.engines.postgres.pool import QUERIES, SESSION
from crossdock.testing.samples import NORTH, SOUTH
from postgres import House

LANE_KEY = ("lanes_pkey", "store_id", "connection_id", "route")
HELD_KEY = ("held_pkey", "store_id", "connection_id", "route", "position")
ENTRY_KEY = ("entries_pkey", "store_id", "position")
JOURNAL_KEY = ("journals_pkey", "store_id")
JOURNAL_WALKS: dict[str, tuple[tuple[str, ...], ...]] = {
    "lock_journals": (JOURNAL_KEY,),
    "add_journals": (),
    "known": (
        ("entries_once", "store_id", "origin", "dedupe_key"),
        ("subject_keys_pkey", "store_id", "subject_ref"),
    ),
    "add": (JOURNAL_KEY,),
    "add_conflicts": (),
    "head": (JOURNAL_KEY,),
    "look": (),
    "moved": (("journals_moved", "moved_at"),),
    "subject_key": (("subject_keys_pkey", "store_id", "subject_ref"),),
    "conflicts": (("conflicts_pkey", "store_id"),),
    "entries_after": (ENTRY_KEY,),
    "entry": (ENTRY_KEY,),
    "entries_of_event": (("entries_by_event", "store_id", "event_id"),),
    "set_gate": (),
    "writable": (("installation_pkey", "id"),),
}
LANE_WALKS: dict[str, tuple[tuple[str, ...], ...]] = {
    "open_lanes": (("lanes_",),),
    "open_lanes_of": (("lanes_pkey", "store_id"),),
    "lane": (LANE_KEY,),
    "stirring": (("lanes_by_slot", "slot"), JOURNAL_KEY),
    "lanes_asked": (LANE_KEY, JOURNAL_KEY),
    "unresolved": (("held_unresolved", "store_id", "connection_id", "route"),),
    "windows": (ENTRY_KEY,),
    "entries_asked": (ENTRY_KEY,),
    "hold_slots": (("slots_pkey", "slot"),),
    "lock_lanes": (LANE_KEY,),
    "journals_of": (JOURNAL_KEY,),
    "await_settles": (("lanes_pkey", "store_id"),),
    "held_named": (HELD_KEY,),
    "release_held": (HELD_KEY,),
    "put_held": (),
    "add_attempts": (),
    "move_lanes": (LANE_KEY,),
    "ledger_lanes": (("lanes_",), JOURNAL_KEY),
    "ledger_lanes_of": (("lanes_pkey", "store_id"), JOURNAL_KEY),
    "see_stores": (),
    "held_counts": (("held_pkey", "store_id"),),
    "held_after": (HELD_KEY, ENTRY_KEY),
    "unresolved_after": (("held_unresolved", "store_id", "connection_id", "route", "position"), ENTRY_KEY),
    "attempts": (("attempts_pkey", "store_id", "connection_id", "route"),),
    "attempts_at": (("attempts_by_position", "store_id", "connection_id", "route", "position"),),
}
"""The indexes that each query walks, with the columns that it walks by. `lanes_` is either of that table's: the query
asks for every lane."""
WALKS = {"journal": JOURNAL_WALKS, "lanes": LANE_WALKS}
FREE_WHILE_EMPTY = {"move_lanes", "ledger_lanes", "ledger_lanes_of"}
"""Of a table that is known to be empty, a walk costs what a look-up costs; the plan is made anew within 30 s."""
OTHERWISE = {"Seq Scan", "Bitmap Heap Scan", "Tid Scan", "Hash Join", "Merge Join"}


@pytest.mark.parametrize("name", WALKS)
def test_every_query_says_here_what_it_walks(name: str) -> None:
    file = files("crossdock.engines.postgres").joinpath("queries", f"{name}.sql")
    assert re.findall(r"^-- name: (\w+)$", file.read_text(encoding="utf-8"), re.MULTILINE) == list(WALKS[name])


@pytest.mark.parametrize("rows", [0, 20, 60, 200, 500, 2_000])
@pytest.mark.parametrize("known", ["never", "empty", "filled"])
async def test_every_query_walks_its_index_however_small_the_tables_were(
    postgres_house: House, rows: int, known: str
) -> None:
    """`known`: when the planner last looked at the tables."""
    with psycopg.connect(postgres_house.admin, autocommit=True) as admin:
        if known == "empty":
            admin.execute("VACUUM ANALYZE")
        fill(admin, rows)
        if known == "filled":
            admin.execute("ANALYZE")
    connection = await asyncpg.connect(postgres_house.app, server_settings=dict(SESSION))
    try:
        for name, walks in (JOURNAL_WALKS | LANE_WALKS).items():
            async with connection.transaction():
                await connection.execute("SELECT set_config('crossdock.stores', '{north,south}', true)")
                found, others = await walk(connection, QUERIES[name])
            assert others == set(), name
            if (known == "empty" or not rows) and name in FREE_WHILE_EMPTY:
                continue
            assert len(found) == len(walks), name
            for (walked_by, condition), (index, *keys) in zip(found, walks, strict=True):
                assert walked_by.startswith(index), name
                assert [key for key in keys if key not in condition] == [], name
    finally:
        await connection.close()


async def walk(connection: asyncpg.Connection, query: str) -> tuple[list[tuple[str, str]], set[str]]:
    """The indexes of the generic plan with their conditions, and the kinds of its other nodes that read or join
    otherwise."""
    arguments = len(set(re.findall(r"\$\d+", query)))
    await connection.execute(f"PREPARE walk AS {query}")
    values = f"({', '.join(['NULL'] * arguments)})" if arguments else ""
    plan = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE walk{values}"))[0]["Plan"]
    await connection.execute("DEALLOCATE walk")
    found, others = [], set()
    nodes = [plan]
    while nodes:
        node = nodes.pop(0)
        nodes = node.get("Plans", []) + nodes
        if "Index Name" in node:
            found.append((node["Index Name"], node.get("Index Cond", "")))
        elif node["Node Type"] in OTHERWISE:
            others.add(node["Node Type"])
    return found, others


def fill(admin: psycopg.Connection[tuple[Any, ...]], rows: int) -> None:
    """So many entries of two stores, each held in one lane and tried once."""
    values = {"rows": rows}
    admin.execute("SET search_path = crossdock")
    for store in (NORTH, SOUTH):
        values |= {"store": store}
        admin.execute("INSERT INTO journals (store_id, head) VALUES (%(store)s, %(rows)s)", values)
        admin.execute(
            # As wide as they are in life: an index with wide keys grows a level sooner than one with narrow ones.
            "INSERT INTO entries"
            " SELECT %(store)s, at, repeat('o', 40), repeat('k', 30) || at, '', repeat('e', 20) || at, 't', 1, 's',"
            " 1, 1, 'c', '', NULL, NULL,"
            " NULL, NULL, 0 FROM generate_series(1, %(rows)s) AS at",
            values,
        )
        admin.execute(
            "INSERT INTO lanes (store_id, connection_id, route, slot, start, cursor, open)"
            " SELECT %(store)s, 'con', CASE at WHEN 1 THEN 'out' ELSE at::text END, 7, 0, 0, true"
            " FROM generate_series(1, %(rows)s) AS at",
            values,
        )
        admin.execute(
            "INSERT INTO held SELECT %(store)s, 'con', 'out', at, (ARRAY['parked', 'retrying'])[1 + at %% 2], 0, 1, '',"
            " 'r', 0, false FROM generate_series(1, %(rows)s) AS at",
            values,
        )
        admin.execute(
            "INSERT INTO subject_keys SELECT %(store)s, decode(md5(at::text), 'hex'), 'k'"
            " FROM generate_series(1, %(rows)s) AS at",
            values,
        )
        admin.execute(
            "INSERT INTO attempts SELECT %(store)s, 'con', 'out', at, at, 'e', 1, 1, 'busy', 'x', 1, NULL, NULL,"
            " 'retry', 'c', NULL FROM generate_series(1, %(rows)s) AS at",
            values,
        )
