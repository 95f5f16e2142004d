"""What the catalogues of a PostgreSQL say about the walls between stores: every way in which one of them is missing.

Read as a superuser. Whatever is not listed here as allowed is a finding, so that a later table, index, policy or
function cannot come without its wall."""

from __future__ import annotations

from typing import Any

import psycopg

from crossdock.engines.postgres.walls import READ_ACROSS, SCHEMAS, UNIQUE_WITHOUT_STORE, WITHOUT_STORE

OWN_STORES = (
    "((store_id COLLATE \"default\") = ANY (( SELECT (NULLIF(current_setting('crossdock.stores'::text, true), "
    "''::text))::text[] AS \"nullif\")::text[]))"
)
ACROSS = (
    "('{}'::text = ANY (( SELECT (NULLIF(current_setting('crossdock.scope'::text, true), ''::text))::text[] "
    'AS "nullif")::text[]))'
)
OF_STORE = "NULLIF(store_id, ''::text)"

OURS = "n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema'"
"""Every schema but the system's: a table that lies in another than ours is a finding too."""
TABLES = (
    """
SELECT n.nspname || '.' || c.relname AS name, n.nspname AS home, c.relrowsecurity AS walled,
    c.relforcerowsecurity AS forced,
    (SELECT a.attnotnull FROM pg_attribute AS a
     WHERE a.attrelid = c.oid AND a.attname = 'store_id' AND NOT a.attisdropped) AS needs_store
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f', 'm', 'v') AND """
    + OURS
    + """
ORDER BY 1
"""
)
POLICIES = """
SELECT schemaname || '.' || tablename AS name, policyname AS policy, permissive, roles::text, cmd, qual, with_check
FROM pg_policies ORDER BY 1, 2
"""
UNIQUE = (
    """
SELECT n.nspname || '.' || t.relname AS name, i.relname AS index, x.indisprimary AS is_primary,
    x.indexprs IS NOT NULL AS expressions,
    ARRAY(SELECT a.attname::text FROM unnest(x.indkey::smallint[]) WITH ORDINALITY AS k (num, place)
          JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = k.num ORDER BY k.place) AS columns
FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_class AS t ON t.oid = x.indrelid
JOIN pg_namespace AS n ON n.oid = t.relnamespace
WHERE (x.indisunique OR x.indisexclusion) AND """
    + OURS
    + """
ORDER BY 1, 2
"""
)
COLUMNS = """
SELECT n.nspname || '.' || c.relname AS name, a.attname AS column, format_type(a.atttypid, NULL) AS kind
FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1, a.attnum
"""
REFERENCES = (
    """
SELECT o.conname AS name, n.nspname || '.' || t.relname AS source,
    (SELECT m.nspname FROM pg_namespace AS m WHERE m.oid = f.relnamespace) || '.' || f.relname AS target,
    ARRAY(SELECT a.attname::text FROM unnest(o.conkey) WITH ORDINALITY AS k (num, place)
          JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = k.num ORDER BY k.place) AS columns,
    ARRAY(SELECT a.attname::text FROM unnest(o.confkey) WITH ORDINALITY AS k (num, place)
          JOIN pg_attribute AS a ON a.attrelid = f.oid AND a.attnum = k.num ORDER BY k.place) AS others,
    (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef AS d JOIN pg_attribute AS a
     ON a.attrelid = d.adrelid AND a.attnum = d.adnum
     WHERE d.adrelid = t.oid AND d.adnum = o.conkey[1] AND a.attgenerated = 's') AS generated
FROM pg_constraint AS o JOIN pg_class AS t ON t.oid = o.conrelid JOIN pg_class AS f ON f.oid = o.confrelid
JOIN pg_namespace AS n ON n.oid = t.relnamespace
WHERE o.contype = 'f' AND """
    + OURS
    + """
ORDER BY 1
"""
)
CODE = f"""
SELECT 'the function ' || p.proname || ' runs as its owner' AS what
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE p.prosecdef AND {OURS}
UNION ALL
SELECT 'the table ' || n.nspname || '.' || c.relname || ' has a rule'
FROM pg_rewrite AS r JOIN pg_class AS c ON c.oid = r.ev_class JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND {OURS}
UNION ALL
SELECT 'the table ' || n.nspname || '.' || c.relname || ' has the trigger ' || t.tgname
FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND {OURS}
"""
ROLE = """
SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication FROM pg_roles WHERE rolname = %s
"""
EXCESS = f"""
SELECT 'the application owns ' || c.oid::regclass AS what FROM pg_class AS c
JOIN pg_roles AS r ON r.oid = c.relowner WHERE pg_has_role(%(app)s, r.oid, 'MEMBER')
UNION ALL
SELECT 'the application owns the schema ' || n.nspname FROM pg_namespace AS n
WHERE pg_has_role(%(app)s, n.nspowner, 'MEMBER') AND n.nspname <> 'public'
UNION ALL
SELECT 'the application owns the function ' || p.proname FROM pg_proc AS p
WHERE pg_has_role(%(app)s, p.proowner, 'MEMBER')
UNION ALL
SELECT 'the application owns the database' FROM pg_database AS d
WHERE d.datname = current_database() AND pg_has_role(%(app)s, d.datdba, 'MEMBER')
UNION ALL
SELECT 'the application may create in ' || n.nspname FROM pg_namespace AS n
WHERE n.nspname NOT LIKE 'pg\\_temp%%' AND has_schema_privilege(%(app)s, n.oid, 'CREATE')
UNION ALL
SELECT 'the application may create schemas' WHERE has_database_privilege(%(app)s, current_database(), 'CREATE')
UNION ALL
SELECT 'the application may ' || p.what || ' ' || n.nspname || '.' || c.relname
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN unnest(ARRAY['TRUNCATE', 'REFERENCES', 'TRIGGER']) AS p (what)
WHERE c.relkind IN ('r', 'p') AND {OURS} AND has_table_privilege(%(app)s, c.oid, p.what)
UNION ALL
SELECT 'the application may ' || p.what || ' ' || o.name
FROM (VALUES ('crossdock.audit', 'UPDATE'), ('crossdock.audit', 'DELETE'),
    ('crossdock.migrations', 'INSERT'), ('crossdock.migrations', 'UPDATE'), ('crossdock.migrations', 'DELETE'),
    ('crossdock_directory.cells_directory', 'DELETE'), ('crossdock_directory.migrations', 'SELECT'),
    ('crossdock_directory.migrations', 'INSERT'), ('crossdock_directory.migrations', 'UPDATE')
) AS o (name, what)
CROSS JOIN LATERAL (SELECT o.what WHERE has_table_privilege(%(app)s, o.name, o.what)) AS p
UNION ALL
SELECT 'the application is a member of ' || r.rolname FROM pg_auth_members AS m JOIN pg_roles AS r ON r.oid = m.roleid
JOIN pg_roles AS a ON a.oid = m.member WHERE a.rolname = %(app)s
"""

