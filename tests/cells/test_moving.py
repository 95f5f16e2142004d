"""A store moves between two cells: equal, killed anywhere, undone, and two movers at once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cells_world import Town

from crossdock.cli.main import main
from crossdock.engines.cells.directory import Directory, Home
from crossdock.engines.postgres.engine import PostgresEngine
from crossdock.freight.ends import Cells, postgres_place
from crossdock.freight.moving import Moving
from crossdock.freight.tables import CONFLICTS, Table
from crossdock.model.errors import Conflict, Invalid, NotFound, Unavailable
from crossdock.model.ids import START, Position, StoreId
from crossdock.model.lane import Counts, Gate, LaneChange
from crossdock.stores.port import Change
from crossdock.testing.samples import raised

sys.path.insert(0, str(Path(__file__).parents[1] / "freight"))
from freight_world import NOW, audit, draft, fill, lane_of

NORTH, SOUTH = StoreId("north"), StoreId("south")


class Cut(Exception):
    pass


class Watched:
    """What a move uses, killed at its n-th call: nothing that it would do after that is done."""

    def __init__(self, thing: Any, kill: Kill) -> None:
        self._thing, self._kill = thing, kill

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._thing, name)
        if not callable(found):
            return found

        async def call(*values: Any, **named: Any) -> Any:
            self._kill.count(name)
            return await found(*values, **named)

        return call


class Kill:
    def __init__(self, at: int = -1) -> None:
        self.at, self.calls, self.names = at, 0, list[str]()

    def count(self, name: str) -> None:
        self.calls += 1
        self.names.append(name)
        if 0 <= self.at < self.calls:
            raise Cut


async def no_pause(_: float) -> None:
    return


class Here(dict[str, Any]):
    """Cells that are open already."""

    @property
    def names(self) -> Collection[str]:
        return self.keys()

    async def at(self, cell: str) -> Any:
        return self[cell]


@asynccontextmanager
async def moving(town: Town, kill: Kill | None = None) -> AsyncIterator[Moving]:
    async with AsyncExitStack() as stack:
        directory = Directory(town.directory.app)
        await directory.open()
        stack.push_async_callback(directory.close)
        places: dict[str, Any] = {
            name: await stack.enter_async_context(postgres_place(house.app)) for name, house in town.cells.items()
        }
        told: Any = directory
        if kill is not None:
            told = Watched(directory, kill)
            places = {name: Watched(place, kill) for name, place in places.items()}
        yield Moving(told, Here(places), lambda store, head, digest: audit(store, "store.moved"), 0.0, pause=no_pause)


@asynccontextmanager
async def cell(town: Town, name: str) -> AsyncIterator[PostgresEngine]:
    engine = PostgresEngine(town.cells[name].app, lambda: NOW)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


async def filled(town: Town) -> None:
    """NORTH in the cell a, SOUTH in b."""
    for store, name in ((NORTH, "a"), (SOUTH, "b")):
        town.put(store, name)
        async with cell(town, name) as engine:
            await fill(engine, store)


async def said(engine: PostgresEngine, store: StoreId) -> tuple[Any, ...]:
    connections = await engine.registry.connections(store)
    ledgers = await engine.lanes.ledgers(store)
    assert all(one.closes for one in ledgers)
    return (
        await engine.registry.store(store),
        connections,
        [await engine.registry.credentials(store, one.id) for one in connections],
        await engine.registry.tokens(store),
        await engine.journal.read(store, START, 999),
        await engine.journal.head(store),
        await engine.journal.conflicts(store, 99),
        ledgers,
        [await engine.lanes.held(one.lane, None, START, 99) for one in ledgers],
        [await engine.lanes.attempts(one.lane, 99) for one in ledgers],
        [replace(lane, epoch=0) for one in ledgers if (lane := await engine.lanes.lane(one.lane)) is not None],
    )


async def at(town: Town, name: str, store: StoreId) -> tuple[Any, ...]:
    async with cell(town, name) as engine:
        return await said(engine, store)


async def standing(town: Town, store: StoreId = NORTH) -> tuple[Home, dict[str, tuple[Gate, int]]]:
    async with moving(town) as look:
        gates = {name: await place.journals(store) for name, place in look.places.items()}
        return await look.home(store), {name: (one.gate, one.epoch) for name, one in gates.items() if one.present}


async def test_a_store_is_the_same_in_its_new_cell_and_stays_shut_in_the_old(town: Town) -> None:
    await filled(town)
    before, south = await at(town, "a", NORTH), await at(town, "b", SOUTH)
    async with moving(town) as move:
        proved = await move.run(NORTH, "b")
    assert proved is not None
    assert proved.head == 41
    assert await at(town, "b", NORTH) == before
    assert await at(town, "b", SOUTH) == south
    assert await standing(town) == (Home("b", 1), {"a": (Gate.SHUT, 1), "b": (Gate.OPEN, 1)})
    async with cell(town, "b") as engine:
        assert [one.action for one in await engine.registry.audit(NORTH, 0, 99)][-2:] == ["lane.opened", "store.moved"]
        changes = await engine.registry.changes(0)
        assert NORTH in changes.stores
    async with cell(town, "a") as engine:
        error = await raised(Unavailable, engine.journal.append([draft(NORTH, 99)]))
        assert error.code == "CD5024"


async def release_one(engine: PostgresEngine, turn: int) -> None:
    """A held row is resolved: the first of a lane, then the last of the last lane, and so on."""
    name, position = [("a", 2), ("b", 4), ("b", 2), ("a", 3)][turn - 1]
    lane = await engine.lanes.lane(lane_of(NORTH, name))
    assert lane is not None
    done = LaneChange(lane.id, lane.epoch, lane.cursor, lane.cursor, Counts(delivered=1), release=(Position(position),))
    assert await engine.lanes.settle([done]) == [True]


async def test_there_and_back_with_work_at_both(town: Town) -> None:
    await filled(town)
    numbers = iter(range(100, 200))
    async with moving(town) as move:
        for turn, name in enumerate(("b", "a", "b", "a"), 1):
            await move.run(NORTH, name)
            async with cell(town, name) as engine:
                (kept,) = await engine.journal.append([draft(NORTH, next(numbers))])
                assert kept.position == 41 + turn
                await release_one(engine, turn)
                await engine.journal.append([draft(NORTH, 5, b"9")])
                await engine.registry.commit(Change((), (audit(NORTH, "worked"),)))
                log = [one.seq for one in await engine.registry.audit(NORTH, 0, 99)]
                assert log == list(range(1, 4 + 2 * turn))
                assert len(await engine.journal.conflicts(NORTH, 99)) == 3 + turn
                whole = [one.seq for one in await engine.registry.audit(None, 0, 999)]
                assert whole == list(range(1, len(whole) + 1))
    assert (await standing(town))[0] == Home("a", 4)


async def test_a_turn_that_began_in_the_old_cell_settles_nothing_in_the_new(town: Town) -> None:
    await filled(town)
    async with cell(town, "a") as engine:
        lane = await engine.lanes.lane(lane_of(NORTH))
    assert lane is not None
    async with moving(town) as move:
        await move.run(NORTH, "b")
    change = LaneChange(lane.id, lane.epoch, lane.cursor, Position(lane.cursor + 1), Counts(delivered=1))
    for name in ("a", "b"):
        async with cell(town, name) as engine:
            assert await engine.lanes.settle([change]) == [False]
    async with cell(town, "b") as engine:
        assert await engine.lanes.settle([replace(change, epoch=lane.epoch + 1)]) == [True]


async def test_what_comes_between_two_tables_of_a_round_comes_with_the_next(town: Town) -> None:
    """A conflict whose entry came after the entries had been carried."""
    await filled(town)

    class Busy(Watched):
        async def rows(self, table: Table, *values: Any) -> Any:
            if table is CONFLICTS and not busy:
                busy.append("once")
                async with cell(town, "a") as engine:
                    await engine.journal.append([draft(NORTH, 70)])
                    await engine.journal.append([draft(NORTH, 70, b"9")])
            return await self._thing.rows(table, *values)

    busy: list[str] = []
    async with moving(town) as move:
        places: dict[str, Any] = {**move.places, "a": Busy(move.places["a"], Kill())}
        await replace(move, places=Here(places)).run(NORTH, "b")
    async with cell(town, "b") as engine:
        assert await engine.journal.head(NORTH) == 42
        assert [one.position for one in await engine.journal.conflicts(NORTH, 1)] == [42]


async def test_the_directory_lets_only_the_latest_move_end(town: Town) -> None:
    await filled(town)
    async with moving(town) as move:
        first, second = await move.directory.claim(NORTH), await move.directory.claim(NORTH)
        assert not await move.directory.settle(NORTH, "a", "b", first)
        assert not await move.directory.settle(NORTH, "b", "a", second)
        place = move.places["a"]
        await place.gate(NORTH, Gate.SHUT, second)
        assert (await raised(Conflict, place.gate(NORTH, Gate.CLOSING, first))).code == "CD5029"
        await place.reopen(NORTH, first)
        assert (await place.journals(NORTH)).gate is Gate.SHUT
        assert await move.directory.settle(NORTH, "a", "b", second)
        assert not await move.directory.settle(NORTH, "a", "b", second)
        assert await move.directory.home(NORTH) == Home("b", second)


async def test_a_move_that_cannot_begin_opens_what_a_killed_one_had_shut(town: Town) -> None:
    await filled(town)

    class Away(Watched):
        async def begin(self, *_: Any) -> None:
            raise Unavailable("CD5002", "It is away.")

    async with moving(town) as move:
        await move.places["a"].gate(NORTH, Gate.SHUT, await move.directory.claim(NORTH))
        places: dict[str, Any] = {**move.places, "b": Away(move.places["b"], Kill())}
        assert (await raised(Unavailable, replace(move, places=Here(places)).run(NORTH, "b"))).code == "CD5002"
    assert await standing(town) == (Home("a", 2), {"a": (Gate.OPEN, 2)})


async def test_forgotten_where_it_was_it_can_come_back(town: Town) -> None:
    await filled(town)
    before = await at(town, "a", NORTH)
    async with moving(town) as move:
        assert (await move.forget(NORTH)).rows == 0
        await move.run(NORTH, "b")
        assert (await move.forget(NORTH)).rows > 70
        with psycopg.connect(town.cells["a"].admin) as admin:
            for table in ("stores", "entries", "held", "lanes", "attempts", "tokens", "credentials", "subject_keys"):
                rows = admin.execute(f"SELECT count(*) FROM crossdock.{table} WHERE store_id = 'north'").fetchone()
                assert rows == (0,), table
        assert await at(town, "b", NORTH) == before
        await move.run(NORTH, "a")
    assert await at(town, "a", NORTH) == before


async def test_what_cannot_be_moved_is_named(town: Town) -> None:
    await filled(town)
    async with moving(town) as move:
        assert (await raised(Invalid, move.run(NORTH, "nowhere"))).code == "CD7032"
        assert (await raised(NotFound, move.run(StoreId("nobody"), "b"))).code == "CD3004"
        assert await move.run(NORTH, "a") is None
    assert await standing(town) == (Home("a", 0), {"a": (Gate.OPEN, 0)})


async def killed(town: Town, kill: Kill) -> bool:
    """Whether the move was killed before it ended. A killed process does nothing more: not even the giving up."""
    try:
        async with moving(town, kill) as move:
            await move.run(NORTH, "b")
    except Cut:
        return True
    return False


@pytest.mark.parametrize("then", ["b", "a"])
async def test_killed_anywhere_and_run_again_it_ends_or_is_undone(town: Town, then: str) -> None:
    steps = 0
    while True:
        town.clean()
        await filled(town)
        before = await at(town, "a", NORTH)
        if not await killed(town, Kill(steps)):
            break
        async with moving(town) as move:
            await move.run(NORTH, then)
        home, gates = await standing(town)
        assert home.cell == then
        assert gates[then] == (Gate.OPEN, home.epoch)
        assert all(gate is Gate.SHUT for name, (gate, _) in gates.items() if name != then)
        assert await at(town, then, NORTH) == before
        steps += 1 if steps < 6 else 9
    assert steps > 60


async def test_a_move_that_fails_leaves_the_store_where_it_was(town: Town) -> None:
    await filled(town)
    before = await at(town, "a", NORTH)
    with psycopg.connect(town.cells["b"].admin) as admin:
        admin.execute("ALTER TABLE crossdock.held ADD CONSTRAINT never CHECK (store_id <> 'north')")
    try:
        async with moving(town) as move:
            assert (await raised(Conflict, move.run(NORTH, "b"))).code == "CD5026"
    finally:
        with psycopg.connect(town.cells["b"].admin) as admin:
            admin.execute("ALTER TABLE crossdock.held DROP CONSTRAINT never")
    home, gates = await standing(town)
    assert (home, gates["a"]) == (Home("a", 1), (Gate.OPEN, 1))
    assert await at(town, "a", NORTH) == before
    async with town.engine() as engine:
        await engine.journal.append([draft(NORTH, 77)])


async def test_of_two_movers_at_once_one_wins_and_nothing_is_mixed(town: Town) -> None:
    await filled(town)
    before = await at(town, "a", NORTH)
    for turn in range(6):
        now, then = ("a", "b") if turn % 2 == 0 else ("b", "a")
        async with moving(town) as one, moving(town) as other:
            answers = await asyncio.gather(one.run(NORTH, then), other.run(NORTH, then), return_exceptions=True)
        wrong = [answer for answer in answers if isinstance(answer, BaseException)]
        assert all(isinstance(answer, Conflict) and answer.code == "CD5029" for answer in wrong), wrong
        home, gates = await standing(town)
        assert home.cell == then
        assert gates == {now: (Gate.SHUT, home.epoch), then: (Gate.OPEN, home.epoch)}
        assert await at(town, then, NORTH) == before


async def test_a_mover_that_slept_writes_nothing_and_opens_nothing(town: Town) -> None:
    """It was overtaken after it had shut the store: what it does when it wakes changes nothing."""
    await filled(town)
    woke: list[str] = []

    async def sleep(_: float) -> None:
        if not woke:
            woke.append("slept")
            async with moving(town) as other:
                await other.run(NORTH, "b")
            async with town.engine() as engine:
                await engine.journal.append([draft(NORTH, 88)])

    async with moving(town) as slow:
        error = await raised(Conflict, replace(slow, pause=sleep).run(NORTH, "b"))
    assert error.code == "CD5029"
    home, gates = await standing(town)
    assert home.cell == "b"
    assert gates == {"a": (Gate.SHUT, home.epoch), "b": (Gate.OPEN, home.epoch)}
    async with cell(town, "b") as engine:
        assert await engine.journal.head(NORTH) == Position(42)


async def test_a_cell_that_has_no_part_in_a_move_may_be_away(town: Town) -> None:
    await filled(town)
    urls = {**{name: house.app for name, house in town.cells.items()}, "c": "postgresql://x@127.0.0.1:1/nothing"}
    async with AsyncExitStack() as stack:
        directory = Directory(town.directory.app)
        await directory.open()
        stack.push_async_callback(directory.close)
        move = Moving(
            directory, Cells(urls, stack), lambda store, head, digest: audit(store, "store.moved"), 0.0, pause=no_pause
        )
        assert await move.run(NORTH, "b") is not None
        gone = await move.forget(NORTH)
        assert (gone.rows > 70, gone.silent) == (True, ("c",))
        error = await raised(Unavailable, move.run(NORTH, "c"))
        assert (error.code, error.message.startswith("Cell c: ")) == ("CD5002", True)
    assert (await standing(town))[0].cell == "b"


def test_the_commands_move_and_show_a_store_while_an_unrelated_cell_is_away(
    town: Town, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(filled(town))
    listed = {**{name: house.app for name, house in town.cells.items()}, "c": "postgresql://x@127.0.0.1:1/nothing"}
    monkeypatch.setenv("CROSSDOCK_CELLS", ", ".join(f"{name}={url}" for name, url in listed.items()))
    monkeypatch.setenv("CROSSDOCK_DIRECTORY", town.directory.app)

    def ran(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["crossdock", "store", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), "".join(capsys.readouterr())

    assert ran("move", NORTH, "--to", "b", "--grace", "0")[0] == 0
    code, said = ran("place", NORTH)
    assert (code, "it cannot be asked (CD5002)" in said, "open, at epoch" in said) == (0, True, True)
    code, said = ran("move", NORTH, "--to", "c")
    assert (code, "Cell c: " in said) == (3, True)
