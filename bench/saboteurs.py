"""Planted faults: `python -m bench.saboteurs NAME serve ...` serves Crossdock with one of them in it.

Each must turn its promise red. Nothing of this is part of the package.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import apsw
import asyncpg

from crossdock.cli.main import main
from crossdock.delivery import fairness, pace, sending
from crossdock.drivers import webhook
from crossdock.engines.postgres.append import Call, append_group
from crossdock.engines.postgres.journal import PostgresJournal
from crossdock.engines.sqlite.writer import Outcome, Unit, Writer
from crossdock.ingest import accept
from crossdock.ingest.sealing import Packed, Packer
from crossdock.journal.port import Journal
from crossdock.model.attempt import Answer, Settle
from crossdock.model.entry import Appended, Duplicate
from crossdock.model.errors import CrossdockError
from crossdock.stores import authority

OWED: set[asyncio.Task[None]] = set()


def ack_before_commit() -> None:
    """Answers an append first and commits a moment later, on either engine."""

    def write(self: Any, units: Sequence[Unit]) -> list[Outcome]:
        appends, others = [one for one in units if one.work is None], [one for one in units if one.work is not None]
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            outcomes = self._together(appends) + [self._alone(unit) for unit in others]
            early = [one for one in outcomes if one.unit.drafts]
            self._worker.tell(self._answer, early)
            time.sleep(0.05 if early else 0)
            self._connection.execute("COMMIT")
        except apsw.Error as error:
            raise SystemExit(str(error)) from error
        return [one for one in outcomes if not one.unit.drafts]

    async def commit(self: Any, calls: list[Call], _: Any) -> Any:
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def later() -> None:
            try:
                async with self._pool.writes(draft.store for call in calls for draft in call.drafts) as unit:
                    answered.set_result(await append_group(unit, calls))
                    await asyncio.sleep(0.05)
            except (CrossdockError, asyncpg.PostgresError, OSError) as error:
                if not answered.done():  # what was answered already is lost without a word: that is the fault
                    answered.set_exception(error)

        OWED.add(asyncio.create_task(later()))
        return await answered

    Writer._write = write  # type: ignore[method-assign]
    PostgresJournal._commit = commit  # type: ignore[method-assign]


def forget_on_second_try() -> None:
    """Calls an event delivered at its second try, whatever the far end said."""
    honest = sending.decide

    def decide(answer: Answer, *, attempt: int, **rest: Any) -> Any:
        return Settle() if attempt > 1 else honest(answer, attempt=attempt, **rest)

    sending.decide = decide  # type: ignore[attr-defined]


def one_store_for_all() -> None:
    """A token of one store is good for all of them."""
    authority.allow = lambda *_: True
    authority.reaches = lambda *_: True


def new_id_per_attempt() -> None:
    """Every try carries an id of its own."""
    webhook.message_id = lambda parcel: f"{parcel.event_id}-{secrets.token_hex(4)}"


def one_pool() -> None:
    """One queue and one pool of 24 senders for all: who comes first takes what it wants, and has it while it hangs."""
    pool = 24

    def in_order(self: Any, able: Callable[[Any], bool]) -> tuple[Any, int] | None:
        found = next((key for key in self._deficits if able(key)), None)
        return None if found is None else (found, 1_000)

    def take(self: Any, store: Any, connection: Any, wanted: int) -> int:
        self._add(store, connection, wanted)
        return wanted

    fairness.Caps.take = take  # type: ignore[method-assign]
    fairness.RoundRobin.next = in_order  # type: ignore[method-assign]
    fairness.Caps.sort = lambda *_: None  # type: ignore[method-assign]
    fairness.Caps.room = lambda self, *_: pool - self.total  # type: ignore[method-assign]
    fairness.Caps.store_room = lambda self, _: pool - self.total  # type: ignore[method-assign]
    fairness.Caps.free = lambda self, _: pool - self.total  # type: ignore[method-assign]
    pace.CONCURRENCY_FIRST = pool  # type: ignore[attr-defined]


def select_then_insert() -> None:
    """Looks whether the event is there, and inserts if not, in two steps."""

    async def keep(journal: Journal, packer: Packer, packed: list[Packed]) -> list[Appended]:
        answers: list[Appended] = []
        for one in packed:
            found = await journal.find(one.draft.store, one.draft.event_id)
            if found:
                answers.append(Duplicate(found[0].position, found[0].event_id, found[0].correlation_id))
                continue
            draft = replace(one.draft, dedupe_key=one.draft.dedupe_key + secrets.token_hex(4), personal=None)
            answers += await journal.append([replace(draft, subject_ref=None, subject_key=None)])
        return answers

    accept.keep = keep  # type: ignore[attr-defined]


SABOTEURS: dict[str, Callable[[], None]] = {
    "ack-before-commit": ack_before_commit,
    "forget-on-second-try": forget_on_second_try,
    "new-id-per-attempt": new_id_per_attempt,
    "one-pool": one_pool,
    "one-store-for-all": one_store_for_all,
    "select-then-insert": select_then_insert,
}

if __name__ == "__main__":
    SABOTEURS[sys.argv.pop(1)]()
    main()
