"""Lanes at work: what far ends get, in which order, and what becomes of what they do not take."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import replace

import pytest
from delivery_world import DOWN, REJECTED, ROUTE, TAKEN, FarEnd, World
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdock.delivery import sending
from crossdock.delivery.driver import Parcel
from crossdock.delivery.fairness import Caps, Latency, Turns
from crossdock.delivery.turn import TurnEnd
from crossdock.journal.port import Lanes
from crossdock.model.attempt import Answer, AnswerKind
from crossdock.model.connection import ConnectionState, CoreMode
from crossdock.model.contract import Batch, Collapse, Coupling, DataClass, DeliveryRule, FieldRule, Protect, Rate
from crossdock.model.ids import START as NOTHING
from crossdock.model.ids import ConnectionId, Instant
from crossdock.model.lane import HeldState, LaneChange
from crossdock.model.limits import BREAKER_FAILURES, DAY_MS, HOUR_MS
from crossdock.stores.ways import Way


async def test_an_event_arrives_cut_to_the_contract_and_everything_else_is_filtered() -> None:
    far = FarEnd()
    world = await World(far).begin()
    await world.publish({"sku": "a", "stock": 3, "cost": 9})
    await world.publish({"sku": "a"}, type_="order.placed")
    await world.deliver()
    assert [parcel.data for parcel in far.took["one"]] == [{"sku": "a", "stock": 3}]
    assert await world.count() == {
        "delivered": 1, "superseded": 0, "filtered": 1, "expired": 0, "erased": 0, "waiting": 0, "parked": 0,
    }  # fmt: skip


async def test_after_an_outage_everything_arrives_in_the_order_of_its_key() -> None:
    down = True
    far = FarEnd(lambda way, parcel: DOWN if down else TAKEN)
    world = await World(far, replace(ROUTE, retry=replace(ROUTE.retry, attempts_max=1_000))).begin()
    sent: dict[str, list[str]] = defaultdict(list)
    for number in range(300):
        key = f"k{number % 7}"
        sent[key].append(f"evt-{number + 1}")
        await world.publish({"sku": key, "stock": number})
    await world.deliver(600_000, steps=10)
    assert far.took == {}
    assert len(far.calls) < 300  # the breaker spares a far end that is down
    down = False
    await world.deliver(6 * HOUR_MS, steps=10)
    arrived: dict[str, list[str]] = defaultdict(list)
    for parcel in far.took["one"]:
        arrived[parcel.key].append(parcel.event_id)
    assert arrived == sent
    assert (await world.count())["delivered"] == 300


async def test_a_parked_event_does_not_hold_up_its_key_and_a_retried_one_does() -> None:
    first = True

    def answer(way: Way, parcel: Parcel) -> Answer:
        nonlocal first
        if parcel.event_id == "evt-1":
            return REJECTED
        if parcel.event_id == "evt-3" and first:
            first = False
            return DOWN
        return TAKEN

    far = FarEnd(answer)
    world = await World(far).begin()
    for _ in range(5):
        await world.publish({"sku": "a"})
    await world.publish({"sku": "b"})
    await world.deliver()
    assert sorted(far.took_ids()) == ["evt-2", "evt-6"]
    await world.deliver(10_000)
    assert far.took_ids()[2:] == ["evt-3", "evt-4", "evt-5"]
    assert (await world.count())["parked"] == 1


async def test_an_event_that_cannot_be_opened_is_set_aside_alone() -> None:
    far = FarEnd()
    world = await World(far).begin()
    await world.publish({"sku": "a"})
    await world.publish({}, body=b"not what it was sealed as, at any length at all")
    await world.publish({"sku": "a"})
    await world.deliver()
    assert far.took_ids() == ["evt-1", "evt-3"]
    ((row, _),) = await world.engine.lanes.held(world.lane(), HeldState.PARKED, NOTHING, 9)
    assert (row.position, row.reason) == (2, "unreadable")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(AnswerKind.GONE, "http_410", 1, 410), "gone"),
        (Answer(AnswerKind.UNAUTHORISED, "http_401", 1, 401), "credential_refused"),
    ],
)
async def test_what_concerns_the_connection_pauses_it_and_loses_nothing(answer: Answer, reason: str) -> None:
    bad = True
    far = FarEnd(lambda way, parcel: answer if bad else TAKEN)
    world = await World(far, replace(ROUTE, delivery=DeliveryRule(concurrency=1))).begin()
    for number in range(20):
        await world.publish({"sku": f"k{number}"})
    await world.deliver(DAY_MS, steps=20)
    assert world.paused == [("con_one", reason)]
    assert len(far.calls) == 1
    bad = False
    world.set_state(world.lane(), ConnectionState.ENABLED)
    world.deliverer.wake(["one"])  # type: ignore[list-item]  # a plain name is a store id
    await world.deliver(HOUR_MS)
    assert (await world.count())["delivered"] == 20


async def test_retry_after_is_obeyed_for_the_whole_connection() -> None:
    busy = True
    far = FarEnd(lambda way, parcel: Answer(AnswerKind.BUSY, "http_429", 1, 429, 60_000) if busy else TAKEN)
    world = await World(far, replace(ROUTE, delivery=DeliveryRule(concurrency=1))).begin()
    await world.publish({"sku": "a"})
    await world.publish({"sku": "b"})
    await world.deliver(59_000, steps=59)
    assert len(far.calls) == 1
    busy = False
    await world.deliver(10_000, steps=10)
    assert sorted(far.took_ids()) == ["evt-1", "evt-2"]


async def test_a_newer_state_supersedes_what_was_not_delivered_yet() -> None:
    down = True
    far = FarEnd(lambda way, parcel: DOWN if down else TAKEN)
    world = await World(far, replace(ROUTE, collapse=Collapse.LATEST_PER_KEY)).begin()
    await world.publish({"sku": "a", "stock": 1})
    await world.deliver()
    for stock in (2, 3):
        await world.publish({"sku": "a", "stock": stock})
    await world.publish({"sku": "b", "stock": 7})
    down = False
    await world.deliver()
    assert sorted(parcel.data["stock"] for parcel in far.took["one"]) == [3, 7]  # type: ignore[type-var]
    assert (await world.count())["superseded"] == 2


async def test_what_ends_without_being_sent_leaves_a_record_that_says_how() -> None:
    far = FarEnd(lambda way, parcel: DOWN)
    route = replace(ROUTE, collapse=Collapse.LATEST_PER_KEY, delivery=DeliveryRule(concurrency=1))
    world = await World(far, route).begin()
    await world.publish({"sku": "a", "stock": 1})
    await world.deliver()
    far.answer = lambda way, parcel: TAKEN
    await world.publish({"sku": "a", "stock": 2})
    await world.publish({"sku": "a", "stock": 3})
    await world.deliver(HOUR_MS)
    lane, records = world.lane(), dict[int, list[tuple[int, str, str]]]()
    for attempt in reversed(await world.engine.lanes.attempts(lane, 99)):
        records.setdefault(attempt.position, []).append((attempt.number, str(attempt.answer.kind), attempt.next))
    assert records == {
        1: [(1, "unreachable", "retry"), (1, "unsent", "superseded by 3")],
        2: [(0, "unsent", "superseded by 3")],
        3: [(1, "taken", "settle")],
    }
    assert (await world.count())["superseded"] == 2


async def test_a_batch_goes_when_it_is_full_or_its_oldest_has_waited() -> None:
    far = FarEnd()
    batch = Batch(items_max=3, body_bytes_max=10_000, wait_ms_max=5_000, per_item=True)
    world = await World(far, replace(ROUTE, batch=batch, ordering=())).begin()
    for number in range(4):
        await world.publish({"sku": f"k{number}"})
    await world.deliver()
    assert [len(parcels) for _, parcels in far.calls] in ([3], [3, 1])
    await world.publish({"sku": "last"})
    calls = len(far.calls)
    await world.deliver(4_000, steps=4)
    assert len(far.calls) == calls
    await world.deliver(1_500)
    assert (await world.count())["delivered"] == 5


async def test_a_batch_with_results_per_item_settles_each_by_its_own() -> None:
    def answer(way: Way, parcel: Parcel) -> Answer:
        kind = {"evt-2": REJECTED, "evt-3": DOWN}.get(parcel.event_id, TAKEN)
        return kind if parcel.attempt == 1 else TAKEN

    far = FarEnd(answer)
    batch = Batch(items_max=5, body_bytes_max=10_000, wait_ms_max=0, per_item=True)
    world = await World(far, replace(ROUTE, batch=batch, ordering=())).begin()
    for number in range(5):
        await world.publish({"sku": f"k{number}"})
    await world.deliver(60_000)
    counts = await world.count()
    assert (counts["delivered"], counts["parked"], counts["waiting"]) == (4, 1, 0)
    assert [attempt.number for attempt in await world.engine.lanes.attempts(world.lane(), 9, 3)] == [2, 1]  # type: ignore[arg-type]


async def test_a_batch_that_is_refused_whole_for_one_event_parks_that_one_alone() -> None:
    class Strict(FarEnd):
        async def deliver(self, way: Way, parcels: tuple[Parcel, ...], now: Instant) -> tuple[Answer, ...]:
            self.answer = lambda w, p: REJECTED if any(one.event_id == "evt-4" for one in parcels) else TAKEN
            return await super().deliver(way, parcels, now)

    far = Strict()
    batch = Batch(items_max=8, body_bytes_max=10_000, wait_ms_max=0, per_item=False)
    world = await World(far, replace(ROUTE, batch=batch, ordering=())).begin()
    for number in range(8):
        await world.publish({"sku": f"k{number}"})
    await world.deliver()
    assert sorted(far.took_ids()) == [f"evt-{number}" for number in (1, 2, 3, 5, 6, 7, 8)]
    assert (await world.count())["parked"] == 1


@pytest.mark.parametrize("size", [8, 60])
async def test_an_event_that_breaks_every_batch_it_is_in_is_given_up_alone(size: int) -> None:
    class Breaking(FarEnd):
        async def deliver(self, way: Way, parcels: tuple[Parcel, ...], now: Instant) -> tuple[Answer, ...]:
            broken = any(one.event_id == "evt-4" for one in parcels)
            self.answer = lambda w, p: Answer(AnswerKind.BROKEN, "http_500", 3, 500) if broken else TAKEN
            return await super().deliver(way, parcels, now)

    far = Breaking()
    batch = Batch(items_max=size, body_bytes_max=100_000, wait_ms_max=0, per_item=False)
    route = replace(ROUTE, batch=batch, ordering=(), retry=replace(ROUTE.retry, attempts_max=5))
    world = await World(far, route).begin()
    for number in range(size):
        await world.publish({"sku": f"k{number}"})
    await world.deliver(HOUR_MS, steps=3_600)
    counts = await world.count()
    assert (counts["delivered"], counts["parked"], counts["waiting"]) == (size - 1, 1, 0)
    held = await world.engine.lanes.held(world.lane(), HeldState.PARKED, NOTHING, 9)
    assert [entry.event_id for _, entry in held] == ["evt-4"]


@given(st.integers(1, 1_000), st.integers(2, 20), st.integers(0, 20))
def test_a_batch_shrinks_with_each_failure_down_to_one_event(items: int, attempts: int, failed: int) -> None:
    sizes = [sending.items_after(number, items, attempts) for number in range(attempts)]
    assert sizes[0] == items
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 1
    assert sending.items_after(failed, items, 1) == items


async def test_a_batch_whose_bytes_are_full_does_not_wait_for_more_events() -> None:
    far = FarEnd()
    batch = Batch(items_max=100, body_bytes_max=2_000, wait_ms_max=60_000, per_item=True)
    world = await World(far, replace(ROUTE, batch=batch, ordering=())).begin()
    await world.publish({"sku": "x" * 600})
    await world.deliver()
    assert far.calls == []
    for _ in range(3):
        await world.publish({"sku": "x" * 600})
    await world.deliver()
    assert [len(parcels) for _, parcels in far.calls] == [3, 1]


async def test_a_store_with_four_times_the_weight_is_served_four_times_as_much_while_senders_are_scarce() -> None:
    far = FarEnd()
    world = await World(far, stores=("one", "two")).begin()
    world.ways[world.lane("one")] = replace(world.ways[world.lane("one")], weight=4)
    deliverer = world.new_deliverer(caps=Caps(class_max=dict.fromkeys(Latency, 1)))
    deliverer._agenda._turns = {latency: Turns(10) for latency in Latency}
    for _ in range(200):
        for store in ("one", "two"):
            await world.publish({"sku": "a"}, store)
    await deliverer.work_off()
    stores = [store for store, _ in far.calls]
    # Its weight is learned with its first turn.
    assert 75 <= stores[:100].count("one") <= 85
    assert len(stores) == 400


async def test_one_stores_dead_receiver_changes_nothing_for_another_store() -> None:
    far = FarEnd(lambda way, parcel: DOWN if way.lane.store == "one" else TAKEN)
    world = await World(far, stores=("one", "two")).begin()
    for number in range(400):
        await world.publish({"sku": f"k{number}"}, "one")
        await world.publish({"sku": f"k{number}"}, "two")
    await world.deliver()
    assert (await world.count("two"))["delivered"] == 400
    assert (await world.count("one"))["waiting"] == 400
    assert sum(store == "two" for store, _ in far.calls) == 400
    assert sum(store == "one" for store, _ in far.calls) < BREAKER_FAILURES + 10


class Crash(BaseException):
    """The process dies here."""


class CrashingLanes:
    """The engine's lanes, in a process that dies right before it settles."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes

    def __getattr__(self, name: str) -> object:
        return getattr(self._lanes, name)

    async def settle(self, changes: list[LaneChange]) -> list[bool]:
        raise Crash


