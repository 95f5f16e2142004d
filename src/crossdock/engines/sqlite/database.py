"""Opening the database file: its settings, its schema, and whether it can be trusted with what is acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from crossdock.engines.migrations import Phase, Step, known, to_do, unfit
from crossdock.engines.sqlite import files
from crossdock.model.errors import Unavailable
from crossdock.stores.port import Finding

PACKAGE = "crossdock.engines.sqlite"
APPLICATION_ID = 0x43524F53  # "CROS"
LAYOUT = 1
"""The file's user_version. The first release takes no file with another one, so it rises only with a `post` migration
that this release's predecessors cannot live with."""
MIGRATIONS = """
CREATE TABLE IF NOT EXISTS migrations (
    number INTEGER NOT NULL,
    phase TEXT NOT NULL,
    checksum TEXT NOT NULL,
    at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    PRIMARY KEY (number, phase)
) WITHOUT ROWID, STRICT
"""
SQLITE_VERSION_MIN = (3, 51, 3)  # earlier ones can corrupt a WAL database (the WAL-reset bug)
BUSY_MS = 5_000
CACHE_KIB = 64 * 1024
PAGE_BYTES = 8_192

_SETTINGS = (
    f"PRAGMA busy_timeout = {BUSY_MS}",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",
    "PRAGMA trusted_schema = OFF",
    f"PRAGMA cache_size = -{CACHE_KIB}",
    # The writer checkpoints itself, between two commits.
    "PRAGMA wal_autocheckpoint = 0",
)


def open_writer(
    path: Path,
    phases: Collection[Phase] = (Phase.PRE,),
    say: Callable[[str], None] = lambda _: None,
    vfs: str = "",
) -> apsw.Connection:
    """A connection that may write, to a file that has the phases' migrations. Unavailable (CD5004) for a file that is
    not ours, or newer than this program. `say` hears of each migration. `vfs` names SQLite's way to the disk, '' the
    usual one."""
    with trusting(path, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE, vfs) as connection:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        _settle(connection)
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        for step in migrate(connection, phases):
            say(f"applied {step}")
    return connection


@contextmanager
def trusting(path: Path, flags: int, vfs: str = "") -> Iterator[apsw.Connection]:
    """A connection that is closed when the block fails. Unavailable (CD5004) for what SQLite cannot read."""
    try:
        connection = apsw.Connection(str(path), flags=flags, vfs=vfs or None)
    except apsw.Error as error:
        raise unsafe("The database cannot be opened.") from error
    try:
        yield connection
    except apsw.Error as error:
        leave_as_it_is(connection)
        connection.close()
        raise unsafe("The database cannot be opened as SQLite.") from error
    except BaseException:
        connection.close()
        raise


def leave_as_it_is(connection: apsw.Connection) -> None:
    """For a disk that failed: closing writes and syncs nothing. A second sync would say that all is well, and what the
    first one lost would be missing from under what SQLite then writes; the next start reads the WAL again."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)


@contextmanager
def as_it_is(path: Path) -> Iterator[apsw.Connection]:
    """A file to look at, with the writer's settings: nothing is made, migrated or set right. Unavailable (CD5004) for
    one that is not ours, or of a layout that this release does not know."""
    with trusting(path, apsw.SQLITE_OPEN_READWRITE) as connection:
        _settle(connection)
        refuse_foreign(connection)
        yield connection
        connection.close()


def _settle(connection: apsw.Connection) -> None:
    for setting in _SETTINGS:
        connection.execute(setting).fetchall()


def open_reader(path: Path, vfs: str = "") -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs or None)
    for setting in ("PRAGMA query_only = ON", f"PRAGMA busy_timeout = {BUSY_MS}", "PRAGMA trusted_schema = OFF"):
        connection.execute(setting).fetchall()
    return connection


def number(connection: apsw.Connection, pragma: str) -> int:
    return int(connection.pragma(pragma))


def migrate(connection: apsw.Connection, phases: Collection[Phase] = (Phase.PRE,)) -> list[Step]:
    """Applies what is missing of the phases, each migration in a transaction of its own; what was applied. One process
    owns the file, so that it brings its `pre` ones in by itself.

    Unavailable (CD5004) for a file that is not ours, or that a later release has taken something away from."""
    refuse_foreign(connection)
    ours = known(PACKAGE)
    there = {one for one, _, _ in applied(connection)}
    missing = to_do(ours, there, phases)
    why = unfit(ours, there | {one.step for one in missing})
    if why:
        raise unsafe(why)
    for one in missing:
        with connection:
            connection.execute(one.text)
            connection.execute(MIGRATIONS)
            note = (one.step.number, one.step.phase, one.checksum)
            connection.execute("INSERT INTO migrations (number, phase, checksum) VALUES (?, ?, ?)", note)
            connection.execute(f"PRAGMA user_version = {LAYOUT}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    return [one.step for one in missing]


def refuse_foreign(connection: apsw.Connection) -> None:
    """Unavailable (CD5004) for another program's file, or one of a layout that this release does not know."""
    owner, layout = number(connection, "application_id"), number(connection, "user_version")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()[0][0]
    if owner != APPLICATION_ID and (owner or tables):
        raise unsafe("The file is another program's database.")
    if layout > LAYOUT:
        raise unsafe(f"The database has layout {layout}; this program knows {LAYOUT}.")


