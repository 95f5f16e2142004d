"""`crossdock serve`: one port, one process or several."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from crossdock.cli.seat import Seat, command, subcommands
from crossdock.cli.show import Shown
from crossdock.serve import serve
from crossdock.settings import ProcessRole, read_settings
from crossdock.workers import supervise

app = subcommands("Serve until Ctrl-C, which drains.")


@command(app, "serve", server=False, epilog="Example: crossdock serve --dir var --port 8400")
def serving(
    seat: Seat,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="The data directory; else CROSSDOCK_DATA_DIR, else var.")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", min=0, max=65535, help="The port; 0 takes a free one.")] = None,
    host: Annotated[str | None, typer.Option("--host", help="The address to listen on; else loopback.")] = None,
    role: Annotated[
        ProcessRole | None, typer.Option("--role", help="What this process does; else CROSSDOCK_ROLE, else all.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, max=64, help="How many processes; else CROSSDOCK_WORKERS, else 1."),
    ] = None,
) -> Shown | None:
    """Serve until Ctrl-C, which drains: what is in flight ends, then the journal is closed.

    A SQLite file has one process, of the role all. On PostgreSQL (CROSSDOCK_DATABASE) there may be any number, on any
    number of machines. Everything else is set by CROSSDOCK_ variables. With --json the log lines are JSON.
    """
    named = {"data_dir": directory, "port": port, "host": host, "role": role, "workers": workers}
    given: dict[str, object] = {
        name: str(value) if isinstance(value, Path | ProcessRole) else value
        for name, value in named.items()
        if value is not None
    }
    if seat.as_json:
        given["log_format"] = "json"

    def say(text: str) -> None:
        line = json.dumps({"serving": text}) if seat.as_json else text
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    settings = read_settings(**given)
    if settings.workers == 1:
        serve(settings, say)
    elif status := supervise(settings, given, say):
        raise typer.Exit(status)
    return None
