"""The one writer: a worker that takes what waits, writes it in one transaction, commits, and only then answers.

Appends, settles and registry changes queue to it alike. A unit that fails for a reason of its own is undone alone; when
the commit fails, no unit of it is acknowledged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from queue import Empty, SimpleQueue
from typing import Any

import apsw

from crossdock.engines.sqlite.database import leave_as_it_is
from crossdock.engines.sqlite.executor import Executor, Threads
from crossdock.model.entry import Appended, Draft
from crossdock.model.errors import Unavailable
from crossdock.model.limits import GROUP_COMMIT_ENTRIES_MAX, PENDING_APPENDS_MAX

CHECKPOINT_PAGES = 2_000  # 16 MiB of WAL at 8 KiB a page: a start after a crash replays it in well under a second

Work = Callable[[apsw.Connection], Any]
Together = Callable[[apsw.Connection, list[Draft]], list[Appended]]
DISK = (apsw.FullError, apsw.BusyError, apsw.IOError, apsw.CorruptError, apsw.NotADBError, apsw.ReadOnlyError)


@dataclass(frozen=True, slots=True)
class Unit:
    """One call's work: drafts to append, or else something to do. It may run twice (the first run undone)."""

    drafts: Sequence[Draft]
    work: Work | None
    weight: int
    answer: asyncio.Future[Any]
    after: Callable[[Any], None] | None


@dataclass(frozen=True, slots=True)
class Outcome:
    unit: Unit
    result: Any
    error: BaseException | None