def applied(connection: apsw.Connection) -> list[tuple[Step, str, str]]:
    """Step, checksum and when (ISO 8601, UTC; '' where nobody noted it) of each migration that the file has.

    The first release noted none: its files have layout 1 and what 0001_pre makes."""
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'migrations'").fetchall():
        query = "SELECT number, phase, checksum, at FROM migrations ORDER BY number, phase DESC"
        noted = [(Step(row[0], Phase(row[1])), row[2], row[3]) for row in connection.execute(query)]
    else:
        noted = []
    first = Step(1, Phase.PRE)
    if number(connection, "user_version") == LAYOUT and all(step != first for step, _, _ in noted):
        text = next(one.checksum for one in known(PACKAGE) if one.step == first)
        noted.insert(0, (first, text, ""))
    return noted


def unsafe(what: str) -> Unavailable:
    return Unavailable("CD5004", what, remedy="See `crossdock doctor`; nothing is served before it is set right.")


def findings(connection: apsw.Connection, path: Path, place: files.FileSystem = files.LOCAL) -> list[Finding]:
    """What holds and what does not, each with its code."""
    version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    kind = place.kind(path)
    return [
        Finding(
            code="CD5010",
            ok=version >= SQLITE_VERSION_MIN,
            fatal=version < SQLITE_VERSION_MIN,
            what=f"SQLite is {apsw.sqlite_lib_version()}.",
            remedy="Install apsw 3.51.3 or later.",
        ),
        _durability(connection),
        Finding(
            code="CD5012",
            ok=kind not in NETWORK,
            fatal=kind in NETWORK,
            what=f"The database lies on {kind or 'a filesystem of unknown type'}.",
            remedy="Move it to a local disk.",
        ),
        Finding(
            code="CD5013",
            ok=not place.open_to_others(path),
            fatal=False,
            what="Who may read the database file and its directory.",
            remedy="chmod 600 the file and 700 its directory.",
        ),
    ]


NETWORK = files.NETWORK_FILESYSTEMS


def _durability(connection: apsw.Connection) -> Finding:
    mode, synchronous = str(connection.pragma("journal_mode")), number(connection, "synchronous")
    ok = mode == "wal" and synchronous >= 2 and number(connection, "foreign_keys") == 1
    return Finding(
        code="CD5011",
        ok=ok,
        fatal=not ok,
        what=f"journal_mode is {mode}, synchronous {synchronous} (2 is FULL).",
        remedy="Put the database on a filesystem where SQLite can use WAL.",
    )


def integrity(connection: apsw.Connection) -> Finding:
    """SQLite's own quick check. It reads the whole file."""
    problems = [str(row[0]) for row in connection.execute("PRAGMA quick_check(1)")]
    ok = problems == ["ok"]
    return Finding(
        code="CD5014",
        ok=ok,
        fatal=not ok,
        what="The file's structure is whole." if ok else "The file's structure is damaged.",
        remedy="Restore the last backup.",
    )