async def test_a_crash_between_send_and_settle_repeats_the_same_ids_and_bodies() -> None:
    far = FarEnd()
    world = await World(far).begin()
    for number in range(6):
        await world.publish({"sku": f"k{number % 2}", "stock": number})
    crashing = world.new_deliverer(CrashingLanes(world.engine.lanes))  # type: ignore[arg-type]
    with pytest.raises(BaseException) as caught:  # noqa: PT011  # an exception group around it, or it alone
        await crashing.turn_once(world.lane())
    assert isinstance(caught.value, Crash)
    before, far.took = far.took["one"], {}
    await world.deliver()
    after = far.took["one"]
    assert {one.event_id: one for one in before} == {one.event_id: one for one in after}
    assert (await world.count())["delivered"] == 6


async def test_a_driver_that_raises_is_told_and_its_entries_are_tried_again() -> None:
    broken = True

    def answer(way: Way, parcel: Parcel) -> Answer:
        if broken and parcel.event_id == "evt-2":
            raise KeyError("a bug in a driver")
        return TAKEN

    far = FarEnd(answer)
    world = await World(far).begin()
    for key in ("a", "b", "c"):
        await world.publish({"sku": key})
    await world.deliver()
    assert sorted(far.took_ids()) == ["evt-1", "evt-3"]
    assert [line["error"] for line in world.named("delivery.failed")] == ["KeyError"]
    broken = False
    await world.deliver(60_000)
    assert (await world.count())["delivered"] == 3


