"""Events written in the application's own database transaction, and relayed later: a sale never waits for Crossdock.

    outbox.add(connection, store, event)     in the transaction of the sale: both are kept, or neither
    outbox.relay(crossdock)                  later, in another process or thread: publish, then delete

At least once with a stable id: the id is made when the event is added, so a relay that dies between publishing and
deleting only repeats, and Crossdock keeps the repeated one once. No transaction is open while a relay waits for the
network: it claims rows for `lease_seconds`, publishes, and deletes. Several relays may run; on PostgreSQL they pass
over each other's rows (FOR UPDATE SKIP LOCKED), on SQLite they take turns at the write lock. With one relay events
leave in the order of their sequence numbers; with several only nearly so.

Any DB-API 2.0 module for SQLite or PostgreSQL will do (sqlite3, psycopg, psycopg2, pg8000).
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal, Protocol, TypeAlias

from crossdock.client.events import Receipt
from crossdock.client.problems import ClientError, Problem, Unavailable, Unreachable
from crossdock.client.stamp import stamped

Dialect: TypeAlias = Literal["sqlite", "postgresql"]
Row: TypeAlias = "tuple[int, str, str, dict[str, Any]]"

EVENTS_DEFAULT = 200
LEASE_SECONDS_DEFAULT = 60
NOT_THE_EVENTS_FAULT = {401, 408, 425, 429}
"""Refusals that say nothing about the event: it waits. Every other 4xx sets it aside."""


class OutboxError(ClientError):
    """CD7023: the outbox cannot be used like this."""

    code = "CD7023"


class Publisher(Protocol):
    """What a relay needs: `Crossdock` is one."""

    def publish(
        self, store: str, events: Sequence[Mapping[str, Any]], *, within_seconds: float | None = None
    ) -> list[Receipt]: ...


@dataclass(frozen=True, slots=True)
class Relayed:
    """What one round did. `waiting_for` says why the rest waits ('' when nothing hinders)."""

    published: int = 0
    set_aside: int = 0
    waiting_for: str = ""


@dataclass(frozen=True, slots=True)
class Backlog:
    waiting: int
    set_aside: int


@dataclass(frozen=True, slots=True)
class SetAside:
    """An event that Crossdock refused, with the problem's code. `Outbox.put_back` sends all of them again."""

    seq: int
    store: str
    event_id: str
    code: str
    why: str


def dialect_of(connection: Any) -> Dialect:
    """By the module of the connection's class, looking through wrappers that show their `driver_connection`."""
    inner = getattr(connection, "driver_connection", connection)
    module = type(inner).__module__.split(".")[0]
    if module in ("sqlite3", "pysqlite3"):
        return "sqlite"
    if module.startswith(("psycopg", "pg8000", "psycopg2")):
        return "postgresql"
    raise OutboxError(f"CD7023 A connection of {module} is not known here: give the dialect.")


def statements(dialect: Dialect) -> dict[str, str]:
    """The named statements of one dialect."""
    text = files("crossdock.client").joinpath(f"outbox_{dialect}.sql").read_text(encoding="utf-8")
    parts = (part.partition("\n") for part in text.split("-- name: ")[1:])
    return {name.strip(): body.strip() for name, _, body in parts}


def create_table_sql(dialect: Dialect) -> str:
    """The table, for the application's own migrations."""
    return statements(dialect)["create"]


