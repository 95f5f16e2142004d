"""Opening the database file: its settings, its schema, and whether it can be trusted with what is acknowledged."""

from __future__ import annotations

from pathlib import Path

import apsw

from crossdock.engines.sqlite import files
from crossdock.engines.sqlite.statements import migrations
from crossdock.model.errors import Unavailable
from crossdock.stores.port import Finding

APPLICATION_ID = 0x43524F53  # "CROS"
SQLITE_VERSION_MIN = (3, 51, 3)  # earlier ones can corrupt a WAL database (the WAL-reset bug)
BUSY_MS = 5_000
CACHE_KIB = 64 * 1024
PAGE_BYTES = 8_192

_SETTINGS = (
    f"PRAGMA busy_timeout = {BUSY_MS}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",
    "PRAGMA trusted_schema = OFF",
    f"PRAGMA cache_size = -{CACHE_KIB}",
    # The writer checkpoints itself, between two commits.
    "PRAGMA wal_autocheckpoint = 0",
)


def open_writer(path: Path) -> apsw.Connection:
    """A connection that may write. Unavailable (CD5004) for a file that is not ours, or newer than this program."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
    try:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        for setting in _SETTINGS:
            connection.execute(setting).fetchall()
        migrate(connection)
    except apsw.Error as error:
        connection.close()
        raise unsafe("The database cannot be opened as SQLite.") from error
    except Unavailable:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    for setting in ("PRAGMA query_only = ON", f"PRAGMA busy_timeout = {BUSY_MS}", "PRAGMA trusted_schema = OFF"):
        connection.execute(setting).fetchall()
    return connection


def number(connection: apsw.Connection, pragma: str) -> int:
    return int(connection.pragma(pragma))


def migrate(connection: apsw.Connection) -> None:
    """Brings the schema up to date, each migration in a transaction of its own."""
    steps, version = migrations(), number(connection, "user_version")
    owner = number(connection, "application_id")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()[0][0]
    if owner != APPLICATION_ID and (owner or tables):
        raise unsafe("The file is another program's database.")
    if version > len(steps):
        raise unsafe(f"The database has schema {version}; this program knows {len(steps)}.")
    for done in range(version, len(steps)):
        with connection:
            connection.execute(steps[done])
            connection.execute(f"PRAGMA user_version = {done + 1}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def unsafe(what: str) -> Unavailable:
    return Unavailable("CD5004", what, remedy="See `crossdock doctor`; nothing is served before it is set right.")


def findings(connection: apsw.Connection, path: Path) -> list[Finding]:
    """What holds and what does not, each with its code."""
    version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    kind = files.filesystem(path)
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
            ok=not files.open_to_others(path),
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
