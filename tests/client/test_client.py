"""Both clients against a real server, over real sockets."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from contextlib import aclosing, closing
from typing import Any

import pytest
from far_end import TOKEN, FarEnd, arrival, served

from crossdock.client import AsyncCrossdock, Crossdock, InboxEvent, NotAllowed, Refused, Reject, Unreachable
from crossdock.client.operations import Operations

Do = Callable[[Any], Any]


class Sync:
    async def run(self, url: str, do: Do, token: str = TOKEN, **terms: Any) -> Any:
        with Crossdock(url, token, **terms) as client:
            return await asyncio.to_thread(do, client)


class Async:
    async def run(self, url: str, do: Do, token: str = TOKEN, **terms: Any) -> Any:
        async with AsyncCrossdock(url, token, **terms) as client:
            return await do(client)


@pytest.fixture(params=[Sync(), Async()], ids=["sync", "async"])
def way(request: pytest.FixtureRequest) -> Any:
    return request.param


def order(number: int = 1, **more: Any) -> dict[str, Any]:
    return {"type": "order.placed", "data": {"number": number}, **more}


async def test_an_event_is_published_and_answered_with_a_receipt(far_end: FarEnd, way: Any) -> None:
    (receipt,) = await way.run(far_end.url, lambda client: client.publish("sofia", order(id="o-1")))
    assert (receipt.event_id, receipt.correlation_id) == ("o-1", "c-1")
    assert far_end.kept["o-1"]["source"] == "/core"


async def test_many_events_keep_their_order(far_end: FarEnd, way: Any) -> None:
    events = [order(n, id=f"o-{n}") for n in range(1_500)]
    receipts = await way.run(far_end.url, lambda client: client.publish("sofia", events))
    assert [receipt.event_id for receipt in receipts] == far_end.order == [f"o-{n}" for n in range(1_500)]
    assert len(far_end.requests) == 2


async def test_an_answer_that_was_lost_is_asked_for_again_with_the_same_id(far_end: FarEnd, way: Any) -> None:
    far_end.cut_after_keeping = 2
    (receipt,) = await way.run(far_end.url, lambda client: client.publish("sofia", order()))
    assert far_end.seen_ids == [receipt.event_id] * 3
    assert list(far_end.kept) == [receipt.event_id]


async def test_a_busy_server_is_asked_again(far_end: FarEnd, way: Any) -> None:
    busy = {"status": 503, "code": "CD5002", "title": "Later."}
    far_end.answers = [(503, {"Retry-After": "0"}, busy), (429, {"Retry-After": "0"}, busy), None]
    await way.run(far_end.url, lambda client: client.publish("sofia", order(id="o-1")))
    assert list(far_end.kept) == ["o-1"]
    assert len(far_end.requests) == 4


async def test_a_refusal_is_a_typed_problem(far_end: FarEnd, way: Any) -> None:
    far_end.refuse_types = {"order.placed"}
    with pytest.raises(Refused) as caught:
        await way.run(far_end.url, lambda client: client.publish("sofia", [order(), order()]))
    assert (caught.value.status, caught.value.code) == (422, "CD1022")
    assert caught.value.pointers == ("/0/data", "/1/data")


async def test_a_wrong_token_is_not_allowed_and_never_shown(far_end: FarEnd, way: Any) -> None:
    with pytest.raises(NotAllowed) as caught:
        await way.run(far_end.url, lambda client: client.stores(), token="cdt_wrong_secretvalue")
    assert "secretvalue" not in f"{caught.value!r} {caught.value}"


def test_a_client_hides_its_token() -> None:
    for client in (Crossdock("http://127.0.0.1:1", TOKEN), AsyncCrossdock("http://127.0.0.1:1", TOKEN)):
        assert TOKEN not in repr(client)
        assert "127.0.0.1:1" in repr(client)


async def test_nobody_there_is_said_within_the_deadline(way: Any) -> None:
    with served() as gone:
        url = gone.url
    with pytest.raises(Unreachable, match="CD7020") as caught:
        await way.run(url, lambda client: client.stores(), within_seconds=0.3)
    assert caught.value.attempts >= 1


async def test_one_connection_serves_many_calls(far_end: FarEnd, way: Any) -> None:
    async def several(client: AsyncCrossdock) -> None:
        for _ in range(5):
            await client.stores()

    def singly(client: Crossdock) -> None:
        for _ in range(5):
            client.stores()

    await way.run(far_end.url, several if isinstance(way, Async) else singly)
    assert len(far_end.peers) == 1


def test_threads_share_a_client_and_never_a_connection(far_end: FarEnd) -> None:
    far_end.meeting = threading.Barrier(2)
    with Crossdock(far_end.url, TOKEN) as client:
        threads = [threading.Thread(target=client.doctor) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(far_end.peers) == 2


async def test_every_operation_reaches_the_server_alike_from_both_clients(far_end: FarEnd) -> None:
    given: dict[str, Any] = {"config": {"a": 1}, "revision": 3, "acked": ["h"], "mode": "pull", "days": 5}
    with Crossdock(far_end.url, TOKEN) as plain:
        async with AsyncCrossdock(far_end.url, TOKEN) as later:
            for name, method in inspect.getmembers(Operations, inspect.isfunction):
                if name.startswith("_") or name == "call":
                    continue
                required = [
                    p.name
                    for p in list(inspect.signature(method).parameters.values())[1:]
                    if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
                ]
                values = [given.get(parameter, f"the {parameter}/x") for parameter in required]
                mine = await asyncio.to_thread(getattr(plain, name), *values)
                theirs = await getattr(later, name)(*values)
                assert mine == theirs, name
                assert far_end.requests[-1] == far_end.requests[-2], name


async def test_consuming_acknowledges_what_was_handled_and_parks_what_was_rejected(far_end: FarEnd, way: Any) -> None:
    far_end.inbox = [arrival(1), arrival(2), arrival(3)]
    handled: list[int] = []

    def handle(item: InboxEvent) -> None:
        if item.data["number"] == 2:
            raise Reject("no such product")
        handled.append(item.data["number"])

    async def handle_later(item: InboxEvent) -> None:
        handle(item)

    handler: Callable[[InboxEvent], None | Awaitable[None]] = handle_later if isinstance(way, Async) else handle
    await way.run(
        far_end.url, lambda client: client.consume("sofia", handler, wait_seconds=0, stop=lambda: not far_end.inbox)
    )
    assert handled == [1, 3]
    assert far_end.rejected == [{"handle": "h2", "reason": "no such product"}]


async def test_an_event_whose_handler_failed_comes_again(far_end: FarEnd, way: Any) -> None:
    far_end.inbox = [arrival(1), arrival(2), arrival(3)]
    seen: list[int] = []

    def handle(item: InboxEvent) -> None:
        seen.append(item.data["number"])
        if item.data["number"] == 2 and seen.count(2) == 1:
            raise OSError("the core's database is away")

    async def handle_later(item: InboxEvent) -> None:
        handle(item)

    def consume(client: Any) -> Any:
        handler = handle_later if isinstance(way, Async) else handle
        return client.consume("sofia", handler, wait_seconds=0, stop=lambda: not far_end.inbox)

    with pytest.raises(OSError, match="away"):
        await way.run(far_end.url, consume)
    assert [item["handle"] for item in far_end.inbox] == ["h2", "h3"]
    await way.run(far_end.url, consume)
    assert seen == [1, 2, 2, 3]


async def test_a_failing_handler_may_be_told_and_passed_over(far_end: FarEnd, way: Any) -> None:
    far_end.inbox = [arrival(1), arrival(2)]
    told: list[str] = []

    def handle(item: InboxEvent) -> None:
        if item.id == "e1" and not told:
            raise KeyError("odd")

    async def handle_later(item: InboxEvent) -> None:
        handle(item)

    handler: Any = handle_later if isinstance(way, Async) else handle
    await way.run(
        far_end.url,
        lambda client: client.consume(
            "sofia",
            handler,
            on_error=lambda item, error: told.append(f"{item.id} {type(error).__name__}"),
            wait_seconds=0,
            stop=lambda: not far_end.inbox,
        ),
    )
    assert told == ["e1 KeyError"]


def test_iterating_sends_the_marks_when_it_is_left(far_end: FarEnd) -> None:
    far_end.inbox = [arrival(1), arrival(2)]
    with Crossdock(far_end.url, TOKEN) as client, closing(client.inbox("sofia", wait_seconds=0)) as events:  # type: ignore[type-var]
        for item in events:
            item.ack()
            break
    assert [item["handle"] for item in far_end.inbox] == ["h2"]


async def test_iterating_asynchronously_sends_the_marks_when_it_is_left(far_end: FarEnd) -> None:
    far_end.inbox = [arrival(1), arrival(2)]
    async with (
        AsyncCrossdock(far_end.url, TOKEN) as client,
        aclosing(client.inbox("sofia", wait_seconds=0)) as events,
    ):
        async for item in events:
            item.reject("unknown")
            break
    assert far_end.rejected == [{"handle": "h1", "reason": "unknown"}]


async def test_a_consumer_outlasts_an_outage_of_the_server(far_end: FarEnd, way: Any) -> None:
    far_end.inbox = [arrival(1)]
    later = (503, {"Retry-After": "0"}, {"status": 503, "code": "CD5002", "title": "Later."})
    far_end.answers = [later] * 4
    seen: list[str] = []

    async def handle_later(item: InboxEvent) -> None:
        seen.append(item.id)

    handler: Any = handle_later if isinstance(way, Async) else lambda item: seen.append(item.id)
    await way.run(
        far_end.url,
        lambda client: client.consume("sofia", handler, wait_seconds=0, stop=lambda: not far_end.inbox),
        within_seconds=0.05,
    )
    assert seen == ["e1"]
