"""The journals of several cells as one: `journal.port.Journal`, each call at the store's home."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from crossdock.engines.cells.directory import Home
from crossdock.engines.cells.homes import Homes
from crossdock.engines.cells.marks import Marks
from crossdock.engines.postgres.engine import PostgresEngine
from crossdock.journal.port import ConflictRecord, Moved
from crossdock.model.entry import Appended, Draft, Entry
from crossdock.model.ids import EventId, Position, StoreId
from crossdock.model.lane import Gate


class CellsJournal:
    def __init__(self, homes: Homes) -> None:
        self._homes = homes
        self._marks = Marks()

    async def append(self, drafts: Sequence[Draft]) -> list[Appended]:
        """Bug (CD5027) for drafts of stores in several cells: they could not be kept whole or not at all."""
        if not drafts:
            return []
        stores = {draft.store for draft in drafts}
        await self._homes.one_cell(stores)

        async def call(engine: PostgresEngine, _: Home | None) -> list[Appended]:
            homes = await self._homes.among(stores)
            return await engine.journal.append_at(drafts, {store: home.epoch for store, home in homes.items()})

        return await self._homes.at_home(drafts[0].store, call)

    async def read(self, store: StoreId, after: Position, limit: int) -> list[Entry]:
        return await self._homes.at_home(store, lambda engine, _: engine.journal.read(store, after, limit))

    async def entry(self, store: StoreId, position: Position) -> Entry | None:
        return await self._homes.at_home(store, lambda engine, _: engine.journal.entry(store, position))

    async def find(self, store: StoreId, event_id: EventId) -> list[Entry]:
        return await self._homes.at_home(store, lambda engine, _: engine.journal.find(store, event_id))

    async def head(self, store: StoreId) -> Position:
        return await self._homes.at_home(store, lambda engine, _: engine.journal.head(store))

    async def moved(self, mark: int | None) -> Moved:
        """`whole` only if every cell can say what moved, and is heard."""
        async with self._marks.turn:
            before = {} if mark is None else self._marks.places(mark)
            answers = await self._homes.reachable(lambda name, engine: engine.journal.moved(before.get(name)))
            heads: dict[StoreId, Position] = {}
            for name, answer in answers.items():
                here = await self._homes.lives_in(name, list(answer.heads))
                heads |= {store: head for store, head in answer.heads.items() if store in here}
            places = {**before, **{name: answer.mark for name, answer in answers.items()}}
            whole = len(answers) == len(self._homes.cells) and all(answer.whole for answer in answers.values())
            return Moved(heads, self._marks.number(places), whole)

    async def gate(self, store: StoreId, state: Gate, epoch: int | None = None) -> None:
        """A store's place is changed by a move alone (`crossdock store move`)."""
        await self._homes.at_home(store, lambda engine, _: engine.journal.gate(store, state, epoch))

    def known_subject_key(self, store: StoreId, ref: bytes) -> bytes | None:
        home = self._homes.known(store)
        name = self._homes.first if home is None else home.cell
        engine = self._homes.cells.get(name)
        return None if engine is None else engine.journal.known_subject_key(store, ref)

    async def subject_key(self, store: StoreId, ref: bytes) -> bytes | None:
        return await self._homes.at_home(store, lambda engine, _: engine.journal.subject_key(store, ref))

    async def conflicts(self, store: StoreId, limit: int) -> list[ConflictRecord]:
        return await self._homes.at_home(store, lambda engine, _: engine.journal.conflicts(store, limit))

    def on_news(self, listener: Callable[[frozenset[StoreId]], None]) -> None:
        for engine in self._homes.cells.values():
            engine.journal.on_news(listener)
