"""Whether a server can be trusted with what is acknowledged, and whether our role is bound by its walls."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from crossdock.engines.postgres.scope import READ, opening
from crossdock.engines.postgres.walls import SCHEMAS
from crossdock.model.errors import Unavailable
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
        WHERE n.nspname = ANY ($1::text[]) AND pg_has_role(current_user, c.relowner, 'MEMBER')
    ) AS owns
FROM pg_roles AS r WHERE r.rolname = current_user
"""

LOG = """
SELECT count(*) = 2
    AND bool_and(has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'crossdock' AND c.relname IN ('installation', 'audit')
"""
LOG_ENDS = """
SELECT (SELECT audit_seq FROM crossdock.installation WHERE id = 1) AS counter,
    coalesce((SELECT max(seq) FROM crossdock.audit), 0) AS highest
"""
TAKES_WRITES = "SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'"
# Another program's tables are our business where the role can reach them: a view of them shows what its owner sees.
UNWALLED = r"""
SELECT n.nspname || '.' || c.relname AS name FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'store_id' AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p', 'f', 'm', 'v') AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
    AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
    AND (n.nspname = ANY ($1::text[]) OR has_schema_privilege(n.oid, 'USAGE') AND (
        has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE') OR has_table_privilege(c.oid, 'DELETE, TRUNCATE')
    ))
ORDER BY 1
"""


async def findings(connection: asyncpg.Connection) -> Sequence[Finding]:
    """What holds and what does not, each with its code. A fatal one that is not ok refuses to serve."""
    server, role = await connection.fetchrow(SETTINGS), await connection.fetchrow(ROLE, list(SCHEMAS))
    unwalled = [str(row["name"]) for row in await connection.fetch(UNWALLED, list(SCHEMAS))]
    log = await _log(connection)
    return [_version(server), _durability(server), _encoding(server), _role(role), _walls(unwalled), log]


async def takes_writes(connection: asyncpg.Connection) -> Finding:
    """No finding of a start: a server that takes no writes now may be the primary in a moment, and readiness tells."""
    ok = await connection.fetchval(TAKES_WRITES)
    return Finding(
        "CD5042",
        ok,
        True,
        "The database takes writes." if ok else "The database takes no writes.",
        "Name the primary, or take default_transaction_read_only back; see target_session_attrs for several hosts.",
    )


async def vet(connection: asyncpg.Connection) -> None:
    """Unavailable (CD5021) where the server, as set now for this session, may lose what it commits."""
    found = _durability(await connection.fetchrow(SETTINGS))
    if not found.ok:
        raise Unavailable(found.code, found.what, remedy=found.remedy)


async def require_safe(connection: asyncpg.Connection) -> None:
    """Unavailable (CD5004) if it cannot be served safely."""
    found = [one for one in await findings(connection) if one.fatal and not one.ok]
    if found:
        said = " ".join(f"{one.code}: {one.what} {one.remedy}" for one in found)
        raise Unavailable("CD5004", said, remedy="Nothing is served before it is set right.")


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


def _walls(unwalled: Sequence[str]) -> Finding:
    return Finding(
        "CD5022",
        not unwalled,
        True,
        f"With a store's data, and not under row security: {', '.join(unwalled)}."
        if unwalled
        else "Every table with a store's data is under row security.",
        "Run `crossdock db migrate`, and `crossdock db directory` where there are cells; take this role's rights on"
        " other programs' tables away.",
    )


async def _log(connection: asyncpg.Connection) -> Finding:
    """A copy that keeps the numbers of the log sets their counter last."""
    ended = True
    if await connection.fetchval(LOG):
        await connection.execute(opening(READ, (), ("audit",)))
        try:
            counter, highest = await connection.fetchrow(LOG_ENDS)
        finally:
            await connection.execute("ROLLBACK")
        ended = counter >= highest
    return Finding(
        "CD5041",
        ended,
        True,
        "No copy into the database is unfinished." if ended else "A copy into the database has not ended.",
        "Run the same `crossdock db copy` again: it goes on where it was.",
    )