async def test_a_cut_turn_settles_what_was_answered_and_repeats_the_rest() -> None:
    stuck = asyncio.Event()

    class Slow(FarEnd):
        async def deliver(self, way: Way, parcels: tuple[Parcel, ...], now: Instant) -> tuple[Answer, ...]:
            if parcels[0].event_id == "evt-2" and not stuck.is_set():
                stuck.set()
                await asyncio.Event().wait()
            return await super().deliver(way, parcels, now)

    far = Slow()
    world = await World(far).begin()
    for key in ("a", "b", "c", "b"):
        await world.publish({"sku": key})
    task = asyncio.ensure_future(world.deliverer.turn_once(world.lane()))
    await stuck.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await world.check()
    assert (await world.count())["delivered"] == 2
    await world.deliver()
    assert far.took_ids() == ["evt-1", "evt-3", "evt-2", "evt-4"]


async def test_a_rate_is_kept_without_losing_the_rest() -> None:
    far = FarEnd()
    rule = DeliveryRule(concurrency=4, rate=Rate(limit=10, per_ms=1_000, burst=20))
    world = await World(far, replace(ROUTE, delivery=rule, ordering=())).begin()
    for number in range(50):
        await world.publish({"sku": f"k{number}"})
    await world.deliver()
    assert len(far.calls) == 20
    await world.deliver(1_000, steps=10)
    assert len(far.calls) == 30
    await world.deliver(2_000, steps=10)
    assert (await world.count())["delivered"] == 50


