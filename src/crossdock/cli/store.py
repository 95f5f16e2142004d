"""`crossdock store`: stores, and how their inbound events reach the core."""

from __future__ import annotations

from typing import Annotated

import typer

from crossdock.cli.move import move, place
from crossdock.cli.seat import Seat, command, subcommands
from crossdock.cli.secrets_in import read_secret
from crossdock.cli.show import Column, Shown, details, items_of, moment, table

app = subcommands("Create, list and show stores, and say how the core is reached.")

Store = Annotated[str, typer.Argument(help="The store's id, for example sofia.", metavar="STORE")]


@command(app, "create", epilog="Example: crossdock store create sofia --name 'Sofia shop'")
def create(
    seat: Seat, store: Store, name: Annotated[str, typer.Option("--name", help="The name that people read.")] = ""
) -> Shown:
    """Create a store, with a key of its own."""
    with seat.client() as crossdock:
        return details(crossdock.create_store(store, name))


@command(app, "list")
def listed(seat: Seat) -> Shown:
    """List the stores that the token may see."""
    with seat.client() as crossdock:
        answer = crossdock.stores()
    columns: dict[str, Column] = {"Store": "id", "Name": "name", "Created": moment("created_at")}
    return table(answer, items_of(answer, "stores"), columns, empty="There is no store yet: crossdock store create.")


@command(app, "show")
def show(seat: Seat, store: Store) -> Shown:
    """Show one store."""
    with seat.client() as crossdock:
        return details(crossdock.store(store))


@command(app, "weight", epilog="Example: crossdock store weight sofia 4")
def weight(
    seat: Seat,
    store: Store,
    weight: Annotated[int, typer.Argument(help="1 for a plain share, at most 16.", metavar="WEIGHT")],
) -> Shown:
    """Set the store's share of senders when they are scarce, by the plan that it is on."""
    with seat.client() as crossdock:
        return details(crossdock.set_weight(store, weight))


@command(app, "gate", epilog="Example: crossdock store gate sofia open, to undo a copy that was given up")
def gate(
    seat: Seat, store: Store, state: Annotated[str, typer.Argument(help="open, closing or shut.", metavar="STATE")]
) -> Shown:
    """Stop a store that moves to another database, or let it go on where it is."""
    with seat.client() as crossdock:
        return details(crossdock.set_gate(store, state))


@command(
    app, "core", epilog="Example: crossdock store core sofia --mode push --endpoint https://core.example/crossdock"
)
def core(
    seat: Seat,
    store: Store,
    mode: Annotated[str | None, typer.Option("--mode", help="pull or push; without it, show what is set.")] = None,
    endpoint: Annotated[str | None, typer.Option("--endpoint", help="Where to push to.")] = None,
    secret_file: Annotated[
        str | None,
        typer.Option("--secret-file", help="A file with the signing secret (whsec_...), - for standard input."),
    ] = None,
) -> Shown:
    """Show or set how the store's inbound events reach the commerce core."""
    with seat.client() as crossdock:
        if mode is None:
            return details(crossdock.core(store))
        secret = read_secret(seat, secret_file, "Signing secret") if secret_file is not None else None
        return details(crossdock.set_core(store, mode, url=endpoint, secret=secret))


command(app, "move", server=False, epilog="Example: crossdock store move sofia --to north")(move)
command(app, "place", server=False, epilog="Example: crossdock store place sofia")(place)
