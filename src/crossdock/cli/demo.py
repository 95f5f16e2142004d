"""`crossdock demo`: the demonstration, with real parts and real sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossdock.cli.seat import Seat, command, subcommands
from crossdock.cli.show import Shown
from crossdock.demo.main import run

app = subcommands("Show the whole of it with two stores and real sockets.")


@command(app, server=False, epilog="Example: crossdock demo --once --json")
def demo(
    seat: Seat,
    once: Annotated[bool, typer.Option("--once", help="End after the run and its checks.")] = False,
    directory: Annotated[Path | None, typer.Option("--dir", help="Where to keep the data; else a new place.")] = None,
) -> Shown | None:
    """Two stores, six integrations, a receiver that is down: run it, check it, print every ledger."""
    raise typer.Exit(run(once, seat.as_json, directory))
