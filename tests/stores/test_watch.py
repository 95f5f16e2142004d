"""What another process changes: a directory and tokens that hear of nothing but what the watch tells them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from crossdock.model.connection import ConnectionState, Role
from crossdock.model.errors import Unauthenticated, Unavailable
from crossdock.model.ids import ConnectionId, StoreId
from crossdock.model.limits import CHANGES_POLL_MS
from crossdock.observe.lines import LINES, Lines, Value
from crossdock.stores.directory import Directory
from crossdock.stores.port import Change, Changes, Registry
from crossdock.stores.tokens import Tokens, TokenWish
from crossdock.stores.watch import Watch
from stores.counter import ADMIN, NORTH, SOUTH, Counter


class Elsewhere:
    """The same registry, seen from another process: commits made here are not heard there."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.down = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._registry, name)

    def on_change(self, listener: Callable[[Change], None]) -> None:
        return

    async def changes(self, after: int | None) -> Changes:
        if self.down:
            raise Unavailable("CD5009", "away")
        return await self._registry.changes(after)


class There:
    """Another process: caches of its own and a watch."""

    def __init__(self, counter: Counter) -> None:
        self.registry = Elsewhere(counter.engine.registry)
        self.told: list[Changes] = []
        self.lines: list[str] = []
        registry: Registry = self.registry  # type: ignore[assignment]  # all but two names are the real one's
        self.directory = Directory(registry, counter.catalogue, counter.vault, counter.hosts, counter.clock)
        self.tokens = Tokens(registry, counter.clock)
        hearers = (self.directory.refresh, self.tokens.refresh, self.told.append)
        self.watch = Watch(registry, hearers, Lines(self._write))

    def _write(self, name: str, fields: dict[str, Value]) -> None:
        assert set(fields) <= LINES[name]
        self.lines.append(name)

    async def state(self, connection: ConnectionId) -> ConnectionState | None:
        door = await self.directory.door(connection, None)
        return None if door is None else door.state


@pytest.fixture
async def there(counter: Counter) -> There:
    made = There(counter)
    await made.watch.look()
    return made


async def test_a_connection_paused_elsewhere_is_paused_after_one_look(counter: Counter, there: There) -> None:
    name, other = await counter.enabled(), await counter.enabled(SOUTH)
    await there.watch.look()
    assert await there.state(name) is ConnectionState.ENABLED
    kept = await there.directory.door(other, None)
    await counter.desk.connections.pause(ADMIN, await counter.office.connection(NORTH, name))
    assert await there.state(name) is ConnectionState.ENABLED
    await there.watch.look()
    assert await there.state(name) is ConnectionState.PAUSED
    assert await there.directory.door(other, None) is kept
    assert there.told[-1].stores == {NORTH}


async def test_a_connection_made_elsewhere_is_unknown_for_at_most_one_look(counter: Counter, there: There) -> None:
    wished: list[ConnectionId] = []
    inner = counter.engine.registry.commit

    async def commit(change: Change) -> None:
        # Somebody asks for it over there just before it is made here.
        for connection in {one.object.removeprefix("connection:") for one in change.audit}:
            await there.state(ConnectionId(connection))
            wished.append(ConnectionId(connection))
        await inner(change)

    counter.engine.registry.commit = commit  # type: ignore[method-assign]
    name = await counter.enabled()
    assert name in wished
    assert await there.state(name) is None
    await there.watch.look()
    assert await there.state(name) is ConnectionState.ENABLED


@pytest.mark.parametrize("store", [NORTH, None])
async def test_a_token_revoked_elsewhere_ends_with_the_next_look(
    counter: Counter, there: There, store: StoreId | None
) -> None:
    role = Role.STORE_ADMIN if store else Role.PLATFORM_ADMIN
    minted = await counter.desk.tokens.issue(ADMIN, TokenWish(role, store, "till", 7))
    await there.tokens.principal(minted.text)
    await there.watch.look()
    await there.tokens.principal(minted.text)
    await counter.desk.tokens.revoke(ADMIN, minted.token.id, None)
    await there.tokens.principal(minted.text)
    await there.watch.look()
    with pytest.raises(Unauthenticated):
        await there.tokens.principal(minted.text)


async def test_nothing_is_missed_while_the_engine_is_away_and_it_is_told_once(counter: Counter, there: There) -> None:
    name = await counter.enabled()
    await there.watch.look()
    await there.state(name)
    there.registry.down = True
    await counter.desk.connections.pause(ADMIN, await counter.office.connection(NORTH, name))
    assert [await there.watch.look(), await there.watch.look()] == [False, False]
    assert await there.state(name) is ConnectionState.ENABLED
    there.registry.down = False
    assert await there.watch.look()
    assert await there.state(name) is ConnectionState.PAUSED
    assert there.lines == ["engine.failed"]


async def test_where_nothing_changed_nobody_is_told(counter: Counter, there: There) -> None:
    before = len(there.told)
    await there.watch.look()
    assert len(there.told) == before


async def test_the_loop_looks_at_each_interval_until_it_is_stopped(counter: Counter) -> None:
    stop, waits, told = asyncio.Event(), [], []

    async def wait(event: asyncio.Event, wait_ms: int) -> None:
        assert event is stop
        waits.append(wait_ms)
        if len(waits) == 3:
            stop.set()
        else:
            await counter.enabled()

    await Watch(counter.engine.registry, [told.append], Lines(), wait).run(stop)
    assert waits == [CHANGES_POLL_MS] * 3
    assert [one.stores for one in told] == [{NORTH}] * 2
