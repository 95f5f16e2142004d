from __future__ import annotations

import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.client import InvalidEvent, Receipt
from crossdock.client.events import BATCH_BYTES_MAX, BATCH_EVENTS_MAX, batches, completed, event_id, receipts_of

NOW = 1_790_000_000_123


def complete(event: dict[str, object]) -> dict[str, object]:
    return completed(event, now_ms=NOW, random=b"\x07" * 10, source="/core")


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_an_id_is_a_uuid_of_version_7_that_tells_its_time(now: int, random: bytes) -> None:
    found = uuid.UUID(event_id(now, random))
    assert (found.version, found.variant) == (7, uuid.RFC_4122)
    assert found.int >> 80 == now


@given(st.integers(0, 2**47), st.integers(1, 1000))
def test_ids_sort_by_time(now: int, later: int) -> None:
    assert event_id(now, b"\xff" * 10) < event_id(now + later, b"\x00" * 10)


def test_what_lacks_is_filled_in_and_what_is_given_stays() -> None:
    whole = complete({"type": "order.placed", "id": "mine", "data": {}})
    assert whole == {
        "type": "order.placed",
        "id": "mine",
        "data": {},
        "specversion": "1.0",
        "source": "/core",
        "time": "2026-09-21T14:13:20.123Z",
        "datacontenttype": "application/json",
    }


def test_completing_twice_changes_nothing() -> None:
    once = complete({"type": "order.placed", "data": {}})
    assert completed(once, now_ms=NOW + 5, random=b"x" * 10, source="/other") == once


@pytest.mark.parametrize(
    "event",
    [{}, {"type": ""}, {"type": 1}, {"type": "a", "id": 5}, {"type": "a", "specversion": "0.3"}]
    + [{"type": "a", "data": value} for value in (float("nan"), object(), {1, 2}, b"x")]
    + [{"type": "a", "subject": 1}],
)
def test_what_cannot_be_sent_is_refused_before_anything_goes_out(event: dict[str, object]) -> None:
    with pytest.raises(InvalidEvent, match="CD7021"):
        complete(event)


def test_many_events_go_in_batches_that_the_server_takes() -> None:
    groups = list(batches({"n": n} for n in range(BATCH_EVENTS_MAX + 1)))
    assert [len(group) for group in groups] == [BATCH_EVENTS_MAX, 1]
    large = list(batches({"n": "x" * (3 * 1024 * 1024)} for _ in range(5)))
    assert [len(group) for group in large] == [2, 2, 1]
    assert all(sum(map(len, group)) <= BATCH_BYTES_MAX for group in large)
    assert [json.loads(raw)["n"] for group in groups for raw in group] == list(range(BATCH_EVENTS_MAX + 1))


def test_every_event_gets_its_receipt_in_order() -> None:
    answer = {"events": [{"event_id": "b"}, {"event_id": "a", "correlation_id": "c"}]}
    assert receipts_of(answer, ["a", "b"]) == [Receipt("a", "c"), Receipt("b", "")]
