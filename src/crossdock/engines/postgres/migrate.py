"""Bringing a PostgreSQL's schema up to date: by the owner's role, one migration a transaction, never waiting long for a
lock: whoever waits for a table's lock stops everybody behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from urllib.parse import unquote, urlsplit

import asyncpg

from crossdock.engines.migrations import Migration, Phase, Step, known, to_do, unfit
from crossdock.engines.postgres.pool import CONNECT_SECONDS_MAX, reached
from crossdock.engines.postgres.scope import literal
from crossdock.engines.postgres.verifier import scram
from crossdock.model.errors import Invalid, Unavailable

PACKAGE = "crossdock.engines.postgres"
LOCK_MS_MAX = 2_000  # what ingest may have to wait behind a migration that waits for a lock
STATEMENT_MS_MAX = 60_000  # more is said in the file itself
LOCK_TRIES_MAX = 10
LOCK_PAUSE_SECONDS = 1.0  # between two tries: what waited behind us goes on meanwhile

MADE_MEANWHILE = (
    asyncpg.UniqueViolationError,
    asyncpg.DuplicateSchemaError,
    asyncpg.DuplicateTableError,
    asyncpg.DuplicateObjectError,
)
"""What a statement that makes something may say when another runner makes it in the same moment."""

SCHEMA = "CREATE SCHEMA IF NOT EXISTS crossdock"
FOUNDATION = """
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
    password: str = field(repr=False)


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
    """Nothing, where there is no schema yet. Unavailable (CD5037) for a role that may not look."""
    try:
        if await connection.fetchval("SELECT to_regclass('crossdock.migrations')") is None:
            return []
        rows = await connection.fetch(APPLIED)
    except asyncpg.InsufficientPrivilegeError as error:
        raise Unavailable(
            "CD5037",
            "The schema is there, and this role may not use it.",
            remedy="Run `crossdock db migrate`, which lets the role in that CROSSDOCK_DATABASE names.",
        ) from error
    return [Applied(Step(row[0], Phase(row[1])), row[2], row[3].isoformat(timespec="seconds")) for row in rows]


async def require(connection: asyncpg.Connection) -> None:
    """Unavailable (CD5030) unless the schema is fit for this release."""
    await _refuse_unfit(connection, set())


async def _refuse_unfit(connection: asyncpg.Connection, coming: Collection[Step]) -> None:
    """Also of a database that would be unfit after those that are coming."""
    why = unfit(known(PACKAGE), {one.step for one in await applied(connection)} | set(coming))
    if why:
        raise Unavailable("CD5030", why, remedy="Run `crossdock db migrate`, or the release that the database is for.")


async def migrate(owner_url: str, app: Login, phases: Collection[Phase], say: Callable[[str], None]) -> None:
    """Applies what is missing of the phases, as the owner, and gives the runtime role its grants. Run twice, the second
    does nothing. Two at once take turns.

    Unavailable CD5002 if no server answers, CD5030 if a later release has taken something away, CD5031 if a lock was
    not to be had, CD5038 if a statement took too long; Invalid CD5032 if the runtime role does not exist and cannot be
    made, CD5034 if it is the owner, CD5037 if the owner's role may not change the schema."""
    async with connected(owner_url) as connection:
        await _refuse_owner(connection, app)
        try:
            await _lay_foundation(connection)
            await _refuse_unfit(connection, {one.step for one in known(PACKAGE)})
            run = _Run(owner_url, connection, say)
            for one in known(PACKAGE):
                await run.patiently(str(one.step), partial(run.apply, one, phases))
            await run.patiently("giving out rights", partial(run.let_in, app))
        except asyncpg.InsufficientPrivilegeError as error:
            role = quoted(login_of(owner_url).role)
            raise Invalid(
                "CD5037",
                f"The role {role} may not change the schema.",
                where="CROSSDOCK_DATABASE_OWNER",
                remedy=f"Name the tables' owner. For a new database, as a superuser in it: CREATE SCHEMA crossdock"
                f" AUTHORIZATION {role};",
            ) from error


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    async with reached(), _opened(url) as connection:
        yield connection


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS_MAX)
    try:
        yield connection
    finally:
        await connection.close(timeout=1)