Rows = list[dict[str, Any]]


def gaps(admin: psycopg.Connection[dict[str, Any]], app: str) -> list[str]:
    """Each missing wall as a sentence; `app` is the role that Crossdock serves with."""

    def read(text: str, values: Any = None) -> Rows:
        return admin.execute(text, values).fetchall()

    tables = read(TABLES)
    walled = {table["name"] for table in tables if table["needs_store"] is not None}
    return [
        *table_gaps(tables),
        *policy_gaps(walled, read(POLICIES)),
        *across_gaps(read(COLUMNS)),
        *unique_gaps(walled, read(UNIQUE)),
        *reference_gaps(walled, read(REFERENCES)),
        *(row["what"] for row in read(CODE)),
        *role_gaps(read(ROLE, (app,))),
        *(row["what"] for row in read(EXCESS, {"app": app})),
    ]


def table_gaps(tables: Rows) -> list[str]:
    found = []
    for table in tables:
        name = table["name"]
        if table["home"] not in SCHEMAS:
            found.append(f"{name} stands outside the schemas")
        elif table["needs_store"] is None:
            found += [] if name in WITHOUT_STORE else [f"{name} has no store, and is not listed as one without"]
        elif not (table["walled"] and table["forced"] and table["needs_store"]):
            found.append(f"{name} is not under forced row security, or its store may be null")
    return found


