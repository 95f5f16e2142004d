"""`crossdock audit`: the record of every change, of each look at a payload, and of each refusal of authority."""

from __future__ import annotations

from typing import Annotated

import typer

from crossdock.cli.seat import Seat, command, subcommands
from crossdock.cli.show import Column, Shown, items_of, moment, table
from crossdock.model.limits import PAGE_ITEMS_MAX

app = subcommands("See who changed what, and when; the oldest first.")


@command(app, "audit", epilog="Example: crossdock audit sofia --limit 20")
def listed(
    seat: Seat,
    store: Annotated[
        str | None, typer.Argument(help="The store's id; without it, the whole installation.", metavar="[STORE]")
    ] = None,
    after: Annotated[int, typer.Option("--after", help="Begin after this entry's number.", min=0)] = 0,
    limit: Annotated[int, typer.Option("--limit", help="How many at most.", min=1, max=PAGE_ITEMS_MAX)] = 100,
) -> Shown:
    """See who changed what, and when; the oldest first."""
    with seat.client() as crossdock:
        answer = crossdock.audit(store, after=after, limit=limit)
    columns: dict[str, Column] = {
        "Number": "seq",
        "At": moment("at"),
        "Actor": "actor",
        "Action": "action",
        "Store": "store",
        "Object": "object",
        "Outcome": "outcome",
    }
    shown = table(answer, items_of(answer), columns, empty="Nothing has been changed yet.")
    if answer.get("next"):
        seat.note(f"There is more: --after {answer['next']}")
    return shown
