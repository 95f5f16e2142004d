"""`crossdock lane`: the ledgers, what is held, what the far end said, and replay."""

from __future__ import annotations

from typing import Annotated

import typer

from crossdock.cli.seat import Seat, command, subcommands
from crossdock.cli.show import Column, Shown, items_of, moment, table

app = subcommands("See what is on its way, and send parked events again.")

POSITIONS_AT_ONCE = 100
Store = Annotated[str, typer.Argument(help="The store's id.", metavar="STORE")]
Connection = Annotated[str, typer.Argument(help="The connection's id.", metavar="CONNECTION")]
Route = Annotated[str, typer.Argument(help="The route's name, as crossdock lane list shows it.", metavar="ROUTE")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many.")]


@command(app, "list")
def listed(seat: Seat, store: Store) -> Shown:
    """The ledger of every lane: what was accepted, and how each of it ended."""
    with seat.client() as crossdock:
        answer = crossdock.lanes(store)
    columns: dict[str, Column] = {
        "Connection": "connection",
        "Route": "route",
        "Accepted": "accepted",
        "Replayed": "replayed",
        "Delivered": "delivered",
        "Waiting": "waiting",
        "Parked": "parked",
        "Superseded": "superseded",
        "Filtered": "filtered",
        "Expired": "expired",
        "Erased": "erased",
        "Closes": "closes",
    }
    return table(answer, items_of(answer, "lanes"), columns, empty="No lane is open: enable a connection.")


@command(app, "held", epilog="Example: crossdock lane held sofia con_... product-push --state parked")
def held(
    seat: Seat,
    store: Store,
    connection: Connection,
    route: Route,
    state: Annotated[str | None, typer.Option("--state", help="retrying, waiting or parked.")] = None,
    limit: Limit = 50,
) -> Shown:
    """What could not be delivered yet, and why."""
    with seat.client() as crossdock:
        answer = crossdock.held(store, connection, route, state=state, limit=limit)
    columns: dict[str, Column] = {
        "Position": "position",
        "State": "state",
        "Event": "event_id",
        "Attempts": "attempts",
        "Reason": "reason",
        "Next try": moment("not_before"),
    }
    return table(answer, items_of(answer, "held"), columns, empty="Nothing is held.")


@command(app, "attempts")
def attempts(
    seat: Seat,
    store: Store,
    connection: Connection,
    route: Route,
    position: Annotated[int | None, typer.Option("--position", min=1, help="Those of one event only.")] = None,
    limit: Limit = 50,
) -> Shown:
    """What the far end said, the newest first."""
    with seat.client() as crossdock:
        answer = crossdock.attempts(store, connection, route, position=position, limit=limit)
    columns: dict[str, Column] = {
        "At": moment("at"),
        "Position": "position",
        "Attempt": "number",
        "Answer": "code",
        "Took": lambda row: f"{row['took_ms']} ms",
        "Next": "next",
        "Correlation": "correlation_id",
    }
    return table(answer, items_of(answer, "attempts"), columns, empty="Nothing has been tried yet.")
