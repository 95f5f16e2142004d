"""`crossdock doctor`: the engine's settings, the installation's, and whether every ledger closes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from crossdock.cli.offline import examined
from crossdock.cli.seat import Seat, command, subcommands
from crossdock.cli.show import Shown, table

app = subcommands("Check the engine, the settings and every ledger.")


@command(app, epilog="Example, while no server runs: crossdock doctor --dir var")
def doctor(
    seat: Seat,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Look at this data directory instead of asking a server.")
    ] = None,
) -> Shown:
    """Check the engine, the settings and every ledger. The exit code is 1 when something is wrong."""
    if directory is not None:
        answer: dict[str, Any] = examined(directory)
    else:
        with seat.client() as crossdock:
            answer = crossdock.doctor()
    findings = table(
        answer,
        answer["findings"],
        {"": lambda row: "ok" if row["ok"] else "BAD", "Code": "code", "What": "what", "Remedy": _remedy},
        empty="Nothing was found.",
    )
    names = ("accepted", "replayed", "delivered", "waiting", "parked", "superseded", "filtered", "expired", "erased")
    columns: dict[str, Any] = {"Store": "store", "Connection": "connection", "Route": "route"}
    columns |= {name.capitalize(): name for name in names} | {"Closes": "closes"}
    ledgers = table(answer, answer["ledgers"], columns, empty="No lane is open.")
    verdict = "All is well." if answer["well"] else "Something is wrong: see above."
    return Shown(answer, (*findings.parts, "", *ledgers.parts, "", verdict), failed=not answer["well"])


def _remedy(row: Mapping[str, Any]) -> str:
    return "" if row["ok"] else str(row["remedy"])
