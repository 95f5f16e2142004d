from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.engines.memory.engine import MemoryEngine
from crossdock.model.ids import Instant
from crossdock.observe.lines import Lines
from crossdock.observe.metrics import Metrics
from crossdock.observe.text import LineWriter, json_line, text_line

AT = Instant(1_760_000_000_123)


def test_a_line_reads_as_name_and_fields() -> None:
    line = text_line(AT, "delivery.stale", {"store": "north", "took_ms": 3, "connection": None, "replay": True})
    assert line == "2025-10-09T08:53:20.123Z delivery.stale store=north took_ms=3 replay=true\n"


@given(st.text())
def test_what_a_line_holds_cannot_forge_another_line_or_field(text: str) -> None:
    for line in (text_line(AT, "x", {"store": text}), json_line(AT, "x", {"store": text})):
        assert line.count("\n") == 1
        assert line.endswith("\n")
        assert line[:-1].isprintable() or not text.isprintable()
    head = text_line(AT, "x", {"store": text, "route": "in"}).split(" store=", 1)[1]
    assert head.endswith(" route=in\n")


@pytest.mark.parametrize("text", ["a\nb", "a b", 'a"b', "a=b", "\x1b[31m", "\u2028", ""])
def test_a_crooked_value_is_quoted(text: str) -> None:
    value = text_line(AT, "x", {"store": text}).split("store=", 1)[1]
    assert value.startswith('"')
    assert value[:-1].isprintable()


def test_json_lines_are_json() -> None:
    assert json.loads(json_line(AT, "x", {"store": "a\nb", "none": None})) == {
        "at": "2025-10-09T08:53:20.123Z",
        "line": "x",
        "store": "a\nb",
    }


def test_lines_are_written_together_when_flushed() -> None:
    out = io.StringIO()
    writer = LineWriter("text", lambda: AT, out)
    Lines(writer).write("process.stopped", clean=True)
    assert out.getvalue() == ""
    writer.flush()
    assert out.getvalue().endswith("process.stopped clean=true\n")


async def test_metrics_count_the_lines_and_never_name_a_store() -> None:
    metrics = Metrics()
    lines = Lines(metrics)
    lines.write("ingest.accepted", store="north", connection="con_1", events=3, outcome="kept", took_ms=2)
    lines.write("ingest.refused", store="north", status=401, code="CD1001")
    lines.write("delivery.attempted", store="north", answer="taken", next="settle", took_ms=5, items=2)
    lines.write("delivery.settled", store="north", delivered=2, filtered=1)
    text = (await metrics.scrape(MemoryEngine(lambda: AT).lanes)).decode()
    assert 'crossdock_ingest_events_total{outcome="kept"} 3.0' in text
    assert 'crossdock_ingest_refused_total{status="401"} 1.0' in text
    assert 'crossdock_delivery_attempts_total{answer="taken",next="settle"} 2.0' in text
    assert 'crossdock_delivery_settled_total{end="delivered"} 2.0' in text
    assert "crossdock_ledgers_unbalanced 0.0" in text
    assert "north" not in text
    assert "con_1" not in text
