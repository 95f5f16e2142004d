"""`crossdock db`: the schema of the database, beside the data. No server is asked."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from crossdock.cli.copy import copy
from crossdock.cli.move import directory
from crossdock.cli.seat import Seat, command, subcommands
from crossdock.cli.show import Shown, lines, table
from crossdock.engines.migrations import Phase
from crossdock.settings import Settings, read_settings
from crossdock.stores.port import Finding
from crossdock.upkeep import SchemaState, check, migrate, status

app = subcommands("See, bring up to date and check the schema of the database.")
Directory = Annotated[
    Path | None, typer.Option("--dir", help="The data directory, for a SQLite file; else CROSSDOCK_DATA_DIR.")
]


def settings_of(directory: Path | None) -> Settings:
    return read_settings() if directory is None else read_settings(data_dir=directory)


@command(app, "status", server=False, epilog="Example: crossdock db status --dir var")
def see(seat: Seat, directory: Directory = None) -> Shown:
    """Show each migration and whether it was applied. The exit code is 1 when this release cannot serve on it."""
    return shown(asyncio.run(status(settings_of(directory))))


@command(app, "migrate", server=False, epilog="Example: crossdock db migrate, then roll out; later: --post")
def bring(
    seat: Seat,
    directory: Directory = None,
    post: Annotated[
        bool, typer.Option("--post", help="Also take away what only the release before needed: when none of it runs.")
    ] = False,
) -> Shown:
    """Bring the schema up to date: what this release adds, so that it and the release before both run on it.

    On PostgreSQL it speaks as CROSSDOCK_DATABASE_OWNER, and gives the role of CROSSDOCK_DATABASE what it may do.
    """
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        seat.note(text)

    asyncio.run(migrate(settings_of(directory), set(Phase) if post else {Phase.PRE}, say))
    return lines({"done": said}, "The schema is up to date.")


@command(app, "check", server=False, epilog="Example: crossdock db check --dir var")
def look(seat: Seat, directory: Directory = None) -> Shown:
    """Check the schema and the settings of the database. The exit code is 1 when it cannot be served."""
    state, findings = asyncio.run(check(settings_of(directory)))
    schema = shown(state)
    rows = [finding_row(one) for one in findings]
    bad = schema.failed or any(one.fatal and not one.ok for one in findings)
    columns: dict[str, Any] = {"": lambda row: "ok" if row["ok"] else "BAD", "Code": "code", "What": "what"}
    columns["Remedy"] = lambda row: "" if row["ok"] else row["remedy"]
    found = table(rows, rows, columns, empty="Nothing was found.")
    data = {**schema.data, "findings": rows, "well": not bad}
    verdict = "All is well." if all(one.ok for one in findings) else "It can be served; see what is marked BAD."
    verdict = "Something is wrong: see above." if bad else verdict
    return Shown(data, (*schema.parts, "", *found.parts, "", verdict), failed=bad)


def finding_row(one: Finding) -> dict[str, Any]:
    return {"code": one.code, "ok": one.ok, "fatal": one.fatal, "what": one.what, "remedy": one.remedy}


def shown(state: SchemaState) -> Shown:
    rows = [
        {
            "migration": str(one.step),
            "applied": one.applied,
            "at": one.at,
            "note": "its file has changed since" if one.altered else "" if one.known else "of another release",
        }
        for one in state.steps
    ]
    data = {
        "engine": state.engine,
        "version": state.version,
        "migrations": rows,
        "fit": not state.why,
        "why": state.why,
    }
    columns: dict[str, Any] = {
        "Migration": "migration",
        "Applied": lambda row: row["at"] or ("yes" if row["applied"] else "to do"),
        "Note": "note",
    }
    drawn = table(data, rows, columns, empty="There is no migration.")
    head = f"{state.engine} {state.version}: {state.why or 'this release can serve on it.'}"
    bad = bool(state.why) or any(one.altered for one in state.steps)
    return Shown(data, (head, "", *drawn.parts), failed=bad)


command(app, "copy", epilog="Example: crossdock db copy --from var/crossdock.db --to postgresql://app@db/crossdock")(
    copy
)
command(app, "directory", server=False, epilog="Example: crossdock db directory, before the first process with cells")(
    directory
)
