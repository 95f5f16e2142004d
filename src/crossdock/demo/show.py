"""What the demonstration prints: the ledger, the sentences, the healthy store beside its run alone."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from crossdock.demo.verdict import Sentence

COLUMNS = ("accepted", "replayed", "delivered", "waiting", "parked", "superseded", "filtered", "expired", "erased")
ALWAYS = {"accepted", "delivered", "waiting", "parked"}


def ledger(lanes: list[dict[str, Any]]) -> Table:
    """A row per lane. A column in which nothing stands is left out."""
    columns = [column for column in COLUMNS if column in ALWAYS or any(lane[column] for lane in lanes)]
    table = Table(
        title="Ledger: accepted + replayed = all that follows", title_justify="left", box=None, pad_edge=False
    )
    table.add_column("lane", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right")
    table.add_column("closes")
    for lane in lanes:
        name = f"{lane['store']} {lane['integration']} {lane['route']}" + (" (down)" if lane["down"] else "")
        table.add_row(name, *(str(lane[column]) for column in columns), "yes" if lane["closes"] else "NO")
    return table


def sentences(console: Console, found: list[Sentence]) -> None:
    console.print()
    for one in found:
        mark = "[green]yes[/green]" if one.ok else "[bold red]NO[/bold red] "
        console.print(f"{mark}  {one.what}", highlight=False)
        console.print(f"     [dim]{one.seen}[/dim]", highlight=False)


def beside(console: Console, figures: dict[str, Any]) -> None:
    table = Table(title="\nNorth's webhook deliveries, sale to receipt", title_justify="left", box=None, pad_edge=False)
    for column in ("run", "events", "p50 ms", "p99 ms"):
        table.add_column(column, justify="left" if column == "run" else "right")
    for name in ("alone", "beside"):
        row = figures[name]
        label = "south's receiver not connected" if name == "alone" else "south's receiver down all along"
        table.add_row(label, str(row["events"]), f"{row['p50_ms']:.0f}", f"{row['p99_ms']:.0f}")
    console.print(table)
    console.print(f"p99 ratio {figures['ratio']:.2f}", highlight=False)
