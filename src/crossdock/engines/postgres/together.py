"""Group commit: calls that come while one transaction is under way are made together in the next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Generic, TypeAlias, TypeVar

from crossdock.model.errors import Unavailable

Ask = TypeVar("Ask")
Got = TypeVar("Got")
More: TypeAlias = "Callable[[Callable[[Ask], bool]], list[Ask]]"
Work: TypeAlias = "Callable[[Sequence[Ask], More[Ask]], Awaitable[Sequence[Got | BaseException]]]"


class Together(Generic[Ask, Got]):
    """`work` gets what has gathered, at most `weight_max` of it (one call may be heavier alone), and gives one answer
    or error per call. If it raises, every call of that group hears it. One group is under way at a time.

    While it waits for a lock, more may come: `work` also gets a function which takes those waiting calls that fit into
    the group. They are answered after the first ones, in the order in which they were taken.

    A caller that is cancelled leaves its call in the group: what was asked may be done."""

    def __init__(
        self, work: Work[Ask, Got], weight: Callable[[Ask], int], *, weight_max: int, pending_max: int
    ) -> None:
        self._work = work
        self._weight = weight
        self._weight_max = weight_max
        self._pending_max = pending_max
        self._pending = 0
        self._waiting: deque[tuple[Ask, asyncio.Future[Got]]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def call(self, ask: Ask) -> Got:
        """Unavailable (CD5002) if too much waits already, (CD5009) once it is closed."""
        if self._closed:
            raise Unavailable("CD5009", "The engine is closed, or has not been started.")
        weight = self._weight(ask)
        # A call that is larger than the bound is taken when nothing else waits.
        if self._pending and self._pending + weight > self._pending_max:
            raise Unavailable("CD5002", "Too much is waiting for the database.", retry_after_ms=1_000)
        self._pending += weight
        answer: asyncio.Future[Got] = asyncio.get_running_loop().create_future()
        self._waiting.append((ask, answer))
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="crossdock group")
        return await answer

    async def close(self) -> None:
        """Does what waits, and takes no more."""
        self._closed = True
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        try:
            # Whoever became ready in this round of the loop comes along.
            await asyncio.sleep(0)
            while self._waiting:
                await self._do(self._take())
        finally:
            self._task = None

    def _take(self) -> list[tuple[Ask, asyncio.Future[Got]]]:
        group = [self._waiting.popleft()]
        weight = self._weight(group[0][0])
        while self._waiting and weight + (next_weight := self._weight(self._waiting[0][0])) <= self._weight_max:
            group.append(self._waiting.popleft())
            weight += next_weight
        return group

    def _join(self, group: list[tuple[Ask, asyncio.Future[Got]]], fits: Callable[[Ask], bool]) -> list[Ask]:
        """Takes what waits and fits into the group; the others keep their places."""
        room = self._weight_max - sum(self._weight(ask) for ask, _ in group)
        joined: list[tuple[Ask, asyncio.Future[Got]]] = []
        others: deque[tuple[Ask, asyncio.Future[Got]]] = deque()
        for one in self._waiting:
            weight = self._weight(one[0])
            if weight <= room and fits(one[0]):
                joined.append(one)
                room -= weight
            else:
                others.append(one)
        self._waiting = others
        group += joined
        return [ask for ask, _ in joined]

    async def _do(self, group: list[tuple[Ask, asyncio.Future[Got]]]) -> None:
        answers: Sequence[Got | BaseException]
        try:
            answers = await self._work([ask for ask, _ in group], partial(self._join, group))
        except Exception as error:  # noqa: BLE001  # handed whole to every caller: the next group must go on
            answers = [error] * len(group)
        self._pending -= sum(self._weight(ask) for ask, _ in group)
        for (_, future), answer in zip(group, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)