async def test_an_erased_person_leaves_the_rest_deliverable_or_counts_as_erased() -> None:
    fields = (*ROUTE.fields, FieldRule("/email", DataClass.PII, Protect.PLAIN, "they asked for mail"))

    def answer(way: Way, parcel: Parcel) -> Answer:
        if parcel.data.get("sku") == "needs-mail" and "email" not in parcel.data:
            return Answer(AnswerKind.UNRENDERABLE, "recipient", 0)
        return TAKEN

    far = FarEnd(answer)
    world = await World(far, replace(ROUTE, fields=fields)).begin()
    await world.publish({"sku": "a"}, email="ann@example.org")
    await world.deliver()
    await world.publish({"sku": "b"}, email="bob@example.org")
    await world.publish({"sku": "needs-mail"}, email="cyd@example.org")
    world.memory.subject_keys.clear()
    await world.deliver()
    assert [parcel.data for parcel in far.took["one"]] == [{"sku": "a", "email": "ann@example.org"}, {"sku": "b"}]
    counts = await world.count()
    assert (counts["delivered"], counts["erased"], counts["parked"]) == (2, 1, 0)


async def test_an_echo_goes_back_to_nobody_who_caused_it() -> None:
    far = FarEnd()
    world = await World(far).begin()
    coupling = Coupling("/sku", "/item", {}, "field_owner_wins", True, DAY_MS, 2, "report_only")
    way = world.ways[world.lane()]
    world.ways[world.lane()] = replace(way, contract=replace(way.contract, coupling=coupling))
    await world.publish({"sku": "a"}, caused_by=ConnectionId("con_one"))
    await world.publish({"sku": "a"}, caused_by=ConnectionId("con_other"))
    await world.deliver()
    assert far.took_ids() == ["evt-2"]
    assert (await world.count())["filtered"] == 1


