# ruff: noqa: S101  # a suite asserts: that is its work
"""What a registry promises as tests. See `journal_suite` for how a test module takes them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from crossdock.model.connection import CoreEndpoint, CoreMode, Credential, Revision, Role, Token
from crossdock.model.errors import Bug, Conflict, CrossdockError, Unavailable
from crossdock.model.ids import ConnectionId, Instant, StoreId, TokenId
from crossdock.model.lane import Gate
from crossdock.stores.port import (
    AddConnection,
    AddRevision,
    AddStore,
    AddToken,
    Change,
    DropCredential,
    Engine,
    MoveConnection,
    OpenLane,
    PutCoreEndpoint,
    PutCredential,
    ReplayHeld,
    RevokeToken,
    SetWeight,
)
from crossdock.testing.samples import NORTH, NOW, SOUTH, a_store, audit, connection, lane_id, raised, write

ONE = connection()
CREDENTIAL = Credential(NORTH, ONE.id, "api_key", b"sealed", ("a.example", "b.example"), 1, NOW)
REVISION = Revision(ONE.id, NORTH, 1, "1.0.0", {"a": [1, None, "x"]}, "ada", NOW)
TOKEN = Token(TokenId("t1"), b"d" * 32, Role.STORE_ADMIN, NORTH, "ci", NOW, Instant(NOW + 1))


async def two_stores(engine: Engine) -> None:
    await write(engine, AddStore(a_store()), AddStore(a_store(SOUTH)), AddConnection(ONE))


class RegistrySuite:
    async def test_rows_come_back_as_they_were_given(self, engine: Engine) -> None:
        await two_stores(engine)
        endpoint = CoreEndpoint(NORTH, CoreMode.PUSH, "https://core.example/in", b"s", 1)
        await write(
            engine, AddRevision(REVISION), PutCredential(CREDENTIAL, 0), PutCoreEndpoint(endpoint, 0), AddToken(TOKEN)
        )
        registry = engine.registry
        assert await registry.stores() == [a_store(NORTH), a_store(SOUTH)]
        assert await registry.stores(after="north", limit=1) == [a_store(SOUTH)]
        assert await registry.connection(ONE.id) == ONE
        assert await registry.connections(NORTH) == [ONE]
        assert await registry.revisions(NORTH, ONE.id) == [REVISION]
        assert await registry.revision(NORTH, ONE.id, 1) == REVISION
        assert await registry.credentials(NORTH, ONE.id) == [CREDENTIAL]
        assert await registry.core_endpoint(NORTH) == endpoint
        assert await registry.token(TOKEN.id) == TOKEN
        assert await registry.tokens() == await registry.tokens(NORTH) == [TOKEN]

    async def test_a_weight_stays_with_its_store_and_the_last_one_counts(self, engine: Engine) -> None:
        await two_stores(engine)
        await write(engine, SetWeight(NORTH, 4))
        await write(engine, SetWeight(NORTH, 7))
        assert [store.weight for store in await engine.registry.stores()] == [7, 1]
        assert (await engine.registry.store(NORTH)) == replace(a_store(), weight=7)
        await raised(Bug, write(engine, SetWeight(StoreId("nobody"), 2)))

    async def test_one_stores_id_never_reaches_anothers_rows(self, engine: Engine) -> None:
        await two_stores(engine)
        await write(engine, AddRevision(REVISION), PutCredential(CREDENTIAL, 0), AddToken(TOKEN))
        registry = engine.registry
        assert await registry.connections(SOUTH) == []
        assert await registry.revisions(SOUTH, ONE.id) == []
        assert await registry.revision(SOUTH, ONE.id, 1) is None
        assert await registry.credentials(SOUTH, ONE.id) == []
        assert await registry.tokens(SOUTH) == []
        await raised(Conflict, write(engine, MoveConnection(replace(ONE, store=SOUTH, version=2), 1)))
        await raised(Conflict, write(engine, DropCredential(SOUTH, ONE.id, "api_key")))
        await raised(Bug, write(engine, PutCredential(replace(CREDENTIAL, store=SOUTH, version=2), 1)))
        assert await registry.credentials(NORTH, ONE.id) == [CREDENTIAL]

    async def test_what_is_taken_or_moved_is_a_conflict(self, engine: Engine) -> None:
        await two_stores(engine)
        await write(engine, AddRevision(REVISION), PutCredential(CREDENTIAL, 0), AddToken(TOKEN))
        error = await raised(Conflict, write(engine, AddStore(a_store())))
        assert error.code == "CD3003"
        moved = (
            AddConnection(ONE),
            MoveConnection(replace(ONE, version=9), 8),
            AddRevision(REVISION),
            PutCredential(CREDENTIAL, 0),
            PutCredential(replace(CREDENTIAL, version=9), 8),
            DropCredential(NORTH, ONE.id, "other"),
            PutCoreEndpoint(CoreEndpoint(NORTH, version=3), 2),
            AddToken(TOKEN),
            RevokeToken(TokenId("none"), NOW),
            ReplayHeld(lane_id("none"), (), NOW),
        )
        for one in moved:
            assert (await raised(Conflict, write(engine, one))).code == "CD3002", one

    async def test_a_write_that_leans_on_nothing_is_a_bug(self, engine: Engine) -> None:
        await two_stores(engine)
        nobody = ConnectionId("con_nobody")
        for one in (
            AddConnection(replace(ONE, id=nobody, store=StoreId("gone"))),
            AddRevision(replace(REVISION, connection=nobody)),
            PutCredential(replace(CREDENTIAL, connection=nobody), 0),
            MoveConnection(ONE, 1),
        ):
            assert (await raised(Bug, write(engine, one))).code == "CD5006", one

    async def test_a_change_is_written_whole_with_its_audit_or_not_at_all(self, engine: Engine) -> None:
        await two_stores(engine)
        before = await engine.registry.audit(None, 0, 100)
        heard: list[Change] = []
        engine.registry.on_change(heard.append)
        writes = (AddToken(TOKEN), OpenLane(lane_id()), PutCredential(CREDENTIAL, 0), AddStore(a_store()))
        await raised(CrossdockError, write(engine, *writes))
        assert await engine.registry.audit(None, 0, 100) == before
        assert await engine.registry.token(TOKEN.id) is None
        assert await engine.lanes.lane(lane_id()) is None
        assert await engine.registry.credentials(NORTH, ONE.id) == []
        assert heard == []
        good = Change(writes[:3], (audit(),))
        await engine.registry.commit(good)
        assert heard == [good]

    async def test_of_many_who_decided_on_one_version_one_wins(self, engine: Engine) -> None:
        await two_stores(engine)
        moves = [MoveConnection(replace(ONE, label=str(number), version=2), 1) for number in range(16)]
        answers = await asyncio.gather(*(write(engine, one) for one in moves), return_exceptions=True)
        assert answers.count(None) == 1
        assert len([one for one in answers if isinstance(one, Conflict)]) == 15
        standing = await engine.registry.connection(ONE.id)
        assert standing == moves[answers.index(None)].connection
        assert len(await engine.registry.audit(None, 0, 100)) == 2

    async def test_audit_counts_per_store_and_over_the_whole(self, engine: Engine) -> None:
        entries = (audit("a"), audit("b", SOUTH), audit("c", None), audit("d"))
        await engine.registry.commit(Change((), entries))
        whole = await engine.registry.audit(None, 0, 10)
        assert [(entry.action, entry.seq) for entry in whole] == [("a", 1), ("b", 2), ("c", 3), ("d", 4)]
        assert await engine.registry.audit(None, 1, 2) == whole[1:3]
        assert [(one.action, one.seq) for one in await engine.registry.audit(NORTH, 0, 10)] == [("a", 1), ("d", 2)]
        assert [(one.action, one.seq) for one in await engine.registry.audit(NORTH, 1, 10)] == [("d", 2)]
        assert whole[0] == replace(entries[0], seq=1)

    async def test_a_store_whose_gate_is_shut_does_not_change(self, engine: Engine) -> None:
        await two_stores(engine)
        await write(engine, AddToken(TOKEN))
        await engine.journal.gate(NORTH, Gate.SHUT)
        before = await engine.registry.audit(None, 0, 100)
        told = Change((), (audit("told", NORTH),))
        move = Change((MoveConnection(replace(ONE, label="new", version=2), 1),), (audit("moved", None),))
        revoke = Change((RevokeToken(TOKEN.id, NOW),), (audit("revoked", None),))
        for change in (told, move, revoke):
            assert (await raised(Unavailable, engine.registry.commit(change))).code == "CD5024"
        assert await engine.registry.audit(None, 0, 100) == before
        await engine.registry.commit(Change((), (audit("other", SOUTH), audit("platform", None))))
        await engine.journal.gate(NORTH, Gate.CLOSING)
        await engine.registry.commit(told)
        await engine.journal.gate(NORTH, Gate.OPEN)
        await engine.registry.commit(move)
        await engine.registry.commit(revoke)

    async def test_a_token_is_revoked_once(self, engine: Engine) -> None:
        await two_stores(engine)
        await write(engine, AddToken(TOKEN), RevokeToken(TOKEN.id, Instant(5)))
        await write(engine, RevokeToken(TOKEN.id, Instant(9)))
        token = await engine.registry.token(TOKEN.id)
        assert token == replace(TOKEN, revoked_at=Instant(5))

    async def test_changes_name_the_stores_that_were_changed_since_a_number(self, engine: Engine) -> None:
        await engine.registry.commit(Change((), (audit("a"),)))
        start = await engine.registry.changes(None)
        assert (start.stores, start.platform) == (frozenset(), False)
        assert await engine.registry.changes(start.seq) == start
        await engine.registry.commit(Change((), (audit("b", SOUTH), audit("c", SOUTH))))
        one = await engine.registry.changes(start.seq)
        assert (one.stores, one.platform) == (frozenset({SOUTH}), False)
        await engine.registry.commit(Change((), (audit("d", None), audit("e"))))
        both = await engine.registry.changes(one.seq)
        assert (both.stores, both.platform) == (frozenset({NORTH}), True)
        assert (await engine.registry.changes(start.seq)).stores == {NORTH, SOUTH}
        assert both.seq == (await engine.registry.changes(None)).seq > one.seq > start.seq

    async def test_a_follower_of_changes_misses_none_of_many_committers(self, engine: Engine) -> None:
        stores = [StoreId(f"s{number}") for number in range(20)]
        seq, seen = (await engine.registry.changes(None)).seq, set[StoreId]()

        async def follow() -> None:
            nonlocal seq
            while len(seen) < len(stores):
                changes = await engine.registry.changes(seq)
                seen.update(changes.stores)
                seq = changes.seq
                await asyncio.sleep(0)

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(follow())
            for store in stores:
                group.create_task(engine.registry.commit(Change((), (audit("a", store),))))
        assert seen == set(stores)
