"""The table of answers, over the in-memory engine with the shipped contracts."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Sequence
from typing import Any

import pytest
from ingest_world import NOW, ORDER, PRODUCT, STORE, TOKEN, build, event

from crossdock.credentials.secret import Secret
from crossdock.ingest.quotas import Rates
from crossdock.model.connection import ConnectionState
from crossdock.model.contract import Rate
from crossdock.model.entry import Appended, Draft
from crossdock.model.errors import Unavailable
from crossdock.model.ids import START, ConnectionId, Instant

BATCH = "application/cloudevents-batch+json"
NOBODY = ConnectionId("con_" + "0" * 26)


async def entries(world: Any) -> list[Any]:
    return await world.engine.journal.read(STORE, START, 100)


async def test_a_signed_order_is_kept_and_its_personal_part_is_apart() -> None:
    world, made = await build()
    answer = await world.order(made["orders.generic"], ORDER)
    assert answer.status == 202
    [entry] = await entries(world)
    assert answer.json == {"event_id": entry.event_id, "correlation_id": entry.correlation_id}
    assert answer.header(b"x-correlation-id") == entry.correlation_id.encode()
    keys = await world.directory.keys(STORE)
    body = json.loads(keys.unseal_body(entry.event_id, entry.body))
    assert body["order_id"] == "1001"
    assert body["buyer"] == {}
    wrapped = await world.engine.journal.subject_key(STORE, entry.subject_ref)
    personal = keys.unseal_personal(keys.open_subject_key(entry.subject_ref, wrapped), entry.event_id, entry.personal)
    assert json.loads(personal)["/buyer/email"] == "Ada@Example.org"
    assert b"example.org" not in entry.body + entry.personal
    [(name, fields)] = world.written
    assert (name, fields["outcome"], fields["store"]) == ("ingest.accepted", "kept", STORE)


async def test_the_same_message_again_gets_the_same_answer_byte_for_byte() -> None:
    world, made = await build()
    first = await world.order(made["orders.generic"], ORDER)
    world.now = Instant(NOW + 1_000)
    again = await world.order(made["orders.generic"], ORDER)
    assert (again.status, again.headers, again.body) == (first.status, first.headers, first.body)
    assert len(await entries(world)) == 1


async def test_the_same_key_with_another_body_is_a_conflict_that_is_recorded() -> None:
    world, made = await build()
    await world.order(made["orders.generic"], ORDER)
    answer = await world.order(made["orders.generic"], {**ORDER, "status": "void"})
    assert (answer.status, answer.json["code"]) == (409, "CD1016")
    assert len(await world.engine.journal.conflicts(STORE, 10)) == 1


async def test_a_shopify_order_is_answered_as_its_contract_says() -> None:
    world, made = await build()
    order = {
        "id": 450789469,
        "created_at": "2026-05-01T10:00:00-04:00",
        "currency": "USD",
        "total_price": "409.94",
        "email": "bob@example.org",
        "note": "ring twice",
        "line_items": [{"id": 1, "sku": "IPOD", "title": "IPod", "quantity": 1, "price": "199.00"}],
    }
    body = json.dumps(order).encode()
    where = f"/in/{made['orders.shopify']}/order-in"
    answer = await world.post(where, body, world.shopify(made["orders.shopify"], body))
    assert answer.status == 200
    [entry] = await entries(world)
    keys = await world.directory.keys(STORE)
    assert b"ring twice" not in keys.unseal_body(entry.event_id, entry.body)
    wrong = await world.post(
        where, body, world.shopify(made["orders.shopify"], body, X_Shopify_Topic="app/uninstalled")
    )
    assert (wrong.status, wrong.json["code"]) == (422, "CD1011")


async def test_whoever_cannot_sign_learns_nothing() -> None:
    world, made = await build(states={"orders.shopify": ConnectionState.DISABLED})
    body = json.dumps(ORDER).encode()
    known = made["orders.generic"]
    signed = world.signed(known, body)
    other = Secret(b"some other secret of its own")
    stale = world.signed(known, body)
    answers = [
        await world.post(f"/in/{NOBODY}", body, signed),
        await world.post("/in/nonsense", body, signed),
        await world.post(f"/in/{known}/no-such-route", body, signed),
        await world.post(f"/in/{known}", body, world.signed(known, body, other)),
        await world.post(f"/in/{known}", body + b" ", signed),
        await world.post(f"/in/{known}", body, []),
        await world.post(f"/in/{known}", b"x" * 400_000, []),
        await world.post(f"/in/{NOBODY}", b"x" * 400_000, []),
        await world.post(f"/in/{made['orders.shopify']}", body, [(b"x-shopify-hmac-sha256", b"AAAA")]),
    ]
    world.now = Instant(NOW + 301_000)
    answers.append(await world.post(f"/in/{known}", body, stale))
    assert {(one.status, tuple(one.headers), one.body) for one in answers} == {
        (401, tuple(answers[0].headers), answers[0].body)
    }
    assert await entries(world) == []


@pytest.mark.parametrize("state", [ConnectionState.DISABLED, ConnectionState.DRAFT, ConnectionState.VALIDATED])
async def test_a_connection_that_is_not_enabled_says_so_only_to_its_sender(state: ConnectionState) -> None:
    world, made = await build(states={"orders.generic": state})
    answer = await world.order(made["orders.generic"], ORDER)
    unknown = await world.order(made["orders.generic"], ORDER, method="POST")
    nobody = await world.post(f"/in/{NOBODY}", b"{}")
    assert (answer.status, unknown.status, nobody.status) == (403, 403, 401)
    assert answer.body == nobody.body
    assert await entries(world) == []


async def test_a_paused_connection_keeps_what_comes() -> None:
    world, made = await build(states={"orders.generic": ConnectionState.PAUSED})
    assert (await world.order(made["orders.generic"], ORDER)).status == 202
    assert len(await entries(world)) == 1


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"not json", 400, "CD1003"),
        (b'{"order_id": NaN}', 400, "CD1003"),
        (b'{"order_id": "1", "order_id": "2", "revision": 1}', 422, "CD1005"),
        (b'{"order_id": "1\\u0000", "revision": 1}', 422, "CD1006"),
        (b'{"order_id": "\\ud800", "revision": 1}', 422, "CD1006"),
        (b"[" * 100_000, 422, "CD1004"),
        (b"\xff\xfe", 400, "CD1003"),
        (b"[]", 422, "CD1010"),
        (b'{"order_id": "1"}', 422, "CD1010"),
        (json.dumps({**ORDER, "secret_note": 1}).encode(), 422, "CD1012"),
        (b" " * 300_000 + json.dumps(ORDER).encode(), 413, "CD1002"),
    ],
)
async def test_what_is_signed_but_not_as_it_should_be_is_refused(body: bytes, status: int, code: str) -> None:
    world, made = await build()
    answer = await world.order(made["orders.generic"], body)
    assert (answer.status, answer.json["code"]) == (status, code)
    assert await entries(world) == []
    assert world.written[-1][0] == "ingest.refused"


async def test_problems_are_told_by_pointer_and_never_by_value() -> None:
    world, made = await build()
    answer = await world.order(made["orders.generic"], {**ORDER, "revision": "canary-value"})
    assert answer.json["problems"] == [{"pointer": "/revision", "rule": "type"}]
    assert b"canary-value" not in answer.body


async def test_a_body_is_cut_off_while_it_is_read() -> None:
    world, made = await build()
    chunks = [b"x" * 65_536] * 1_000
    answer = await world.post(f"/in/{made['orders.generic']}", chunks=chunks)
    assert (answer.status, answer.json["code"]) == (413, "CD1002")
    declared = await world.post(f"/in/{NOBODY}", headers=[(b"content-length", b"9" * 30)], chunks=[])
    assert declared.status == 413


async def test_a_sender_who_goes_away_is_not_answered() -> None:
    world, made = await build()
    assert (await world.post(f"/in/{made['orders.generic']}", chunks=[])).status == 0
    assert world.written[-1][1]["status"] == 499


async def test_other_methods_encodings_and_doubled_headers_are_refused() -> None:
    world, made = await build()
    where = f"/in/{made['orders.generic']}"
    assert (await world.post(where, method="GET")).header(b"allow") == b"POST"
    packed = await world.post(where, b"", [(b"content-encoding", b"gzip")])
    twice = await world.post(where, b"", [(b"content-type", b"a/b"), (b"content-type", b"c/d")])
    assert (packed.status, packed.json["code"]) == (415, "CD1008")
    assert (twice.status, twice.json["code"]) == (400, "CD1020")


async def test_what_is_not_for_ingest_goes_on() -> None:
    world, _ = await build()
    assert (await world.post("/v1/stores")).status == 418
    assert (await world.post(f"/v1/stores/{STORE}/events", method="GET")).status == 418


async def test_the_core_publishes_in_four_forms() -> None:
    world, _ = await build()
    single = await world.publish(event(id="s", dataschema="https://c.example/schemas/product.changed@2"))
    batch = await world.publish(event(id="b1"), event(id="b2"), media=BATCH)
    lines = b"\n".join(json.dumps(event(id=name)).encode() for name in ("n1", "n2")) + b"\n"
    auth = (b"authorization", TOKEN)
    where = f"/v1/stores/{STORE}/events"
    bulk = await world.post(where, lines, [auth, (b"content-type", b"application/x-ndjson")])
    binary = await world.post(
        where,
        json.dumps(PRODUCT).encode(),
        [
            auth,
            (b"content-type", b"application/json; charset=utf-8"),
            (b"ce-specversion", b"1.0"),
            (b"ce-id", b"bin%20ary"),
            (b"ce-source", b"/core"),
            (b"ce-type", b"product.changed"),
            (b"ce-crossdockhops", b"1"),
        ],
    )
    assert [one.status for one in (single, batch, bulk, binary)] == [202] * 4
    assert single.json["event_id"] == "s"
    assert [one["event_id"] for one in batch.json["events"] + bulk.json["events"]] == ["b1", "b2", "n1", "n2"]
    kept = await entries(world)
    assert [entry.event_id for entry in kept] == ["s", "b1", "b2", "n1", "n2", "bin ary"]
    assert kept[-1].hops == 1
    assert {entry.origin for entry in kept} == {"core"}


async def test_the_same_event_in_another_form_is_the_same_event() -> None:
    world, _ = await build()
    first = await world.publish(event())
    again = await world.publish(event(), media=BATCH)
    assert again.json["events"] == [first.json]
    assert len(await entries(world)) == 1
    assert (await world.publish(event(source="/elsewhere"))).status == 202
    assert len(await entries(world)) == 2


async def test_one_bad_event_refuses_the_whole_batch() -> None:
    world, _ = await build()
    answer = await world.publish(event(), event(id="e-2", data={"sku": 1}), media=BATCH)
    assert answer.status == 422
    assert all(pointer.startswith("/1/data/") for pointer in answer.json["pointers"])
    assert await entries(world) == []


async def test_a_line_that_is_not_json_is_named() -> None:
    world, _ = await build()
    lines = json.dumps(event()).encode() + b"\n{broken\n"
    headers = [(b"authorization", TOKEN), (b"content-type", b"application/x-ndjson")]
    answer = await world.post(f"/v1/stores/{STORE}/events", lines, headers)
    assert (answer.status, answer.json["code"], answer.json["where"]) == (400, "CD1003", "/1")
    assert await entries(world) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"specversion": "0.3"},
        {"id": None},
        {"id": ""},
        {"id": "x" * 256},
        {"id": "a\nb"},
        {"source": None},
        {"type": 7},
        {"time": "yesterday"},
        {"time": "2026-02-30T00:00:00Z"},
        {"dataschema": "order.placed@3"},
        {"dataschema": "latest"},
        {"data": None},
        {"data": []},
        {"datacontenttype": "text/xml"},
        {"crossdockcause": "me"},
        {"crossdockhops": -1},
        {"BadName": 1},
    ],
)
async def test_an_event_that_is_not_as_cloudevents_says_is_refused(changes: dict[str, Any]) -> None:
    world, _ = await build()
    answer = await world.publish(event(**changes))
    assert (answer.status, answer.json["code"]) == (422, "CD1014")


async def test_an_unknown_type_or_version_is_refused() -> None:
    world, _ = await build()
    assert (await world.publish(event(type="nothing.known"))).json["code"] == "CD1015"
    assert (await world.publish(event(dataschema="@99"))).json["code"] == "CD1015"


async def test_the_core_shows_its_token_before_its_body_is_read() -> None:
    world, _ = await build()
    chunks = [b"x"] * 3
    where = f"/v1/stores/{STORE}/events"
    answer = await world.post(where, chunks=chunks, headers=[(b"authorization", b"Bearer bad")])
    assert (answer.status, answer.header(b"www-authenticate")) == (401, b"Bearer")
    foreign = await world.post("/v1/stores/south/events", b"", [(b"authorization", TOKEN)])
    assert foreign.status == 404
    plain = await world.post(where, b"{}", [(b"authorization", TOKEN), (b"content-type", b"application/json")])
    assert (plain.status, plain.json["code"]) == (415, "CD1008")


async def test_thirty_two_at_once_make_one_entry_and_one_answer() -> None:
    world, made = await build()
    answers = await asyncio.gather(*(world.order(made["orders.generic"], ORDER) for _ in range(32)))
    assert len({(one.status, one.body) for one in answers}) == 1
    assert len(await entries(world)) == 1


class Held:
    """A journal whose commits wait until they are let go."""

    def __init__(self, journal: Any) -> None:
        self.journal = journal
        self.go = asyncio.Event()
        self.began = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.journal, name)

    async def append(self, drafts: Sequence[Draft]) -> list[Appended]:
        self.began.set()
        await self.go.wait()
        return await self.journal.append(drafts)


async def test_no_answer_comes_before_the_commit() -> None:
    held: list[Held] = []
    world, made = await build(journal_of=lambda journal: held.append(Held(journal)) or held[0])
    posting = asyncio.ensure_future(world.order(made["orders.generic"], ORDER))
    await held[0].began.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not posting.done()
    held[0].go.set()
    assert (await posting).status == 202
    assert len(await entries(world)) == 1


class Full(Held):
    async def append(self, drafts: Sequence[Draft]) -> list[Appended]:
        raise Unavailable("CD5002", "The engine cannot keep it now.", retry_after_ms=2_500)


async def test_what_cannot_be_kept_is_never_promised() -> None:
    world, made = await build(journal_of=Full)
    answer = await world.order(made["orders.generic"], ORDER)
    assert (answer.status, answer.header(b"retry-after")) == (503, b"3")


async def test_failures_cost_the_sender_and_nobody_else() -> None:
    world, made = await build(Rates(path_failures=Rate(3, 60_000, 3), store=Rate(2, 60_000, 2)))
    known = made["orders.generic"]
    bad = [await world.post(f"/in/{known}", b"{}", address="198.51.100.1") for _ in range(4)]
    assert [one.status for one in bad] == [401, 401, 401, 429]
    assert int(bad[3].header(b"retry-after") or b"0") >= 19
    for _ in range(5):
        assert (await world.order(known, b"[]")).status == 422
    orders = [{**ORDER, "order_id": str(number)} for number in range(3)]
    good = [await world.order(known, order) for order in orders]
    assert [one.status for one in good] == [202, 202, 429]


async def test_a_backlog_is_bounded() -> None:
    world, made = await build()
    lane_route = (await world.directory.door(made["orders.generic"], None)).route
    limit = lane_route.limits.backlog_max
    world.engine.journal.head = _far(limit)  # type: ignore[method-assign]
    answer = await world.order(made["orders.generic"], ORDER)
    assert (answer.status, answer.json["code"]) == (429, "CD1017")


def _far(position: int) -> Any:
    async def head(store: Any) -> int:
        return position

    return head


async def test_a_person_who_comes_back_is_sealed_under_the_standing_key() -> None:
    """Also when the key appears between the look and the append."""

    class Blind(Held):
        async def subject_key(self, store: Any, ref: bytes) -> None:
            return None

        async def append(self, drafts: Sequence[Draft]) -> list[Appended]:
            return await self.journal.append(drafts)

    world, made = await build(journal_of=Blind)
    for number in range(3):
        assert (await world.order(made["orders.generic"], {**ORDER, "order_id": str(number)})).status == 202
    kept = await entries(world)
    keys = await world.directory.keys(STORE)
    wrapped = await world.engine.journal.subject_key(STORE, kept[0].subject_ref)
    for entry in kept:
        key = keys.open_subject_key(entry.subject_ref, wrapped)
        assert b"Bergen" in keys.unseal_personal(key, entry.event_id, entry.personal)


async def test_whatever_is_wrong_with_a_signature_the_body_is_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: an unknown address, a missing header, a stale time and a wrong signature cost the same."""
    world, made = await build()
    body = json.dumps({**ORDER, "note": "x" * 2_000}).encode()
    hashed: list[int] = []
    digest = hmac.digest

    def counted(key: bytes, message: bytes, algorithm: str) -> bytes:
        hashed.append(len(message) >= len(body))
        return digest(key, message, algorithm)

    known, shop = made["orders.generic"], made["orders.shopify"]
    wrong = Secret(b"another secret of some length")
    good = world.signed(known, body)
    stale = [(name, b"1" if name == b"x-timestamp" else value) for name, value in good]
    tries = [
        (NOBODY, good),
        (NOBODY, []),
        (known, world.signed(known, body, wrong)),
        (known, []),
        (known, stale),
        (shop, []),
        (shop, [(b"x-shopify-hmac-sha256", b"bm90IGl0")]),
    ]
    monkeypatch.setattr(hmac, "digest", counted)
    for connection, headers in tries:
        hashed.clear()
        assert (await world.post(f"/in/{connection}", body, headers)).status == 401
        assert sum(hashed) == 1, (connection, headers)


