"""`crossdock explain`: the page of an error code."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markdown import Markdown

from crossdock.cli.seat import Seat, command, subcommands
from crossdock.cli.show import Shown, table
from crossdock.explain import UnknownCode, codes, page, title
from crossdock.model.errors import Invalid, NotFound

app = subcommands("Say what an error code means and what to do.")


@command(app, server=False, epilog="Example: crossdock explain CD3001")
def explain(
    seat: Seat,
    code: Annotated[str | None, typer.Argument(help="A code, for example CD3001 or Y001.")] = None,
    all_codes: Annotated[bool, typer.Option("--list", help="List every code.")] = False,
) -> Shown:
    """Say what an error code means and what to do."""
    if all_codes:
        rows = [{"code": known, "title": title(known)} for known in codes()]
        return table(rows, rows, {"Code": "code", "Meaning": "title"}, empty="There is no page.")
    if code is None:
        raise Invalid("CD7027", "Which code?", remedy="crossdock explain CD3001, or crossdock explain --list.")
    try:
        text = page(code)
    except UnknownCode as unknown:
        near = f"Near it: {', '.join(unknown.near)}." if unknown.near else "crossdock explain --list has all of them."
        raise NotFound("CD7028", f"There is no code {unknown.code}.", remedy=near) from None
    return Shown({"code": code.upper(), "page": text}, (Markdown(text),) if seat.out.is_terminal else (text,))
