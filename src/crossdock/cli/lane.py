"""`crossdock lane`: the ledgers, what is held, what the far end said, and replay."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from crossdock.cli.seat import Seat, command, subcommands
from crossdock.cli.show import Column, Shown, items_of, lines, moment, table
from crossdock.client.sync import Crossdock
from crossdock.model.errors import Invalid
from crossdock.model.limits import PAGE_ITEMS_MAX

app = subcommands("See what is on its way, and send parked events again.")

LOOK_SECONDS = 0.5
SELECTORS = {
    "position": ("position", True),
    "after": ("after", True),
    "to": ("to", True),
    "event": ("event_id", False),
    "type": ("type", False),
    "key": ("key", False),
    "reason": ("reason", False),
}
"""What `--where` may name: the API's name for it, and whether it is a number."""
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


@command(
    app, "replay", epilog="Example: crossdock lane replay sofia con_... product-push --where reason=rejected --dry-run"
)
def replay(  # noqa: PLR0913, PLR0917 - each is an option of the command
    seat: Seat,
    store: Store,
    connection: Connection,
    route: Route,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", help="NAME=VALUE; all that are given must fit. Names: " + ", ".join(SELECTORS) + "."),
    ] = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="Take what was delivered as well.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Though the contract refuses a replay.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until all of it has been tried.")] = False,
) -> Shown:
    """Send parked events again: all of a lane, or those that --where names."""
    selection = selection_of(where or [])
    with seat.client() as crossdock:
        done = crossdock.replay(
            store, connection, route, dry_run=dry_run, parked_only=not resolved, force=force, **selection
        )
        if wait and not dry_run and done["selected"]:
            watch(seat, done["selected"], lambda: still_held(crossdock, store, connection, route))
    classes = ", ".join(f"{count} {name}" for name, count in done["counts"].items()) or "nothing fits"
    verb = "It would send" if dry_run else "Sent to the lane"
    text = [f"{verb}: {done['selected']} ({classes})."]
    if done["left"]:
        text.append(f"{done['left']} more fit: run it again when these are through.")
    return lines(done, *text)


def selection_of(where: list[str]) -> dict[str, str | int]:
    """The selection of the API; Invalid (CD7031) for a name that it has not."""
    chosen: dict[str, str | int] = {}
    for item in where:
        name, _, value = item.partition("=")
        if name not in SELECTORS or not value or (SELECTORS[name][1] and not value.isdigit()):
            raise Invalid("CD7031", "This selects nothing.", where=item, remedy="Say one of: " + ", ".join(SELECTORS))
        chosen[SELECTORS[name][0]] = int(value) if SELECTORS[name][1] else value
    return chosen


def still_held(crossdock: Crossdock, store: str, connection: str, route: str) -> int:
    """How many replayed entries of the lane have not been resolved or parked again."""
    count = after = 0
    while True:
        page = crossdock.held(store, connection, route, after=after, limit=PAGE_ITEMS_MAX)
        count += sum(1 for item in page["items"] if item["replay"] and item["state"] != "parked")
        if page["next"] is None:
            return count
        after = page["next"]


def watch(seat: Seat, total: int, left: Callable[[], int]) -> None:
    """A bar until `left` is 0."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=seat.err, disable=seat.as_json or not seat.err.is_terminal, transient=True) as bar:
        task = bar.add_task("Sending again", total=total)
        while remaining := left():
            bar.update(task, completed=max(0, total - remaining))
            time.sleep(LOOK_SECONDS)