class Outbox:
    """`connect` opens a connection of the application's database, for the relay; `add` uses the one it is given."""

    def __init__(
        self,
        connect: Callable[[], Any],
        *,
        dialect: Dialect | None = None,
        source: str = "/core",
        lease_seconds: int = LEASE_SECONDS_DEFAULT,
    ) -> None:
        self._connect = connect
        self._dialect = dialect
        self._source = source
        self._lease_seconds = lease_seconds
        self._sql: dict[Dialect, dict[str, str]] = {}

    def create_table(self) -> None:
        """For tests and small applications; others put `create_table_sql` into a migration."""
        with self._session() as (connection, sql):
            for statement in sql["create"].split(";\n"):
                _run(connection, statement)

    def add(self, connection: Any, store: str, event: Mapping[str, Any]) -> str:
        """Writes the event in the transaction that is open on `connection`, and returns its id. Never commits.

        Raises InvalidEvent before anything is written, and OutboxError where the connection would commit by itself.
        """
        if _commits_by_itself(connection):
            raise OutboxError("CD7023 No transaction is open: the event would be kept even if the sale is not.")
        whole = stamped(event, self._source)
        text = json.dumps(whole, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        _run(connection, self._statements(connection)["add"], (store, whole["id"], text))
        return str(whole["id"])

    def backlog(self) -> Backlog:
        with self._session() as (connection, sql):
            ((waiting, aside),) = _run(connection, sql["count"], rows=True)
        return Backlog(int(waiting), int(aside))

    def set_aside(self, limit: int = 100) -> list[SetAside]:
        """The events that were refused, the oldest first."""
        with self._session() as (connection, sql):
            return [SetAside(*row) for row in _run(connection, sql["refused"], (limit,), rows=True)]

    def put_back(self) -> None:
        """All that were set aside wait again, at their old places."""
        with self._session() as (connection, sql):
            _run(connection, sql["put_back"])

    def relay(self, client: Publisher, *, events_max: int = EVENTS_DEFAULT, name: str | None = None) -> Relayed:
        """One round: claims at most `events_max` events in order, publishes them store by store, deletes what is kept.

        A relay with a `name` of its own takes up at once what it had claimed before it died; without a name that
        comes up again when the lease is over.
        """
        relay = name or secrets.token_hex(8)
        rows = self._claim(relay, events_max)
        published = aside = 0
        waiting_for = ""
        for store in dict.fromkeys(row[1] for row in rows):
            done, refused, waiting_for = self._send(client, store, [row for row in rows if row[1] == store])
            published += done
            aside += refused
            if waiting_for:
                break
        if waiting_for:
            with self._session() as (connection, sql):
                _run(connection, sql["release"], (relay,))
        return Relayed(published, aside, waiting_for)

    def run(
        self,
        client: Publisher,
        *,
        stop: Callable[[], bool],
        sleep: Callable[[float], object] = time.sleep,
        idle_seconds: float = 0.5,
        name: str | None = None,
    ) -> None:
        """Relays until `stop` says so, resting for `idle_seconds` when there is nothing to do or Crossdock is away.
        `sleep` may be the `wait` of a threading.Event, so that stopping is prompt."""
        relay = name or secrets.token_hex(8)
        while not stop():
            done = self.relay(client, name=relay)
            if done.waiting_for or not (done.published or done.set_aside):
                sleep(idle_seconds)

    def _claim(self, relay: str, events_max: int) -> list[Row]:
        with self._session() as (connection, sql):
            found = _run(connection, sql["claim"], (relay, self._lease_seconds, relay, events_max), rows=True)
        return sorted((int(seq), str(store), str(name), json.loads(event)) for seq, store, name, event in found)

    def _send(self, client: Publisher, store: str, rows: list[Row]) -> tuple[int, int, str]:
        """(published, set aside, why the rest waits). A refused batch is tried one by one, to find what is refused."""
        try:
            client.publish(store, [row[3] for row in rows], within_seconds=self._lease_seconds / 2)
        except (Unreachable, Unavailable) as error:
            return 0, 0, str(error)
        except Problem as problem:
            if problem.status in NOT_THE_EVENTS_FAULT:
                return 0, 0, str(problem)
            if len(rows) == 1:
                self._put_aside(rows[0], problem)
                return 0, 1, ""
        else:
            with self._session() as (connection, sql):
                for row in rows:
                    _run(connection, sql["delete"], (row[0],))
            return len(rows), 0, ""
        return self._send_singly(client, store, rows)

    def _send_singly(self, client: Publisher, store: str, rows: list[Row]) -> tuple[int, int, str]:
        published = aside = 0
        for row in rows:
            done, refused, waiting_for = self._send(client, store, [row])
            published, aside = published + done, aside + refused
            if waiting_for:
                return published, aside, waiting_for
        return published, aside, ""

    def _put_aside(self, row: Row, problem: Problem) -> None:
        with self._session() as (connection, sql):
            why = " ".join((problem.title, *problem.pointers))
            _run(connection, sql["set_aside"], (problem.code or f"HTTP {problem.status}", why, row[0]))

    def _statements(self, connection: Any) -> dict[str, str]:
        dialect = self._dialect or dialect_of(connection)
        if dialect not in self._sql:
            self._sql[dialect] = statements(dialect)
        return self._sql[dialect]

    @contextmanager
    def _session(self) -> Iterator[tuple[Any, dict[str, str]]]:
        """One short transaction on a connection of our own."""
        connection = self._connect()
        try:
            yield connection, self._statements(connection)
            connection.commit()
        except BaseException:
            connection.rollback()
            raise
        finally:
            connection.close()


def _run(connection: Any, statement: str, values: Sequence[Any] = (), *, rows: bool = False) -> list[Any]:
    cursor = connection.cursor()
    try:
        cursor.execute(statement, tuple(values))
        return list(cursor.fetchall()) if rows else []
    finally:
        cursor.close()


def _commits_by_itself(connection: Any) -> bool:
    """An autocommit connection without an open transaction keeps each statement at once."""
    inner = getattr(connection, "driver_connection", connection)
    if dialect_of(connection) == "sqlite":
        own = getattr(inner, "isolation_level", "") is None or getattr(inner, "autocommit", -1) is True
        return own and not inner.in_transaction
    info = getattr(inner, "info", None)
    idle = info is None or int(info.transaction_status) == 0
    return bool(getattr(inner, "autocommit", False)) and idle
