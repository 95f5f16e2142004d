"""Bringing a PostgreSQL's schema up to date: by the owner's role, one migration a transaction, never waiting long for a
lock: whoever waits for a table's lock stops everybody behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from urllib.parse import unquote, urlsplit

import asyncpg

from crossdock.engines.migrations import Migration, Phase, Step, altered, known, to_do, unfit
from crossdock.engines.postgres.pool import CONNECT_SECONDS_MAX, reached
from crossdock.engines.postgres.scope import literal
from crossdock.model.errors import Invalid, Unavailable

PACKAGE = "crossdock.engines.postgres"
LOCK_MS_MAX = 2_000  # what ingest may have to wait behind a migration that waits for a lock
STATEMENT_MS_MAX = 60_000  # more is said in the file itself
LOCK_TRIES_MAX = 10
LOCK_PAUSE_SECONDS = 1.0  # between two tries: what waited behind us goes on meanwhile

FOUNDATION = """
CREATE SCHEMA IF NOT EXISTS crossdock;
CREATE TABLE IF NOT EXISTS crossdock.migrations (
    number integer NOT NULL,
    phase text NOT NULL CHECK (phase IN ('pre', 'post')),
    checksum text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (number, phase)
);
"""
APPLIED = "SELECT number, phase, checksum, at FROM crossdock.migrations ORDER BY at, number, phase"


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration that the database has. `at` is ISO 8601."""

    step: Step
    checksum: str
    at: str


@dataclass(frozen=True, slots=True)
class Login:
    """The role of an address, and the password in it ('' for none)."""

    role: str
    password: str


def login_of(url: str) -> Login:
    """Invalid (CD5033) for an address without a user."""
    parts = urlsplit(url)
    if not parts.username:
        raise Invalid(
            "CD5033",
            "The database's address names no role.",
            where="CROSSDOCK_DATABASE",
            remedy="Write it as postgresql://role@host/database.",
        )
    return Login(unquote(parts.username), unquote(parts.password or ""))


async def applied(connection: asyncpg.Connection) -> list[Applied]:
    """Nothing, where there is no schema yet."""
    if await connection.fetchval("SELECT to_regclass('crossdock.migrations')") is None:
        return []
    rows = await connection.fetch(APPLIED)
    return [Applied(Step(row[0], Phase(row[1])), row[2], row[3].isoformat(timespec="seconds")) for row in rows]


async def require(connection: asyncpg.Connection) -> None:
    """Unavailable (CD5030) unless the schema is fit for this release."""
    why = unfit(known(PACKAGE), {one.step for one in await applied(connection)})
    if why:
        raise Unavailable("CD5030", why, remedy="Run `crossdock db migrate`, or the release that the database is for.")


async def changed_files(connection: asyncpg.Connection) -> list[Step]:
    return altered(known(PACKAGE), [(one.step, one.checksum) for one in await applied(connection)])


async def migrate(owner_url: str, app: Login, phases: Collection[Phase], say: Callable[[str], None]) -> None:
    """Applies what is missing of the phases, as the owner, and gives the runtime role its grants. Run twice, the second
    does nothing. Two at once take turns.

    Unavailable CD5002 if no server answers, CD5031 if a lock was not to be had; Invalid CD5032 if the runtime role does
    not exist and cannot be made, CD5034 if it is the owner."""
    async with connected(owner_url) as connection:
        await _lay_foundation(connection)
        for one in known(PACKAGE):
            await _apply_patiently(connection, one, phases, say)
        async with connection.transaction():
            await _take_turn(connection, STATEMENT_MS_MAX)
            await _make_role(connection, app, say)
            await _grant(connection, app.role)
    say(f"The schema is up to date, and {app.role} may use it.")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    async with reached():
        connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS_MAX)
        try:
            yield connection
        finally:
            await connection.close(timeout=1)


async def _apply_patiently(
    connection: asyncpg.Connection, one: Migration, phases: Collection[Phase], say: Callable[[str], None]
) -> None:
    for tried in range(1, LOCK_TRIES_MAX + 1):
        try:
            if await _apply(connection, one, phases):
                say(f"applied {one.step}")
        except asyncpg.LockNotAvailableError as error:
            if tried == LOCK_TRIES_MAX:
                raise Unavailable(
                    "CD5031",
                    f"The migration {one.step} got no lock in {LOCK_TRIES_MAX} tries; nothing of it was done.",
                    remedy="End the sessions that hold it (pg_blocking_pids tells which), and run it again.",
                ) from error
            say(f"{one.step} waits for a lock, try {tried} of {LOCK_TRIES_MAX}")
            await asyncio.sleep(LOCK_PAUSE_SECONDS)
        else:
            return


async def _apply(connection: asyncpg.Connection, one: Migration, phases: Collection[Phase]) -> bool:
    """In one transaction; False if it was applied already or is of another phase."""
    async with connection.transaction():
        await _take_turn(connection, one.statement_ms(STATEMENT_MS_MAX))
        done = {row.step for row in await applied(connection)}
        if not to_do([one], done, phases):
            return False
        await connection.execute("SET LOCAL search_path = crossdock")
        await connection.execute(one.text)
        await connection.execute(
            "INSERT INTO crossdock.migrations (number, phase, checksum) VALUES ($1, $2, $3)",
            one.step.number,
            one.step.phase,
            one.checksum,
        )
    return True


async def _take_turn(connection: asyncpg.Connection, statement_ms: int) -> None:
    """Whoever migrates holds this lock, so that two never do at once."""
    await connection.execute(
        f"SET LOCAL lock_timeout = {LOCK_MS_MAX}; SET LOCAL statement_timeout = {statement_ms};"
        "LOCK TABLE crossdock.migrations IN EXCLUSIVE MODE"
    )


async def _lay_foundation(connection: asyncpg.Connection) -> None:
    try:
        await connection.execute(FOUNDATION)
    except (asyncpg.UniqueViolationError, asyncpg.DuplicateObjectError, asyncpg.DuplicateSchemaError):
        await connection.execute(FOUNDATION)  # another one laid it in the same moment


async def _make_role(connection: asyncpg.Connection, app: Login, say: Callable[[str], None]) -> None:
    if app.role == await connection.fetchval("SELECT current_user"):
        raise Invalid(
            "CD5034",
            "The runtime role is the owner of the tables, which row security would not bind.",
            where="CROSSDOCK_DATABASE",
            remedy="Give CROSSDOCK_DATABASE another role than CROSSDOCK_DATABASE_OWNER; it is made here if need be.",
        )
    if await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", app.role):
        return
    limits = "LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE"
    password = f" PASSWORD {literal(app.password)}" if app.password else ""
    try:
        await connection.execute(f"CREATE ROLE {quoted(app.role)} {limits}{password}")
    except asyncpg.InsufficientPrivilegeError as error:
        raise Invalid(
            "CD5032",
            f"The role {app.role} does not exist, and the owner may not make it.",
            where="CROSSDOCK_DATABASE",
            remedy=f"As a superuser: CREATE ROLE {quoted(app.role)} {limits} PASSWORD '...'; then run this again.",
        ) from error
    say(f"made the role {app.role}")


async def _grant(connection: asyncpg.Connection, role: str) -> None:
    text = files(PACKAGE).joinpath("grants.sql").read_text(encoding="utf-8")
    await connection.execute(text.replace(":role", quoted(role)))


def quoted(name: str) -> str:
    """A PostgreSQL identifier (4.1.1)."""
    return '"' + name.replace('"', '""') + '"'