class Writer:
    """`submit` on the event loop, everything else in the turns of its worker, which is a thread of its own where the
    executor has threads. `checkpoint_pages`: how long the WAL grows before it is copied into the file."""

    def __init__(
        self,
        connection: apsw.Connection,
        append: Together,
        executor: Executor | None = None,
        checkpoint_pages: int = CHECKPOINT_PAGES,
    ) -> None:
        self._connection = connection
        self._append = append
        self._checkpoint_pages = checkpoint_pages
        self._wal_pages = 0
        connection.set_wal_hook(self._grown)
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[Unit | None] = SimpleQueue()
        self._pending = 0
        self._closing = False
        self._failed = ""
        self._worker = (executor or Threads()).worker(self._turn, self._queue.empty)

    @property
    def failed(self) -> str:
        """Why the writer takes no more work, '' while it does."""
        return self._failed

    async def do(self, work: Work, after: Callable[[Any], None] | None = None) -> Any:
        """What `work` returns, after the commit that holds it. `after` is called on the loop before the answer.

        Unavailable (CD5002) if too much waits or the disk is full, (CD5009) once the disk has failed."""
        return await self._submit((), work, 1, after)

    async def append(self, drafts: Sequence[Draft], after: Callable[[Any], None]) -> list[Appended]:
        """As `do`; drafts of all calls that wait go in together."""
        answers: list[Appended] = await self._submit(drafts, None, len(drafts), after)
        return answers

    async def _submit(
        self, drafts: Sequence[Draft], work: Work | None, weight: int, after: Callable[[Any], None] | None
    ) -> Any:
        if self._failed or self._closing:
            raise Unavailable("CD5009", self._failed or "The engine is closed.")
        # A call that is larger than the bound is taken when nothing else waits.
        if self._pending and self._pending + weight > PENDING_APPENDS_MAX:
            raise Unavailable("CD5002", "Too much is waiting to be written.", retry_after_ms=1_000)
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._pending += weight
        self._queue.put(Unit(drafts, work, weight, answer, after))
        self._worker.wake()
        return await answer

    async def close(self) -> None:
        """Writes what waits, truncates the WAL, and closes the connection."""
        if not self._closing:
            self._closing = True
            self._queue.put(None)
            self._worker.wake()
        await self._worker.ended()

    def _turn(self) -> bool:
        units, going = self._take()
        if units:
            outcomes = self._write(units)
            self._worker.tell(self._answer, outcomes)
            self._checkpoint(apsw.SQLITE_CHECKPOINT_PASSIVE, self._checkpoint_pages)
        if not going:
            self._end()
        return going

    def _end(self) -> None:
        if self._failed or not self._checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE, 0):
            leave_as_it_is(self._connection)
        self._connection.close()

    def _take(self) -> tuple[list[Unit], bool]:
        units: list[Unit] = []
        weight = 0
        unit = self._queue.get()
        while unit is not None:
            units.append(unit)
            weight += unit.weight
            if weight >= GROUP_COMMIT_ENTRIES_MAX:
                return units, True
            try:
                unit = self._queue.get_nowait()
            except Empty:
                return units, True
        return units, False

    def _write(self, units: Sequence[Unit]) -> list[Outcome]:
        if self._failed:
            return refused(units, "CD5009", self._failed, None)
        appends, others = [one for one in units if one.work is None], [one for one in units if one.work is not None]
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            outcomes = self._together(appends) + [self._alone(unit) for unit in others]
            self._connection.execute("COMMIT")
        except (apsw.FullError, apsw.BusyError) as error:
            self._undo()
            return refused(units, "CD5002", "The disk is full, or the database is locked.", error)
        except apsw.Error as error:
            # After a failed fsync the pages may be lost although a second try says otherwise: stop, never guess.
            self._undo()
            self._failed = "The disk failed while writing; nothing more is taken until a restart."
            return refused(units, "CD5009", self._failed, error)
        return outcomes

    def _together(self, units: Sequence[Unit]) -> list[Outcome]:
        """All appends as one; one by one if one of them cannot be written."""
        drafts = [draft for unit in units for draft in unit.drafts]
        answers, error = self._try(lambda connection: self._append(connection, drafts)) if drafts else ([], None)
        if error is not None:
            return [self._alone(unit) for unit in units]
        ends = list(accumulate(len(unit.drafts) for unit in units))
        return [
            Outcome(unit, answers[end - len(unit.drafts) : end], None) for unit, end in zip(units, ends, strict=True)
        ]

    def _alone(self, unit: Unit) -> Outcome:
        work = unit.work or (lambda connection: self._append(connection, list(unit.drafts)))
        return Outcome(unit, *self._try(work))

    def _try(self, work: Work) -> tuple[Any, BaseException | None]:
        """Runs work in a savepoint. What the disk does wrong is raised; any other fault is the work's own, and its
        caller's to hear: the thread must outlive it."""
        self._connection.execute("SAVEPOINT unit")
        try:
            result = work(self._connection)
        except DISK:
            raise
        except Exception as error:  # noqa: BLE001  # handed to the caller whole
            self._connection.execute("ROLLBACK TO unit")
            self._connection.execute("RELEASE unit")
            return None, error
        self._connection.execute("RELEASE unit")
        return result, None

    def _undo(self) -> None:
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except apsw.Error as error:
                self._failed = f"A transaction could not be undone ({type(error).__name__})."

    def _checkpoint(self, mode: int, pages: int) -> bool:
        """Whether the WAL is short enough, or was copied into the file."""
        try:
            if self._wal_pages >= pages:
                self._connection.wal_checkpoint(mode=mode)
                self._wal_pages = 0
        except (apsw.BusyError, apsw.FullError):
            return False  # a reader stands in the way, or there is no room: the next commit tries again
        except apsw.Error as error:
            self._failed = f"A checkpoint failed ({type(error).__name__})."
            return False
        return True

    def _grown(self, connection: apsw.Connection, database: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _answer(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            self._pending -= outcome.unit.weight
            if outcome.error is None and outcome.unit.after is not None:
                outcome.unit.after(outcome.result)
        for outcome in outcomes:
            if outcome.unit.answer.done():
                continue
            if outcome.error is None:
                outcome.unit.answer.set_result(outcome.result)
            else:
                outcome.unit.answer.set_exception(outcome.error)


def refused(units: Sequence[Unit], code: str, what: str, cause: BaseException | None) -> list[Outcome]:
    """Nothing was kept: every waiter hears so, each with an error of its own."""
    outcomes = [Outcome(unit, None, Unavailable(code, what)) for unit in units]
    for outcome in outcomes:
        if outcome.error is not None:
            outcome.error.__cause__ = cause
    return outcomes