async def test_behind_a_trusted_proxy_a_forger_does_not_use_up_the_quota_of_others() -> None:
    world, made = await build(proxies=["10.0.0.0/8"])
    known, body = made["orders.generic"], json.dumps(ORDER).encode()
    forged = [
        *world.signed(known, body, Secret(b"a forger's secret of some length")),
        (b"x-forwarded-for", b"198.51.100.1"),
    ]
    statuses = {(await world.post(f"/in/{known}", body, forged, address="10.1.1.1")).status for _ in range(200)}
    assert statuses == {401, 429}
    good = [*world.signed(known, body), (b"x-forwarded-for", b"198.51.100.1, 203.0.113.5, 10.9.9.9")]
    assert (await world.post(f"/in/{known}", body, good, address="10.1.1.1")).status == 202


async def test_what_an_untrusted_peer_says_of_itself_is_not_believed() -> None:
    world, made = await build(proxies=["10.0.0.0/8"])
    known, body = made["orders.generic"], json.dumps(ORDER).encode()
    forged = world.signed(known, body, Secret(b"a forger's secret of some length"))
    statuses = set()
    for turn in range(200):
        headers = [*forged, (b"x-forwarded-for", f"203.0.113.{turn}".encode())]
        statuses.add((await world.post(f"/in/{known}", body, headers, address="198.51.100.1")).status)
    assert 429 in statuses