def policy_gaps(walled: set[str], policies: Rows) -> list[str]:
    own = ("PERMISSIVE", "{public}", "ALL", OWN_STORES, None)
    allowed = {(name, "own_stores"): own for name in walled}
    for name in READ_ACROSS:
        across = ACROSS.format(name.partition(".")[2])
        allowed[name, "platform_reads"] = ("PERMISSIVE", "{public}", "SELECT", across, None)
    found = {
        (one["name"], one["policy"]): (one["permissive"], one["roles"], one["cmd"], one["qual"], one["with_check"])
        for one in policies
    }
    wrong = [
        f"{name} has the policy {policy}: {said}"
        for (name, policy), said in found.items()
        if allowed.get((name, policy)) != said
    ]
    return wrong + [f"{name} lacks the policy {policy}" for name, policy in sorted(allowed.keys() - found.keys())]


def across_gaps(columns: Rows) -> list[str]:
    """Row security hides no column: what a table shows over all stores is listed, and what is in bytes is explained."""
    found = []
    for one in columns:
        table, column = one["name"], one["column"]
        across = READ_ACROSS.get(table)
        if across is None:
            continue
        if column not in across.columns.split():
            found.append(f"{table}.{column} can be read over all stores, and is not listed as such")
        elif one["kind"] == "bytea" and column not in across.sensitive:
            found.append(f"{table}.{column} can be read over all stores, and nobody says what is sealed in it")
    there = {(one["name"], one["column"]) for one in columns}
    listed = {(table, column) for table, across in READ_ACROSS.items() for column in across.columns.split()}
    listed |= {(table, column) for table, across in READ_ACROSS.items() for column in across.sensitive}
    return found + [f"{table}.{column} is listed, and is not there" for table, column in sorted(listed - there)]


def unique_gaps(walled: set[str], indexes: Rows) -> list[str]:
    """A key that leaves the store out is listed with its columns, or is a finding; so is one that is listed in vain."""
    found, met = [], set()
    for one in indexes:
        name = f"{one['name']}.{one['index']}"
        alone = UNIQUE_WITHOUT_STORE.get(name)
        if alone is not None and one["columns"] == alone.columns.split() and not one["expressions"]:
            met.add(name)
        elif one["name"] in walled and (one["expressions"] or one["columns"][0] != "store_id"):
            found.append(f"{one['name']}: the unique index {one['index']} does not start with the store")
    found += [f"the unique index {name} is listed, and is not there" for name in UNIQUE_WITHOUT_STORE.keys() - met]
    keyed = {one["name"] for one in indexes if one["is_primary"]}
    return found + [f"{name} has no primary key" for name in sorted(walled - keyed)]


def reference_gaps(walled: set[str], references: Rows) -> list[str]:
    return [
        f"{one['source']}: the foreign key {one['name']} leaves the store out"
        for one in references
        if {one["source"], one["target"]} & walled and not _within_a_store(one)
    ]


def _within_a_store(one: dict[str, Any]) -> bool:
    if ("store_id", "store_id") in zip(one["columns"], one["others"], strict=True):
        return True
    # The same by name: '' is no store, and refers to none.
    by_name = (["of_store"], ["store_id"], OF_STORE)
    return (one["columns"], one["others"], one["generated"]) == by_name and one["target"] == "crossdock.stores"


def role_gaps(roles: Rows) -> list[str]:
    if not roles:
        return ["the application's role does not exist"]
    return [f"the application's role has {name}" for name, has in roles[0].items() if has]
