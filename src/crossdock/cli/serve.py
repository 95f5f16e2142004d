"""`crossdock serve`: one process, one port."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from crossdock.cli.seat import Seat, command, subcommands
from crossdock.cli.show import Shown
from crossdock.serve import serve
from crossdock.settings import read_settings

app = subcommands("Serve on the embedded engine until Ctrl-C, which drains.")


@command(app, "serve", server=False, epilog="Example: crossdock serve --dir var --port 8400")
def serving(
    seat: Seat,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="The data directory; else CROSSDOCK_DATA_DIR, else var.")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", min=0, max=65535, help="The port; 0 takes a free one.")] = None,
    host: Annotated[str | None, typer.Option("--host", help="The address to listen on; else loopback.")] = None,
) -> Shown | None:
    """Serve on the embedded engine until Ctrl-C, which drains: what is in flight ends, then the journal is closed.

    Everything else is set by CROSSDOCK_ variables. With --json the log lines are JSON.
    """
    given: dict[str, object] = {"data_dir": directory, "port": port, "host": host}
    if seat.as_json:
        given["log_format"] = "json"

    def say(text: str) -> None:
        line = json.dumps({"serving": text}) if seat.as_json else text
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    serve(read_settings(**{name: value for name, value in given.items() if value is not None}), say)
    return None
