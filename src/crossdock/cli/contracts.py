"""`crossdock contracts`: the catalogue, and the checks that a contract must pass. No server is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from crossdock.cli.seat import Seat, command, subcommands
from crossdock.cli.show import Column, Shown, details, table
from crossdock.contracts.catalogue import Catalogue
from crossdock.contracts.lint import lint_path, lint_shipped
from crossdock.contracts.show import show as told
from crossdock.model.contract import Contract
from crossdock.model.errors import NotFound

app = subcommands("List, show and check the contracts of integrations.")

Directory = Annotated[
    Path | None, typer.Option("--dir", help="A folder with contracts of your own, beside those that are shipped.")
]


def catalogue(directory: Path | None) -> Catalogue:
    return Catalogue.shipped() if directory is None else Catalogue.read(directory)


@command(app, "list", server=False)
def listed(seat: Seat, directory: Directory = None) -> Shown:
    """List the integrations that a store can connect."""
    rows = [summary(contract) for contract in catalogue(directory).contracts()]
    columns = {
        "Integration": "id",
        "Version": "version",
        "Status": "status",
        "Direction": "direction",
        "Purpose": "purpose",
        "Title": "title",
    }
    return table({"items": rows}, rows, columns, empty="There is no contract.")


@command(app, "show", server=False, epilog="Example: crossdock contracts show orders.shopify")
def show(
    seat: Seat,
    integration: Annotated[str, typer.Argument(help="The contract's id.")],
    version: Annotated[str | None, typer.Option("--version", help="Another version than the newest.")] = None,
    directory: Directory = None,
) -> Shown:
    """Show what a contract lets move, where to, and what it needs."""
    contract = catalogue(directory).get(integration, version)
    if contract is None:
        raise NotFound("CD7029", "There is no such contract.", remedy="crossdock contracts list has all of them.")
    data = told(contract)
    return Shown(data, tuple(shown_parts(data)))


def shown_parts(data: dict[str, Any]) -> Iterator[RenderableType]:
    """Head, hosts, credentials, and for each route the fields that move: with their class, and how they are kept."""
    head = {
        name: value for name, value in data.items() if name not in ("routes", "destinations", "credentials", "config")
    }
    yield from details(head | {"config": list(data["config"].get("properties", {}))}).parts
    yield from section(
        "Hosts",
        data["destinations"],
        {
            "Name": "name",
            "Production": lambda row: row.get("live") or set_by(row),
            "Elsewhere": lambda row: row.get("sandbox") or set_by(row),
            "Methods": lambda row: " ".join(row["methods"]),
            "Paths": "paths",
        },
    )
    slots: dict[str, Column] = {
        "Name": "name",
        "Secret": "secret",
        "Optional": "optional",
        "Rotated every": lambda row: days(row["rotate_ms"]),
    }
    yield from section("Credentials", data["credentials"], slots)
    for route in data["routes"]:
        fields: dict[str, Column] = {"Field": "pointer", "Class": "class", "Protected": "protect", "Why": "why"}
        heading = f"Route {route['name']}: {route['event']} {route['moves']}"
        yield from section(heading, route["fields"], fields)


def section(heading: str, rows: list[dict[str, Any]], columns: Mapping[str, Column]) -> tuple[RenderableType, ...]:
    return ("", Text(heading, style="bold underline"), *table(rows, rows, columns, empty="").parts) if rows else ()


def set_by(row: Mapping[str, Any]) -> str:
    return (
        f"the operator's {row['operator']}" if "operator" in row else f"the store's own, in config {row['store_url']}"
    )


def days(span_ms: int | None) -> str:
    return f"{span_ms // 86_400_000} days" if span_ms else ""


def summary(contract: Contract) -> dict[str, Any]:
    return {
        "id": contract.id,
        "version": contract.version,
        "status": str(contract.status),
        "direction": str(contract.direction),
        "purpose": str(contract.purpose),
        "title": contract.title,
    }


@command(app, "lint", server=False, epilog="Example: crossdock contracts lint contracts/acme")
def lint(
    seat: Seat,
    places: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Contract files, their folders, or a folder of many; without one, the shipped contracts.",
            metavar="[PATH...]",
            show_default=False,
        ),
    ] = None,
) -> Shown:
    """Check contracts against every rule. The exit code is 1 when something was found."""
    findings = [finding for place in places for finding in lint_path(place)] if places else lint_shipped()
    data = [{**asdict(finding), "where": finding.where} for finding in findings]
    text = [str(finding) for finding in findings]
    verdict = f"{len(findings)} found. crossdock explain CODE says more." if findings else "Nothing was found."
    return Shown({"findings": data, "ok": not findings}, (*text, verdict), failed=bool(findings))
