"""What only PostgreSQL's registry and slots can get wrong: locks, orders of commits, and several processes at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from crossdock.engines.postgres import registry as registry_module
from crossdock.engines.postgres.engine import PostgresEngine
from crossdock.engines.postgres.pool import QUERIES
from crossdock.engines.postgres.slots import UNTIL_MS_MAX
from crossdock.journal.slots import slot_of
from crossdock.model.connection import Role, Token
from crossdock.model.contract import Queued
from crossdock.model.errors import Conflict, Invalid
from crossdock.model.ids import Instant, LaneId, Position, StoreId, TokenId
from crossdock.model.lane import Counts, Fence, HeldState, LaneChange
from crossdock.model.limits import LEASE_MS, SLOTS
from crossdock.stores.port import (
    AddConnection,
    AddStore,
    AddToken,
    Change,
    CloseLane,
    OpenLane,
    PutCredential,
    ReplayHeld,
    ReplayResolved,
    RevokeToken,
)
from crossdock.testing.registry_suite import CREDENTIAL, ONE, TOKEN
from crossdock.testing.samples import NORTH, NOW, SOUTH, a_store, audit, drafts, held, lane_id, raised, write
from postgres import House

LANE = lane_id()
PLATFORMS = Token(TokenId("p1"), b"d" * 32, Role.PLATFORM_ADMIN, None, "ops", NOW, Instant(NOW + 1))


@asynccontextmanager
async def an_engine(house: House) -> AsyncIterator[PostgresEngine]:
    engine = PostgresEngine(house.app, lambda: NOW)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


@pytest.fixture
async def engine(postgres_house: House) -> AsyncIterator[PostgresEngine]:
    async with an_engine(postgres_house) as engine:
        yield engine


@pytest.fixture
async def other(postgres_house: House, engine: PostgresEngine) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """Another process, in a transaction that it ends when the test says so."""
    async with await psycopg.AsyncConnection.connect(postgres_house.admin) as connection:
        await connection.execute("SET search_path = crossdock")
        yield connection
        await connection.rollback()


async def ask(house: House, question: str) -> list[Any]:
    async with await psycopg.AsyncConnection.connect(house.admin, autocommit=True) as admin:
        await admin.execute("SET search_path = crossdock")
        cursor = await admin.execute(question)
        return await cursor.fetchall() if cursor.description else []


async def waiting(house: House, count: int = 1) -> None:
    """Returns when so many of the engine's backends wait for a lock."""
    question = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with asyncio.timeout(20):
        while (await ask(house, question))[0][0] < count:
            await asyncio.sleep(0)


# The registry


async def test_changes_of_different_stores_overlap_up_to_the_log(
    engine: PostgresEngine, postgres_house: House, other: psycopg.AsyncConnection[Any]
) -> None:
    await write(engine, AddStore(a_store()), AddStore(a_store(SOUTH)), AddConnection(ONE))
    await other.execute("SELECT audit_seq FROM installation FOR NO KEY UPDATE")
    north = asyncio.ensure_future(engine.registry.commit(Change((PutCredential(CREDENTIAL, 0),), (audit(),))))
    token = AddToken(replace(TOKEN, store=SOUTH))
    south = asyncio.ensure_future(engine.registry.commit(Change((token,), (audit(store=SOUTH),))))
    # Both have done their writes and wait for the log's counter alone.
    await waiting(postgres_house, 2)
    assert [len(await engine.registry.credentials(NORTH, ONE.id)), await engine.registry.token(TOKEN.id)] == [0, None]
    await other.rollback()
    await asyncio.gather(north, south)
    assert [entry.seq for entry in await engine.registry.audit(None, 0, 10)] == [1, 2, 3]


async def test_the_logs_counter_is_the_last_lock_of_a_change(postgres_house: House) -> None:
    engine, heard = PostgresEngine(postgres_house.app, lambda: NOW), list[str]()
    engine.pool.count_queries(heard.append)
    await engine.start()
    try:
        await write(engine, AddStore(a_store()), AddConnection(ONE), OpenLane(LANE))
    finally:
        await engine.close()
    # What else goes to the server is the driver's: it asks once for the types of arrays.
    names = {text: name for name, text in QUERIES.items()} | {"COMMIT": "COMMIT"}
    said = [names[text] for text in heard if text in names]
    assert said[said.index("take_audit_seqs") :][:3] == ["take_audit_seqs", "add_audit", "COMMIT"]


