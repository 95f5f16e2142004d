"""Planted faults of the embedded engine, for the simulated disk: each answers for what the disk does not hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any

import apsw

from crossdock.engines.sqlite import database, files
from crossdock.engines.sqlite.writer import Outcome, Unit, Writer

STEPS_LATE = 4  # of the loop, between the answer and its commit


@contextmanager
def synchronous(mode: str) -> Iterator[None]:
    """Commits are synced by checkpoints (NORMAL), or never (OFF). The engine, which refuses to start so, is lied to."""
    settings, number = database._SETTINGS, database.number
    database._SETTINGS = tuple(one.replace("= FULL", f"= {mode}") for one in settings)  # type: ignore[assignment]
    database.number = lambda connection, name: 2 if name == "synchronous" else number(connection, name)
    try:
        yield
    finally:
        database._SETTINGS, database.number = settings, number


@contextmanager
def writing(write: Callable[[Any, Sequence[Unit]], list[Outcome]]) -> Iterator[None]:
    honest = Writer._write
    Writer._write = write  # type: ignore[method-assign]
    try:
        yield
    finally:
        Writer._write = honest  # type: ignore[method-assign]


def written(writer: Any, units: Sequence[Unit]) -> list[Outcome]:
    """The units in a transaction that is open still."""
    appends, others = [one for one in units if one.work is None], [one for one in units if one.work is not None]
    writer._connection.execute("BEGIN IMMEDIATE")
    return [*writer._together(appends), *(writer._alone(unit) for unit in others)]


def answering_early(writer: Any, units: Sequence[Unit]) -> list[Outcome]:
    """Answers, and commits a few steps of the loop later."""
    commit(writer)
    outcomes = written(writer, units)
    writer._wal_pages = 0  # no checkpoint within the transaction
    later(STEPS_LATE, partial(commit, writer))
    return outcomes


def commit(writer: Any) -> None:
    with suppress(apsw.Error):  # the power may be gone: then nobody hears of it, which is the fault
        if writer._connection.in_transaction:
            writer._connection.execute("COMMIT")


def later(steps: int, work: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(partial(later, steps - 1, work) if steps else work)


def swallowing(writer: Any, units: Sequence[Unit]) -> list[Outcome]:
    """Answers as if the disk had not failed."""
    outcomes = written(writer, units)
    try:
        writer._connection.execute("COMMIT")
    except apsw.IOError:
        writer._undo()
    return outcomes


def going_on(writer: Any, units: Sequence[Unit]) -> list[Outcome]:
    """Refuses what met the error, and takes work again."""
    outcomes = HONEST_WRITE(writer, units)
    writer._failed = ""
    return outcomes


HONEST_WRITE = Writer._write


@contextmanager
def trusting_the_wal() -> Iterator[None]:
    """A start reads what a dead process left, synced or not."""
    honest = files.write_wal_anew
    files.write_wal_anew = lambda place, path: None
    try:
        yield
    finally:
        files.write_wal_anew = honest


LAX: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    "": nullcontext,
    "synchronous=NORMAL": partial(synchronous, "NORMAL"),
    "synchronous=OFF": partial(synchronous, "OFF"),
    "ack-before-commit": partial(writing, answering_early),
    "swallow-EIO": partial(writing, swallowing),
    "go-on-after-EIO": partial(writing, going_on),
    "trust-the-WAL": trusting_the_wal,
}
