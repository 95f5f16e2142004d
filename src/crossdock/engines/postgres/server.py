"""Whether a server can be trusted with what is acknowledged, and whether our role is bound by its walls."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from crossdock.stores.port import Finding

MAJOR_MIN = 15  # the oldest major that still gets fixes (postgresql.org/support/versioning)

SETTINGS = """
SELECT current_setting('server_version_num')::integer AS version,
    current_setting('fsync') AS fsync,
    current_setting('full_page_writes') AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('synchronous_standby_names') AS standbys,
    current_setting('server_encoding') AS encoding
"""

ROLE = """
SELECT r.rolname AS name, r.rolsuper AS super, r.rolbypassrls AS bypass,
    EXISTS (
        SELECT 1 FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = 'crossdock' AND pg_has_role(current_user, c.relowner, 'MEMBER')
    ) AS owns,
    (
        SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'store_id'
        WHERE n.nspname = 'crossdock' AND c.relkind IN ('r', 'p') AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
    ) AS unwalled
FROM pg_roles AS r WHERE r.rolname = current_user
"""


async def findings(connection: asyncpg.Connection) -> Sequence[Finding]:
    """What holds and what does not, each with its code. A fatal one that is not ok refuses to serve."""
    server, role = await connection.fetchrow(SETTINGS), await connection.fetchrow(ROLE)
    return [_version(server), _durability(server), _encoding(server), _role(role), _walls(role)]


def _version(server: asyncpg.Record) -> Finding:
    major = server["version"] // 10_000
    return Finding(
        "CD5020",
        major >= MAJOR_MIN,
        True,
        f"PostgreSQL is {major}.{server['version'] % 10_000}.",
        f"Upgrade it to {MAJOR_MIN} or later.",
    )


def _durability(server: asyncpg.Record) -> Finding:
    """`local` and `remote_write` keep less than they say once there is a standby to fail over to."""
    commit, standbys = server["synchronous_commit"], bool(server["standbys"])
    enough = {"on", "remote_apply"} if standbys else {"on", "remote_apply", "remote_write", "local"}
    ok = server["fsync"] == "on" and server["full_page_writes"] == "on" and commit in enough
    return Finding(
        "CD5021",
        ok,
        True,
        f"fsync is {server['fsync']}, full_page_writes {server['full_page_writes']}, synchronous_commit {commit}"
        f"{' with' if standbys else ', without'} a synchronous standby.",
        "Set fsync, full_page_writes and synchronous_commit to on: what is acknowledged must survive a power cut.",
    )


def _encoding(server: asyncpg.Record) -> Finding:
    ok = server["encoding"] == "UTF8"
    return Finding("CD5020", ok, True, f"The database's encoding is {server['encoding']}.", "Make one with UTF8.")


def _role(role: asyncpg.Record) -> Finding:
    excess = [
        what
        for what, has in (
            ("is a superuser", role["super"]),
            ("bypasses row security", role["bypass"]),
            ("owns the tables", role["owns"]),
        )
        if has
    ]
    return Finding(
        "CD5022",
        not excess,
        True,
        f"The role {role['name']} {' and '.join(excess) or 'is bound by row security'}.",
        "Serve with a role of its own, which `crossdock db migrate` makes; the owner's address is for migrations only.",
    )


def _walls(role: asyncpg.Record) -> Finding:
    return Finding(
        "CD5022",
        role["unwalled"] == 0,
        True,
        "Every table with a store's data is under row security."
        if role["unwalled"] == 0
        else f"{role['unwalled']} tables with a store's data are not under row security.",
        "Run `crossdock db migrate`.",
    )
