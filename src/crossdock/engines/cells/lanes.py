"""The lanes of several cells as one: `journal.port.Lanes`. Calls for many stores are asked of their cells at once; each
change settles whole or not at all in its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TypeVar

from crossdock.engines.cells.homes import Homes
from crossdock.engines.postgres.engine import PostgresEngine
from crossdock.journal.port import LaneRead, LaneWish
from crossdock.model.attempt import Attempt
from crossdock.model.entry import Entry
from crossdock.model.ids import Instant, LaneId, Position, StoreId
from crossdock.model.lane import Held, HeldState, Lane, LaneChange, Ledger

Ask = TypeVar("Ask")
Got = TypeVar("Got")


class CellsLanes:
    def __init__(self, homes: Homes) -> None:
        self._homes = homes

    async def open_lanes(self, stores: Collection[StoreId] | None = None) -> list[Lane]:
        if stores is None:
            return await self._everywhere(lambda engine: engine.lanes.open_lanes(), lambda lane: lane.id)
        cells = await self._homes.by_cell(stores)
        found = await asyncio.gather(*(self._homes.cells[name].lanes.open_lanes(some) for name, some in cells.items()))
        return sorted((lane for lanes in found for lane in lanes), key=lambda lane: lane.id)

    async def stirring(self, slots: Collection[int]) -> list[LaneId]:
        return await self._everywhere(lambda engine: engine.lanes.stirring(slots), lambda lane: lane)

    async def lane(self, lane: LaneId) -> Lane | None:
        return await self._homes.at_home(lane.store, lambda engine, _: engine.lanes.lane(lane))

    async def read(self, wishes: Sequence[LaneWish], now: Instant) -> list[LaneRead]:
        async def ask(engine: PostgresEngine, some: Sequence[LaneWish]) -> list[LaneRead | None]:
            found = {one.lane.id: one for one in await engine.lanes.read(some, now)}
            return [found.get(wish.lane) for wish in some]

        answers = await self._at_homes(wishes, lambda wish: wish.lane.store, ask, lambda answer: answer is None)
        return [answer for answer in answers if answer is not None]

    async def settle(self, changes: Sequence[LaneChange]) -> list[bool]:
        return await self._at_homes(
            changes,
            lambda change: change.lane.store,
            lambda engine, some: engine.lanes.settle(some),
            lambda done: not done,
        )

    async def ledgers(self, store: StoreId | None = None) -> list[Ledger]:
        """One snapshot of each cell. Of all stores: those of the cells that answer, so that what is measured here does
        not end with one cell."""
        if store is not None:
            return await self._homes.at_home(store, lambda engine, _: engine.lanes.ledgers(store))
        answers = await self._homes.reachable(lambda _, engine: engine.lanes.ledgers())
        found: list[Ledger] = []
        for name, ledgers in answers.items():
            here = await self._homes.lives_in(name, {one.lane.store for one in ledgers})
            found += [one for one in ledgers if one.lane.store in here]
        return sorted(found, key=lambda one: one.lane)

    async def held(
        self, lane: LaneId, state: HeldState | None, after: Position, limit: int
    ) -> list[tuple[Held, Entry]]:
        return await self._homes.at_home(lane.store, lambda engine, _: engine.lanes.held(lane, state, after, limit))

    async def attempts(self, lane: LaneId, limit: int, position: Position | None = None) -> list[Attempt]:
        return await self._homes.at_home(lane.store, lambda engine, _: engine.lanes.attempts(lane, limit, position))

    async def _everywhere(
        self, ask: Callable[[PostgresEngine], Awaitable[list[Got]]], lane_of: Callable[[Got], LaneId]
    ) -> list[Got]:
        answers = await self._homes.everywhere(lambda _, engine: ask(engine))
        found: list[Got] = []
        for name, some in answers.items():
            here = await self._homes.lives_in(name, {lane_of(one).store for one in some})
            found += [one for one in some if lane_of(one).store in here]
        return sorted(found, key=lane_of)

    async def _at_homes(
        self,
        asks: Sequence[Ask],
        store_of: Callable[[Ask], StoreId],
        call: Callable[[PostgresEngine, Sequence[Ask]], Awaitable[Sequence[Got]]],
        doubtful: Callable[[Got], bool],
    ) -> list[Got]:
        """One answer per ask, in order. An answer that may come from a place which the store has left is asked for once
        more, if the store has left it."""
        answers = await self._split(asks, store_of, call)
        stores = {store_of(ask) for ask, answer in zip(asks, answers, strict=True) if doubtful(answer)}
        if not stores:
            return answers
        before = await self._homes.among(stores)
        after = await self._homes.learn(stores)
        left = {store for store in stores if before.get(store) != after.get(store)}
        again = [at for at, ask in enumerate(asks) if store_of(ask) in left and doubtful(answers[at])]
        if again:
            second = await self._split([asks[at] for at in again], store_of, call)
            for at, answer in zip(again, second, strict=True):
                answers[at] = answer
        return answers

    async def _split(
        self,
        asks: Sequence[Ask],
        store_of: Callable[[Ask], StoreId],
        call: Callable[[PostgresEngine, Sequence[Ask]], Awaitable[Sequence[Got]]],
    ) -> list[Got]:
        cells = await self._homes.by_cell({store_of(ask) for ask in asks})
        parts = [[at for at, ask in enumerate(asks) if store_of(ask) in stores] for stores in cells.values()]
        answers = await asyncio.gather(
            *(call(self._homes.cells[name], [asks[at] for at in part]) for name, part in zip(cells, parts, strict=True))
        )
        found = {at: one for part, some in zip(parts, answers, strict=True) for at, one in zip(part, some, strict=True)}
        return [found[at] for at in range(len(asks))]
