"""Group commit on PostgreSQL: who comes along in a group, and who waits for the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.engines.postgres.engine import PostgresEngine
from crossdock.engines.postgres.pool import QUERIES
from crossdock.engines.postgres.together import More, Together
from crossdock.model.entry import Kept
from crossdock.model.ids import Position
from crossdock.testing.samples import NORTH, NOW, SOUTH, draft
from postgres import House

Ask = tuple[str, int]


class Locked:
    """A work that waits for a lock, and takes along what fits then."""

    def __init__(self, fits: Callable[[Ask], bool] = lambda _: True, error: Exception | None = None) -> None:
        self.lock = asyncio.Event()
        self.groups: list[list[Ask]] = []
        self._fits = fits
        self._error = error

    async def work(self, asks: Sequence[Ask], more: More[Ask]) -> list[str]:
        await self.lock.wait()
        group = [*asks, *more(self._fits)]
        self.groups.append(group)
        if self._error is not None:
            raise self._error
        return [name for name, _ in group]


def together(locked: Locked) -> Together[Ask, str]:
    return Together(locked.work, lambda ask: ask[1], weight_max=10, pending_max=1_000)


async def asked(calls: Together[Ask, str], locked: Locked, first: Ask, later: Sequence[Ask]) -> list[str]:
    """The first call alone gets to the lock; the later ones come while it waits."""
    tasks = [asyncio.ensure_future(calls.call(first))]
    await asyncio.sleep(0.01)
    tasks += [asyncio.ensure_future(calls.call(one)) for one in later]
    await asyncio.sleep(0.01)
    locked.lock.set()
    return await asyncio.gather(*tasks)


async def test_what_comes_while_a_group_waits_for_its_lock_comes_along() -> None:
    locked = Locked()
    assert await asked(together(locked), locked, ("a", 1), [("b", 1), ("c", 1)]) == ["a", "b", "c"]
    assert locked.groups == [[("a", 1), ("b", 1), ("c", 1)]]


async def test_what_does_not_fit_keeps_its_place_for_the_next_group() -> None:
    locked = Locked(fits=lambda ask: ask[0] != "other")
    later = [("other", 1), ("b", 3), ("heavy", 9), ("c", 6)]
    assert await asked(together(locked), locked, ("a", 1), later) == ["a", "other", "b", "heavy", "c"]
    assert locked.groups == [[("a", 1), ("b", 3), ("c", 6)], [("other", 1), ("heavy", 9)]]


async def test_whoever_came_along_hears_of_the_group_s_failure() -> None:
    locked = Locked(error=ValueError("no"))
    calls = together(locked)
    tasks = [asyncio.ensure_future(calls.call(("a", 1)))]
    await asyncio.sleep(0.01)
    tasks.append(asyncio.ensure_future(calls.call(("b", 1))))
    await asyncio.sleep(0.01)
    locked.lock.set()
    assert [str(one) for one in await asyncio.gather(*tasks, return_exceptions=True)] == ["no", "no"]
    assert len(locked.groups) == 1


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.integers(1, 12)), max_size=40))
def test_everybody_is_answered_once_and_no_group_grows_beyond_its_weight(later: list[Ask]) -> None:
    async def run() -> None:
        locked = Locked(fits=lambda ask: ask[0] == "x")
        assert await asked(together(locked), locked, ("x", 1), later) == ["x", *(name for name, _ in later)]
        assert sorted(one for group in locked.groups for one in group) == sorted([("x", 1), *later])
        assert all(len(group) == 1 or sum(weight for _, weight in group) <= 10 for group in locked.groups)

    asyncio.run(run())


@pytest.fixture
def heard() -> list[str]:
    return []


async def test_while_another_process_holds_a_journal_its_events_gather_and_go_as_one(
    postgres_house: House, heard: list[str]
) -> None:
    engine = PostgresEngine(postgres_house.app, lambda: NOW)
    engine.pool.count_queries(heard.append)
    await engine.start()
    await engine.journal.append([draft("first")])
    await engine.journal.append([draft("elsewhere", store=SOUTH)])
    heard.clear()
    with psycopg.connect(postgres_house.admin) as other:
        other.execute("SELECT FROM crossdock.journals WHERE store_id = %s FOR UPDATE", (NORTH,))
        appends = [asyncio.ensure_future(engine.journal.append([draft("k0")]))]
        while QUERIES["lock_journals"] not in (row[0] for row in waiting(postgres_house)):
            await asyncio.sleep(0.01)
        appends += [asyncio.ensure_future(engine.journal.append([draft(f"k{number}")])) for number in range(1, 40)]
        elsewhere = asyncio.ensure_future(engine.journal.append([draft("k40", store=SOUTH)]))
        await asyncio.sleep(0.01)
        other.rollback()
    assert await asyncio.gather(*appends) == [[Kept(Position(at))] for at in range(2, 42)]
    assert await elsewhere == [Kept(Position(2))]
    assert [one for one in heard if one == QUERIES["lock_journals"]] == [QUERIES["lock_journals"]] * 2
    await engine.close()


def waiting(house: House) -> list[tuple[str]]:
    with psycopg.connect(house.admin, autocommit=True) as admin:
        return admin.execute("SELECT query FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchall()