@dataclass
class _Run:
    """`has_turn` tells whoever waits for a lock of the migration from whoever waits for another runner to end."""

    owner_url: str = field(repr=False)
    connection: asyncpg.Connection
    say: Callable[[str], None]
    has_turn: bool = False

    async def patiently(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Tries it until its locks are to be had."""
        for tried in range(1, LOCK_TRIES_MAX + 1):
            try:
                await work()
            except asyncpg.LockNotAvailableError as error:
                if tried == LOCK_TRIES_MAX:
                    raise self._no_lock(name) from error
                self.say(f"{name} waits for a lock, try {tried} of {LOCK_TRIES_MAX}")
                await asyncio.sleep(LOCK_PAUSE_SECONDS)
            except asyncpg.QueryCanceledError as error:
                raise _too_long(name) from error
            else:
                return

    def _no_lock(self, name: str) -> Unavailable:
        if self.has_turn:
            return Unavailable(
                "CD5031",
                f"{name} got no lock in {LOCK_TRIES_MAX} tries; nothing of it was done.",
                remedy="End the sessions that hold it (pg_blocking_pids tells which), and run it again.",
            )
        return Unavailable(
            "CD5031",
            f"{name} did not get its turn in {LOCK_TRIES_MAX} tries: another `crossdock db migrate` is at work.",
            remedy="Let it end, and run this again.",
        )

    async def apply(self, one: Migration, phases: Collection[Phase]) -> None:
        """In one transaction. Nothing, if it was applied already or is of another phase."""
        async with self._turn(one.statement_ms(STATEMENT_MS_MAX)):
            done = {row.step for row in await applied(self.connection)}
            if not to_do([one], done, phases):
                return
            # Also ends the query before, whose snapshot would live on: an index that is built beside would wait for it.
            await self.connection.execute("SET LOCAL search_path = crossdock")
            if one.alone:
                await self._run_alone(one)
            else:
                await self.connection.execute(one.text)
            await self.connection.execute(
                "INSERT INTO crossdock.migrations (number, phase, checksum) VALUES ($1, $2, $3)",
                one.step.number,
                one.step.phase,
                one.checksum,
            )
        self.say(f"applied {one.step}")

    async def let_in(self, app: Login) -> None:
        """Makes the role if need be, and gives it its grants."""
        async with self._turn(STATEMENT_MS_MAX):
            made = await _make_role(self.connection, app)
            text = files(PACKAGE).joinpath("grants.sql").read_text(encoding="utf-8")
            await self.connection.execute(text.replace(":role", quoted(app.role)))
        if made:
            self.say(f"made the role {app.role}")
        self.say(f"{app.role} may use the schema")

    @asynccontextmanager
    async def _turn(self, statement_ms: int) -> AsyncIterator[None]:
        """A transaction with a lock that only one has at a time. It keeps no snapshot between its statements, which
        CREATE INDEX CONCURRENTLY on another connection would wait for."""
        self.has_turn = False
        async with self.connection.transaction(isolation="read_committed"):
            await self.connection.execute(
                f"SET LOCAL lock_timeout = {LOCK_MS_MAX}; SET LOCAL statement_timeout = {statement_ms};"
                "SET LOCAL idle_in_transaction_session_timeout = 0;"
                "LOCK TABLE crossdock.migrations IN EXCLUSIVE MODE"
            )
            self.has_turn = True
            yield

    async def _run_alone(self, one: Migration) -> None:
        """On a connection of its own, while this one keeps the turn. It may wait long for a lock: what goes on
        concurrently stops no reader and no writer, and an index whose making was cut short lies about invalid."""
        async with _opened(self.owner_url) as beside:
            await beside.execute(
                f"SET search_path = crossdock; SET lock_timeout = 0;"
                f"SET statement_timeout = {one.statement_ms(STATEMENT_MS_MAX)}"
            )
            for statement in one.statements:
                await beside.execute(statement)


def _too_long(name: str) -> Unavailable:
    return Unavailable(
        "CD5038",
        f"{name} was cancelled, or took longer than it may.",
        remedy="Run it again when less goes on; what was not noted as applied is done anew.",
    )


async def _refuse_owner(connection: asyncpg.Connection, app: Login) -> None:
    if app.role == await connection.fetchval("SELECT current_user"):
        raise Invalid(
            "CD5034",
            "The runtime role is the owner of the tables, which row security would not bind.",
            where="CROSSDOCK_DATABASE",
            remedy="Give CROSSDOCK_DATABASE another role than CROSSDOCK_DATABASE_OWNER; it is made here if need be.",
        )


async def _lay_foundation(connection: asyncpg.Connection) -> None:
    """What is there is left alone: an owner of the schema need not be let make others."""
    for statement, there in (
        (SCHEMA, "to_regnamespace('crossdock')"),
        (FOUNDATION, "to_regclass('crossdock.migrations')"),
    ):
        if await connection.fetchval(f"SELECT {there}") is None:
            with suppress(*MADE_MEANWHILE):
                await connection.execute(statement)


async def _make_role(connection: asyncpg.Connection, app: Login) -> bool:
    """False if it was there. The server hears a verifier, not the password."""
    if await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", app.role):
        return False
    limits = "LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE"
    if not await connection.fetchval("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"):
        raise Invalid(
            "CD5032",
            f"The role {app.role} does not exist, and the owner may not make it.",
            where="CROSSDOCK_DATABASE",
            remedy=f"As a superuser: CREATE ROLE {quoted(app.role)} {limits} PASSWORD '...'; then run this again.",
        )
    password = ""
    if app.password:
        salt = await connection.fetchval("SELECT gen_random_uuid()")
        password = f" PASSWORD {literal(scram(app.password, salt.bytes))}"
    try:
        async with connection.transaction():
            await connection.execute(f"CREATE ROLE {quoted(app.role)} {limits}{password}")
    except MADE_MEANWHILE:  # for another database of the server: a role is all databases'
        return False
    return True


def quoted(name: str) -> str:
    """A PostgreSQL identifier (4.1.1)."""
    return '"' + name.replace('"', '""') + '"'