async def test_a_change_that_fails_leaves_no_gap_in_the_log(engine: PostgresEngine) -> None:
    await write(engine, AddStore(a_store()))
    await raised(Conflict, write(engine, AddToken(TOKEN), AddStore(a_store())))
    two = Change((AddStore(a_store(SOUTH)),), (audit("a", SOUTH), audit("b", None), audit("c", SOUTH)))
    await engine.registry.commit(two)
    assert [entry.seq for entry in await engine.registry.audit(None, 0, 10)] == [1, 2, 3, 4]
    assert [entry.seq for entry in await engine.registry.audit(SOUTH, 0, 10)] == [1, 2]


async def test_what_lags_follows_the_log_in_bounded_steps(
    engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "CHANGES_MAX", 2)
    for store in (NORTH, SOUTH, None, StoreId("west"), NORTH):
        await engine.registry.commit(Change((), (audit(store=store),)))
    seen, seq = [], 0
    while (changes := await engine.registry.changes(seq)).seq != seq:
        seen.append((set(changes.stores), changes.platform))
        seq = changes.seq
    assert seen == [({NORTH, SOUTH}, False), ({"west"}, True), ({NORTH}, False)]
    assert (await engine.registry.changes(None)).seq == seq == 5


async def test_another_process_sees_what_changed(engine: PostgresEngine, postgres_house: House) -> None:
    async with an_engine(postgres_house) as second:
        start = (await second.registry.changes(None)).seq
        await write(engine, AddStore(a_store()))
        assert (await second.registry.changes(start)).stores == {NORTH}


async def test_a_token_is_revoked_in_its_own_store_whoever_the_log_names(engine: PostgresEngine) -> None:
    await write(engine, AddStore(a_store()), AddStore(a_store(SOUTH)), AddToken(replace(TOKEN, store=SOUTH)))
    platform = Change((AddToken(PLATFORMS), RevokeToken(TOKEN.id, Instant(7))), (audit(store=None),))
    await engine.registry.commit(platform)
    await write(engine, RevokeToken(PLATFORMS.id, Instant(8)))
    tokens = await engine.registry.tokens()
    assert [(one.id, one.store, one.revoked_at) for one in tokens] == [("p1", None, 8), ("t1", SOUTH, 7)]
    assert await engine.registry.tokens(NORTH) == []


async def test_a_text_with_a_nul_is_refused_and_not_a_fault(engine: PostgresEngine) -> None:
    await write(engine, AddStore(a_store()))
    bad = AddStore(replace(a_store(SOUTH), name="a\x00b"))
    assert (await raised(Invalid, write(engine, AddToken(TOKEN), bad))).code == "CD3030"
    assert await engine.registry.token(TOKEN.id) is None
    await write(engine, AddToken(TOKEN))


async def unresolved(house: House, lane: LaneId) -> tuple[int, int, int]:
    """The lane's own count, what its rows say, and its slot."""
    question = f"""
    SELECT unresolved, (SELECT count(*) FROM held AS h WHERE h.store_id = l.store_id
        AND h.connection_id = l.connection_id AND h.route = l.route AND h.state <> 'parked'), slot
    FROM lanes AS l WHERE connection_id = '{lane.connection}'
    """
    (row,) = await ask(house, question)
    return tuple(row)


