"""`crossdock token`: API tokens. The first one is made beside the data, when no server runs yet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from crossdock.cli.offline import made_token
from crossdock.cli.seat import Seat, command, subcommands
from crossdock.cli.show import Column, Shown, details, items_of, lines, moment, table
from crossdock.model.connection import Role
from crossdock.model.ids import StoreId
from crossdock.model.limits import TOKEN_DAYS_DEFAULT, TOKEN_DAYS_MAX
from crossdock.stores.tokens import TokenWish

app = subcommands("Create, list and revoke API tokens.")


@command(
    app, "create", epilog="Example, before the first start: crossdock token create --role platform_admin --dir var"
)
def create(
    seat: Seat,
    role: Annotated[Role, typer.Option("--role", help="What the token may do.")],
    store: Annotated[str | None, typer.Option("--store", help="The one store of a store's token.")] = None,
    label: Annotated[str, typer.Option("--label", help="Who or what holds it.")] = "",
    days: Annotated[int, typer.Option("--days", min=1, max=TOKEN_DAYS_MAX, help="How long it lives.")] = (
        TOKEN_DAYS_DEFAULT
    ),
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Write it into this data directory; no server may be running on it.")
    ] = None,
) -> Shown:
    """Create a token. It is shown this once."""
    made: dict[str, Any]
    if directory is not None:
        made = made_token(directory, TokenWish(role, StoreId(store) if store else None, label, days))
    else:
        with seat.client() as crossdock:
            made = crossdock.create_token(str(role), store=store, label=label, days=days)
    seat.note("Keep it now: it is not shown again.")
    return lines(made, str(made["token"]))


@command(app, "list")
def listed(seat: Seat) -> Shown:
    """List tokens, without their secrets."""
    with seat.client() as crossdock:
        answer = crossdock.tokens()
    columns: dict[str, Column] = {
        "Token": "id",
        "Role": "role",
        "Store": "store",
        "Label": "label",
        "Expires": moment("expires_at"),
        "Revoked": moment("revoked_at"),
    }
    return table(answer, items_of(answer, "tokens"), columns, empty="There is no token.")


@command(app, "revoke")
def revoke(
    seat: Seat, token: Annotated[str, typer.Argument(help="The token's id, as crossdock token list shows it.")]
) -> Shown:
    """Revoke a token."""
    with seat.client() as crossdock:
        answer = crossdock.revoke_token(token)
    return details(answer) if answer else lines({"revoked": token}, f"{token} is revoked.")
