"""`crossdock`: the command line. Exit codes: 0 done, 1 refused, 2 wrong usage, 3 unavailable."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from crossdock.cli.lazy import LazyGroup, Noun

RUN, USE, SEE = "Run", "Stores and their integrations", "Look"
EPILOG = """\
Commands that speak to a server find it by CROSSDOCK_URL (http://127.0.0.1:8400) and CROSSDOCK_TOKEN.

Exit codes: 0 done, 1 refused, 2 wrong usage, 3 unavailable. With --json the answer is JSON on standard output, and an
error is a problem body (RFC 9457) on standard error.
"""


class Commands(LazyGroup):
    nouns = {
        "serve": Noun("crossdock.cli.serve", "Serve until Ctrl-C, which drains.", RUN),
        "demo": Noun("crossdock.cli.demo", "Show the whole of it with two stores and real sockets.", RUN),
        "store": Noun("crossdock.cli.store", "Create, list and show stores, and say how the core is reached.", USE),
        "connect": Noun("crossdock.cli.connect", "Connect an integration to a store, and run the connection.", USE),
        "contracts": Noun("crossdock.cli.contracts", "List, show and check the contracts of integrations.", USE),
        "event": Noun("crossdock.cli.event", "Publish events, and see where one stands.", USE),
        "lane": Noun("crossdock.cli.lane", "See what is on its way, and send parked events again.", SEE),
        "audit": Noun("crossdock.cli.audit", "See who changed what, and when; the oldest first.", SEE),
        "token": Noun("crossdock.cli.token", "Create, list and revoke API tokens.", USE),
        "db": Noun("crossdock.cli.db", "See, bring up to date and check the schema of the database.", RUN),
        "doctor": Noun("crossdock.cli.doctor", "Check the engine, the settings and every ledger.", SEE),
        "explain": Noun("crossdock.cli.explain", "Say what an error code means and what to do.", SEE),
    }


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("crossdock"))
        raise typer.Exit


@app.callback()
def crossdock(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Integrations of many stores, each under a written contract, each store apart, nothing lost."""


def main() -> None:
    app(prog_name="crossdock")


if __name__ == "__main__":
    main()