async def test_what_is_too_old_expires_and_an_inbound_lane_takes_only_its_own() -> None:
    far = FarEnd(lambda way, parcel: DOWN)
    world = await World(far, replace(ROUTE, expires_after_ms=10_000)).begin()
    await world.publish({"sku": "a"})
    await world.publish({"sku": "a"})
    await world.deliver(60_000, steps=6)
    assert (await world.count())["expired"] == 2


async def test_a_lane_that_the_core_pulls_is_left_to_it() -> None:
    far = FarEnd()
    world = await World(far).begin()
    world.ways[world.lane()] = replace(world.ways[world.lane()], core=CoreMode.PULL)
    await world.publish({"sku": "a"})
    await world.deliver()
    assert far.calls == []
    assert await world.deliverer.turn_once(world.lane()) is None


async def test_the_loop_delivers_what_it_is_told_of_and_ends_when_asked() -> None:
    far = FarEnd()
    world = await World(far).begin()
    stop = asyncio.Event()
    task = asyncio.ensure_future(world.deliverer.run(stop))
    await world.publish({"sku": "a"})
    for _ in range(200):
        await asyncio.sleep(0)
        if far.took:
            break
    stop.set()
    await task
    assert far.took_ids() == ["evt-1"]
    await world.check()


async def test_a_turn_without_work_ends_without_a_trace() -> None:
    world = await World(FarEnd()).begin()
    world.lines.clear()
    assert await world.deliverer.turn_once(world.lane()) == TurnEnd()
    assert world.lines == []
    assert world.deliverer.kept()["lanes"] == 0


