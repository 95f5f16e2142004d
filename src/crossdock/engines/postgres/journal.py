"""The journal on PostgreSQL: `journal.port.Journal`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from crossdock.engines.postgres.append import Call, append_group, stores_of
from crossdock.engines.postgres.marks import Look, Marks
from crossdock.engines.postgres.news import News
from crossdock.engines.postgres.pool import Pool
from crossdock.engines.postgres.together import More, Together
from crossdock.engines.rows import KnownKeys
from crossdock.journal.port import ConflictRecord, Moved
from crossdock.model.entry import Appended, Draft, Entry, Kept
from crossdock.model.errors import CrossdockError
from crossdock.model.ids import START, EventId, Position, StoreId
from crossdock.model.lane import Gate
from crossdock.model.limits import GROUP_COMMIT_ENTRIES_MAX, PENDING_APPENDS_MAX


class PostgresJournal:
    def __init__(self, pool: Pool, news: News) -> None:
        self._pool = pool
        self._news = news
        self._known = KnownKeys()
        self._marks = Marks()
        self._appends: Together[Call, list[Appended]] = Together(
            self._append,
            lambda call: len(call.drafts),
            weight_max=GROUP_COMMIT_ENTRIES_MAX,
            pending_max=PENDING_APPENDS_MAX,
        )

    async def close(self) -> None:
        await self._appends.close()

    async def append(self, drafts: Sequence[Draft]) -> list[Appended]:
        return await self.append_at(drafts, {})

    async def append_at(self, drafts: Sequence[Draft], epochs: Mapping[StoreId, int]) -> list[Appended]:
        """`append`, refused (Unavailable CD5024) where a store's home has another epoch than the caller believes."""
        return await self._appends.call(Call(drafts, epochs)) if drafts else []

    async def _append(self, first: Sequence[Call], more: More[Call]) -> Sequence[list[Appended] | BaseException]:
        """One transaction for all calls; one each if something in them cannot be written, so that it fails alone."""
        calls = list(first)
        try:
            answers: Sequence[list[Appended] | BaseException] = await self._commit(calls, more)
        except CrossdockError:
            raise
        except Exception as error:  # noqa: BLE001  # what the server would not take of one call's data
            if len(calls) == 1:
                return [error]
            return [await self._alone(call) for call in calls]
        # Not in this call: what a listener makes of it changes nothing about the answers.
        asyncio.get_running_loop().call_soon(self._tell, calls, answers)
        return answers

    async def _alone(self, call: Call) -> list[Appended] | BaseException:
        """What befalls one of them does not take back what the others were promised."""
        try:
            (answer,) = await self._append([call], nobody)
        except CrossdockError as error:
            return error
        return answer

    async def _commit(self, calls: list[Call], more: More[Call]) -> Sequence[list[Appended] | BaseException]:
        async with self._pool.writes(stores_of(calls)) as unit:
            return await append_group(unit, calls, lambda stores: more(lambda call: stores_of([call]) <= stores))

    def _tell(self, calls: Sequence[Call], answers: Sequence[list[Appended] | BaseException]) -> None:
        news: set[StoreId] = set()
        for call, answered in zip(calls, answers, strict=True):
            if isinstance(answered, BaseException):
                continue
            for draft, answer in zip(call.drafts, answered, strict=True):
                if isinstance(answer, Kept):
                    news.add(draft.store)
                self._known.learn(draft, answer)
        if news:
            self._news.tell(frozenset(news))

    async def read(self, store: StoreId, after: Position, limit: int) -> list[Entry]:
        async with self._pool.reads([store]) as unit:
            return [Entry(*row) for row in await unit.rows("entries_after", store, after, limit)]

    async def entry(self, store: StoreId, position: Position) -> Entry | None:
        async with self._pool.reads([store]) as unit:
            return next((Entry(*row) for row in await unit.rows("entry", store, position)), None)

    async def find(self, store: StoreId, event_id: EventId) -> list[Entry]:
        async with self._pool.reads([store]) as unit:
            return [Entry(*row) for row in await unit.rows("entries_of_event", store, event_id)]

    async def head(self, store: StoreId) -> Position:
        async with self._pool.reads([store]) as unit:
            return next((Position(row[0]) for row in await unit.rows("head", store)), START)

    async def moved(self, mark: int | None) -> Moved:
        """Marks are seconds of the server's clock (`marks`)."""
        async with self._pool.reads_across("journals") as unit:
            (look,) = await unit.rows("look")
            rows = [] if mark is None else await unit.rows("moved", mark)
        next_mark, whole = self._marks.next(Look(*look))
        return Moved({row[0]: row[1] for row in rows}, next_mark, whole and mark is not None)

    def known_subject_key(self, store: StoreId, ref: bytes) -> bytes | None:
        return self._known.get(store, ref)

    async def subject_key(self, store: StoreId, ref: bytes) -> bytes | None:
        known = self._known.get(store, ref)
        if known is not None:
            return known
        async with self._pool.reads([store]) as unit:
            for (wrapped,) in await unit.rows("subject_key", store, ref):
                self._known.remember(store, ref, wrapped)
                return bytes(wrapped)
        return None

    async def conflicts(self, store: StoreId, limit: int) -> list[ConflictRecord]:
        async with self._pool.reads([store]) as unit:
            return [ConflictRecord(*row) for row in await unit.rows("conflicts", store, limit)]

    async def gate(self, store: StoreId, state: Gate, epoch: int | None = None) -> None:
        async with self._pool.writes([store]) as unit:
            await unit.run("set_gate", store, state, epoch)
        if state is Gate.SHUT:
            # Settles and changes that found it open end before this returns; later ones find it shut.
            async with self._pool.writes([store]) as unit:
                await unit.rows("await_settles", store)
                await unit.rows("await_changes", store)
        if state is Gate.OPEN:
            self._news.tell(frozenset({store}))

    def on_news(self, listener: Callable[[frozenset[StoreId]], None]) -> None:
        self._news.on_news(listener)


def nobody(_: Callable[[Call], bool]) -> list[Call]:
    """No call joins a group of one that is written apart."""
    return []
