"""`crossdock event`: publish, and see where an event stands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from crossdock.cli.seat import Seat, command, read_text, subcommands
from crossdock.cli.show import Column, Shown, details, items_of, lines, table
from crossdock.client.events import BATCH_EVENTS_MAX
from crossdock.model.errors import Invalid

app = subcommands("Publish events, and see where one stands.")

IDS_SHOWN = 5
Store = Annotated[str, typer.Argument(help="The store's id.", metavar="STORE")]


@command(app, "publish", epilog="Example: crossdock event publish sofia orders.ndjson")
def publish(
    seat: Seat,
    store: Store,
    file: Annotated[
        Path, typer.Argument(help="CloudEvents: one JSON object, an array, or one object a line; - is standard input.")
    ],
) -> Shown:
    """Publish events. When it returns they are kept; publishing the same ids again changes nothing."""
    text = read_text(file)
    with seat.client() as crossdock:
        events = [crossdock.complete(event) for event in events_in(text, str(file))]
        ids: list[str] = []
        with progress(seat, len(events)) as bar:
            task = bar.add_task("Publishing", total=len(events))
            for start in range(0, len(events), BATCH_EVENTS_MAX):
                receipts = crossdock.publish(store, events[start : start + BATCH_EVENTS_MAX])
                ids += [receipt.event_id for receipt in receipts]
                bar.advance(task, len(receipts))
    return lines({"kept": len(ids), "event_ids": ids}, f"{len(ids)} kept.", *ids[:IDS_SHOWN])


@command(app, "show", epilog="Example: crossdock event show sofia 0199... ; with --data the view is audited")
def show(
    seat: Seat,
    store: Store,
    event: Annotated[str, typer.Argument(help="The event's id.")],
    data: Annotated[bool, typer.Option("--data", help="What it says; the view goes on the audit record.")] = False,
) -> Shown:
    """Show where an event stands, lane by lane."""
    with seat.client() as crossdock:
        if data:
            answer = crossdock.event_data(store, event)
            texts = [json.dumps(item["data"], ensure_ascii=False, indent=2) for item in items_of(answer)]
            return Shown(answer, tuple(texts))
        answer = crossdock.event(store, event)
    parts: list[Any] = []
    for item in items_of(answer):
        parts += details({name: value for name, value in item.items() if name != "lanes"}).parts
        columns: dict[str, Column] = {
            "Connection": "connection",
            "Route": "route",
            "State": "state",
            "Last answer": lambda row: (row.get("last_attempt") or {}).get("code"),
            "Reason": lambda row: (row.get("held") or {}).get("reason"),
        }
        parts += ["", *table(item, item["lanes"], columns, empty="No lane takes it.").parts]
    return Shown(answer, tuple(parts))


def events_in(text: str, where: str) -> list[dict[str, Any]]:
    """The events of a file in any of its three forms; Invalid (CD7025) with the line that is wrong."""
    try:
        whole = json.loads(text)
    except ValueError:
        return list(_lines(text, where))
    found = whole if isinstance(whole, list) else [whole]
    if not all(isinstance(event, dict) for event in found):
        raise Invalid("CD7025", "An event is not a JSON object.", where=where)
    return found


def _lines(text: str, where: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except ValueError:
            raise Invalid("CD7025", "The line is not JSON.", where=f"{where}:{number}") from None
        if not isinstance(event, dict):
            raise Invalid("CD7025", "The line is not a JSON object.", where=f"{where}:{number}")
        yield event


def progress(seat: Seat, total: int) -> Progress:
    """A bar on standard error, for a person who waits for more than one batch."""
    shown = not seat.as_json and seat.err.is_terminal and total > 1
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=seat.err, disable=not shown, transient=True)