async def test_a_lane_counts_its_unresolved_rows_through_every_write(
    engine: PostgresEngine, postgres_house: House
) -> None:
    slot = slot_of(LANE.store, LANE.connection)
    await write(engine, OpenLane(LANE))
    await engine.journal.append(drafts(8))
    hold = (held(1), held(2, HeldState.WAITING), held(3, HeldState.PARKED), held(4, HeldState.PARKED))
    turn = LaneChange(LANE, 0, Position(0), Position(6), Counts(delivered=2), hold)
    assert await engine.lanes.settle([turn]) == [True]
    assert await unresolved(postgres_house, LANE) == (2, 2, slot)
    places = tuple(Position(number) for number in (1, 3, 3, 7))
    await write(engine, ReplayHeld(LANE, places, NOW))
    assert await unresolved(postgres_house, LANE) == (3, 3, slot)
    await write(engine, ReplayResolved(LANE, (*places[:2], Position(5), Position(7)), ("k",) * 4, NOW))
    assert await unresolved(postgres_house, LANE) == (4, 4, slot)
    await write(engine, CloseLane(LANE, Queued.HOLD), OpenLane(LANE))
    assert await unresolved(postgres_house, LANE) == (4, 4, slot)
    await write(engine, CloseLane(LANE, Queued.DISCARD))
    assert await unresolved(postgres_house, LANE) == (0, 0, slot)
    assert [ledger.gap for ledger in await engine.lanes.ledgers()] == [0]


async def test_of_many_who_open_one_lane_at_once_each_finds_it_open(engine: PostgresEngine) -> None:
    await asyncio.gather(*(write(engine, OpenLane(LANE)) for _ in range(6)))
    lane = await engine.lanes.lane(LANE)
    assert lane is not None
    assert lane.open


async def test_changes_that_name_lanes_in_opposite_orders_do_not_lock_each_other_out(engine: PostgresEngine) -> None:
    lanes = [lane_id(name) for name in "abcdef"]
    await write(engine, *(OpenLane(lane) for lane in lanes))
    close = [CloseLane(lane, Queued.HOLD) for lane in lanes]
    await asyncio.gather(*(write(engine, *(close if turn % 2 else close[::-1])) for turn in range(12)))
    assert not await engine.lanes.open_lanes()


# The slots. `other` stands for a process that is in the middle of a call.


async def lapse(house: House, *members: str) -> None:
    for member in members:
        await ask(house, f"UPDATE members SET until = clock_timestamp() WHERE member = '{member}'")


async def test_a_member_that_is_just_beating_keeps_what_it_owns(
    engine: PostgresEngine, postgres_house: House, other: psycopg.AsyncConnection[Any]
) -> None:
    await engine.slots.beat("ann")
    mine = await engine.slots.claim("ann", 10)
    await lapse(postgres_house, "ann")
    await engine.slots.beat("bob")
    await other.execute("UPDATE members SET until = clock_timestamp() + interval '10 s' WHERE member = 'ann'")
    claimed = await engine.slots.claim("bob", SLOTS)
    assert not set(claimed) & set(mine)
    await other.commit()
    assert await engine.slots.claim("bob", SLOTS) == {}
    assert (await engine.slots.beat("ann")).owned == mine


async def test_a_lease_of_a_clock_that_was_set_back_counts_as_lapsed(
    engine: PostgresEngine, postgres_house: House
) -> None:
    await engine.slots.beat("ann")
    mine = await engine.slots.claim("ann", 10)
    await ask(postgres_house, "UPDATE members SET until = until + interval '1 hour' WHERE member = 'ann'")
    standing = await engine.slots.beat("bob")
    assert (standing.members, standing.lapse_ms) == (1, LEASE_MS)
    assert set(await engine.slots.claim("bob", SLOTS)) > set(mine)
    assert (await engine.slots.beat("ann")).owned == {}


async def test_a_beat_waits_for_the_claim_that_takes_its_slots_and_sees_what_it_left(
    engine: PostgresEngine, postgres_house: House, other: psycopg.AsyncConnection[Any]
) -> None:
    await engine.slots.beat("ann")
    mine = await engine.slots.claim("ann", 4)
    await engine.slots.beat("bob")
    await lapse(postgres_house, "ann")
    gone, *left = sorted(mine)
    await take(other, "ann", "bob", 1)
    beat = asyncio.ensure_future(engine.slots.beat("ann"))
    await waiting(postgres_house)
    assert not beat.done()
    await other.commit()
    assert (await beat).owned == {slot: mine[slot] for slot in left}
    assert gone in (await engine.slots.beat("bob")).owned


