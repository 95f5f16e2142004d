"""`crossdock doctor`: the engine's settings, the installation's, and whether every ledger closes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from crossdock.cli.offline import opened
from crossdock.cli.seat import Seat, command, subcommands
from crossdock.cli.show import Shown, table
from crossdock.http.api.doctor import DoctorShown, shown
from crossdock.http.api.lanes import ledger_shown
from crossdock.model.errors import NotFound
from crossdock.observe.health import examine
from crossdock.settings import Settings, read_settings

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
        {"": lambda row: "ok" if row["ok"] else "BAD", "Code": "code", "What": "what", "Remedy": "remedy"},
        empty="Nothing was found.",
    )
    names = ("accepted", "replayed", "delivered", "waiting", "parked", "superseded", "filtered", "expired", "erased")
    columns: dict[str, Any] = {"Store": "store", "Connection": "connection", "Route": "route"}
    columns |= {name.capitalize(): name for name in names} | {"Closes": "closes"}
    ledgers = table(answer, answer["ledgers"], columns, empty="No lane is open.")
    verdict = "All is well." if answer["well"] else "Something is wrong: see above."
    return Shown(answer, (*findings.parts, "", *ledgers.parts, "", verdict), failed=not answer["well"])


def examined(directory: Path) -> dict[str, Any]:
    """The doctor's answer on a data directory, in the form of the API. NotFound (CD7030) where there is none."""
    settings = read_settings(data_dir=directory)
    if not settings.database_path.exists():
        raise NotFound(
            "CD7030", "There is no data here.", where=str(directory), remedy="Name the directory with --dir."
        )
    return asyncio.run(_examine(settings))


async def _examine(settings: Settings) -> dict[str, Any]:
    async with opened(settings) as engine:
        found = await examine(engine)
    answer = DoctorShown(
        well=found.well,
        findings=[shown(one) for one in found.findings],
        ledgers=[ledger_shown(one) for one in found.ledgers],
    )
    return answer.model_dump(mode="json")