ANSWERS = st.sampled_from(
    [
        TAKEN,
        TAKEN,
        TAKEN,
        REJECTED,
        DOWN,
        Answer(AnswerKind.BUSY, "http_429", 1, 429, 2_000),
        Answer(AnswerKind.TIMEOUT, "timeout", 1),
        Answer(AnswerKind.UNRENDERABLE, "mapping", 0),
    ]
)
STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4_000), st.booleans()), min_size=1, max_size=25)


@settings(max_examples=60, deadline=None)
@given(st.lists(ANSWERS, min_size=1, max_size=40), STEPS, st.booleans(), st.booleans())
def test_whatever_the_far_end_says_order_holds_and_every_ledger_closes(
    answers: list[Answer], steps: list[tuple[str, int, bool]], collapse: bool, batched: bool
) -> None:
    async def story() -> None:
        script = iter(answers)
        far = FarEnd(lambda way, parcel: next(script, TAKEN))
        route = replace(
            ROUTE,
            collapse=Collapse.LATEST_PER_KEY if collapse else Collapse.NONE,
            batch=Batch(4, 1_000, 500, True) if batched else None,
        )
        world = await World(far, route).begin()
        for key, wait_ms, wanted in steps:
            await world.publish({"sku": key}, type_="product.changed" if wanted else "order.placed")
            await world.deliver(wait_ms)
        await world.deliver(2 * DAY_MS, steps=40)
        counts = await world.count()
        assert counts["waiting"] == 0
        assert sum(counts.values()) == len(steps)
        by_key: dict[str, list[int]] = defaultdict(list)
        for parcel in far.took.get("one", []):
            by_key[parcel.key].append(parcel.position)
        assert all(positions == sorted(set(positions)) for positions in by_key.values())

    asyncio.run(story())


class Hanging(FarEnd):
    """Some stores' far ends take what they are sent and never answer, until they are let go."""

    def __init__(self, hang: set[str]) -> None:
        super().__init__()
        self.hang = hang
        self.go = asyncio.Event()
        self.awaited = 0

    async def deliver(self, way: Way, parcels: tuple[Parcel, ...], now: Instant) -> tuple[Answer, ...]:
        if way.lane.store in self.hang:
            self.awaited += 1
            await self.go.wait()
        return await super().deliver(way, parcels, now)


async def test_far_ends_that_hang_have_the_senders_of_the_others_for_a_moment_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sending, "SLOW_MS", 300)  # far above a hiccup of a busy machine
    bad, good = {f"bad{number:02}" for number in range(20)}, {f"good{number}" for number in range(10)}
    far = Hanging(bad)
    world = await World(far, stores=sorted(bad | good)).furnish()
    caps = Caps(class_max={Latency.FAST: 8, Latency.SLOW: 4})
    deliverer = world.new_deliverer(caps=caps)
    for _ in range(3):
        for store in sorted(bad | good):
            await world.publish({"sku": "a"}, store)
    stop = asyncio.Event()
    running = asyncio.ensure_future(deliverer.run(stop))
    async with asyncio.timeout(30):
        while sum(map(len, far.took.values())) < 3 * len(good):
            await asyncio.sleep(0.01)
        while caps.totals != {Latency.FAST: 0, Latency.SLOW: len(bad)}:
            await asyncio.sleep(0.01)
    assert set(far.took) == good
    assert far.awaited == len(bad)  # each was tried once, eight at a time
    far.go.set()
    async with asyncio.timeout(30):
        while sum(map(len, far.took.values())) < 3 * len(bad | good):
            await asyncio.sleep(0.01)
    stop.set()
    await running
    assert (caps.total, caps.slow) == (0, set())
    await world.check()
