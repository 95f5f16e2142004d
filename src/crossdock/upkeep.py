"""The schema of an installation, without a server: where it stands, bringing it up to date, and whether all is well."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw
import asyncpg

from crossdock.engines.migrations import Migration, Phase, Step, known, unfit
from crossdock.engines.postgres import migrate as postgres
from crossdock.engines.postgres import server
from crossdock.engines.sqlite import database as sqlite
from crossdock.engines.sqlite import files
from crossdock.model.errors import Invalid, NotFound
from crossdock.settings import Settings
from crossdock.stores.port import Finding


@dataclass(frozen=True, slots=True)
class StepState:
    """One migration. `at` is when it was applied (ISO 8601), '' where that was not noted; `known` is False for one of
    another release, `altered` is True where the file is not what was applied."""

    step: Step
    applied: bool
    at: str = ""
    known: bool = True
    altered: bool = False


@dataclass(frozen=True, slots=True)
class SchemaState:
    """`why` says what is in the way of serving, '' for nothing."""

    engine: str
    version: str
    steps: tuple[StepState, ...]
    why: str


async def status(settings: Settings) -> SchemaState:
    """Unavailable CD5002 if no server answers; NotFound (CD7030) if there is no database file."""
    if settings.postgres_url is None:
        return _file_status(settings.database_path)
    async with postgres.connected(settings.postgres_owner_url or settings.postgres_url) as connection:
        return await _server_status(connection)


async def _server_status(connection: asyncpg.Connection) -> SchemaState:
    applied = [(one.step, one.checksum, one.at) for one in await postgres.applied(connection)]
    found = connection.get_server_version()
    return _state("postgres", f"{found.major}.{found.micro}", known(postgres.PACKAGE), applied)


async def migrate(settings: Settings, phases: Collection[Phase], say: Callable[[str], None]) -> None:
    """Applies what is missing of the phases. Invalid (CD5033) without the owner's address on PostgreSQL."""
    if settings.postgres_url is None:
        _migrate_file(settings.database_path, phases, say)
        return
    if settings.postgres_owner_url is None:
        raise Invalid(
            "CD5033",
            "The schema is changed by its owner, and there is no address for it.",
            where="CROSSDOCK_DATABASE_OWNER",
            remedy="Set it to postgresql://owner@host/database; servers do not need it.",
        )
    await postgres.migrate(settings.postgres_owner_url, postgres.login_of(settings.postgres_url), phases, say)


async def check(settings: Settings) -> tuple[SchemaState, tuple[Finding, ...]]:
    """The schema, and what the engine says of its settings: on PostgreSQL as the role that serves sees them. It changes
    nothing. Unavailable CD5005 while a process has the SQLite file open, CD5040 where the role is not let in."""
    if settings.postgres_url is None:
        return _file_status(settings.database_path), tuple(_look_at_file(settings.database_path))
    async with postgres.connected(settings.postgres_url) as connection:
        found = (*await server.findings(connection), await server.takes_writes(connection))
        return await _server_status(connection), found


def _state(
    engine: str, version: str, ours: tuple[Migration, ...], applied: Iterable[tuple[Step, str, str]]
) -> SchemaState:
    there = {step: (checksum, at) for step, checksum, at in applied}
    steps = [
        StepState(one.step, one.step in there, there.get(one.step, ("", ""))[1], altered=_altered(one, there))
        for one in ours
    ]
    names = {one.step for one in ours}
    steps += [StepState(step, True, at, known=False) for step, (_, at) in sorted(there.items()) if step not in names]
    return SchemaState(engine, version, tuple(steps), unfit(ours, there))


def _altered(one: Migration, there: dict[Step, tuple[str, str]]) -> bool:
    return one.step in there and there[one.step][0] != one.checksum


def _file_status(path: Path) -> SchemaState:
    if not path.exists():
        raise NotFound("CD7030", "There is no data here.", where=str(path), remedy="Name the directory with --dir.")
    with sqlite.as_it_is(path) as connection:
        return _state("sqlite", apsw.sqlite_lib_version(), known(sqlite.PACKAGE), sqlite.applied(connection))


@contextmanager
def _own(path: Path) -> Iterator[None]:
    """Nobody else has the file open meanwhile; Unavailable (CD5005) where a server has."""
    files.prepare(path)
    lock = files.OwnerLock(path.with_name(path.name + ".lock"))
    lock.take()
    try:
        files.write_wal_anew(files.LOCAL, path)
        yield
    finally:
        lock.give_up()


def _migrate_file(path: Path, phases: Collection[Phase], say: Callable[[str], None]) -> None:
    with _own(path):
        sqlite.open_writer(path, phases, say).close()


def _look_at_file(path: Path) -> list[Finding]:
    with _own(path), sqlite.as_it_is(path) as connection:
        return [*sqlite.findings(connection, path), sqlite.integrity(connection)]