async def take(connection: psycopg.AsyncConnection[Any], lapsed: str, member: str, at_most: int) -> None:
    """A claim that has not committed yet, statement by statement."""
    found = await (await connection.execute(QUERIES["lapsed"].replace("$1", "%s"), (UNTIL_MS_MAX,))).fetchall()
    assert found == [(lapsed,)]
    claim = QUERIES["claim"].replace("$1", "%(member)s").replace("$2", "%(lapsed)s").replace("$3", "%(most)s")
    await connection.execute(claim, {"member": member, "lapsed": [lapsed], "most": at_most})


async def test_a_slot_under_which_something_is_settled_comes_with_a_later_claim(
    engine: PostgresEngine, postgres_house: House, other: psycopg.AsyncConnection[Any]
) -> None:
    await engine.slots.beat("ann")
    mine = await engine.slots.claim("ann", SLOTS)
    await lapse(postgres_house, "ann")
    await engine.slots.beat("bob")
    await other.execute("SELECT epoch FROM slots WHERE slot = 7 FOR SHARE")
    assert set(await engine.slots.claim("bob", SLOTS)) == set(mine) - {7}
    await other.commit()
    assert await engine.slots.claim("bob", SLOTS) == {7: mine[7] + 1}


async def test_a_settle_waits_for_a_claim_of_its_slot_and_is_refused(
    engine: PostgresEngine, postgres_house: House, other: psycopg.AsyncConnection[Any]
) -> None:
    await write(engine, OpenLane(LANE))
    await engine.journal.append(drafts(1))
    await engine.slots.beat("ann")
    slot = slot_of(LANE.store, LANE.connection)
    epoch = (await engine.slots.claim("ann", SLOTS))[slot]
    await engine.slots.beat("bob")
    await lapse(postgres_house, "ann")
    await take(other, "ann", "bob", SLOTS)
    turn = LaneChange(LANE, 0, Position(0), Position(1), Counts(delivered=1), fence=Fence(slot, epoch))
    settle = asyncio.ensure_future(engine.lanes.settle([turn]))
    await waiting(postgres_house)
    await other.commit()
    assert await settle == [False]


async def test_members_that_lapsed_together_beat_together(engine: PostgresEngine, postgres_house: House) -> None:
    """Each holds its own row and looks for those that lapsed: nobody waits for anybody."""
    names = [f"m{number}" for number in range(6)]
    for _ in range(5):
        await asyncio.gather(*(engine.slots.beat(name) for name in names))
        await asyncio.gather(*(engine.slots.claim(name, 20) for name in names))
        await lapse(postgres_house, *names)
    standings = await asyncio.gather(*(engine.slots.beat(name) for name in names))
    owned = [slot for standing in standings for slot in standing.owned]
    assert len(owned) == len(set(owned))


async def test_a_lapsed_member_is_forgotten_when_it_owns_nothing(engine: PostgresEngine, postgres_house: House) -> None:
    for name in ("ann", "bob", "cid"):
        await engine.slots.beat(name)
    await engine.slots.claim("ann", SLOTS)
    await lapse(postgres_house, "ann", "cid")
    await engine.slots.beat("bob")
    assert await members(postgres_house) == ["ann", "bob"]
    assert len(await engine.slots.claim("bob", SLOTS)) == SLOTS
    await engine.slots.beat("bob")
    assert await members(postgres_house) == ["bob"]


async def members(house: House) -> list[str]:
    return [row[0] for row in await ask(house, "SELECT member FROM members ORDER BY 1")]


async def test_who_is_frozen_in_a_transaction_delays_nobody_else(
    engine: PostgresEngine, postgres_house: House, other: psycopg.AsyncConnection[Any]
) -> None:
    await engine.slots.beat("ann")
    await engine.slots.claim("ann", SLOTS)
    await engine.slots.beat("bob")
    await lapse(postgres_house, "ann")
    await other.execute("UPDATE members SET until = until WHERE member = 'ann'")
    await other.execute("SELECT epoch FROM slots FOR SHARE")
    async with asyncio.timeout(5):
        assert (await engine.slots.beat("bob")).members == 1
        assert await engine.slots.claim("bob", SLOTS) == {}
    await other.rollback()
    assert len(await engine.slots.claim("bob", SLOTS)) == SLOTS
