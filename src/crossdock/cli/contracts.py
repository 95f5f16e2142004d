"""`crossdock contracts`: the catalogue, and the checks that a contract must pass. No server is needed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from crossdock.cli.seat import Seat, command, subcommands
from crossdock.cli.show import Shown, details, table
from crossdock.contracts.catalogue import Catalogue
from crossdock.contracts.lint import lint_path
from crossdock.model.contract import Contract, Route
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
    data = summary(contract) | {
        "summary": contract.summary,
        "credentials": [slot.name for slot in contract.credentials],
        "hosts": [host for one in contract.destinations if (host := one.live or one.operator or one.store_url)],
        "enable_needs": list(contract.lifecycle.enable_needs),
        "routes": [route_shown(route) for route in contract.routes],
    }
    head = details({name: value for name, value in data.items() if name != "routes"})
    routes = {"Route": "name", "Direction": "direction", "Event": "event", "Driver": "driver", "Fields": "fields"}
    return Shown(data, (*head.parts, "", *table(data, data["routes"], routes, empty="No route.").parts))


def summary(contract: Contract) -> dict[str, Any]:
    return {
        "id": contract.id,
        "version": contract.version,
        "status": str(contract.status),
        "direction": str(contract.direction),
        "purpose": str(contract.purpose),
        "title": contract.title,
    }


def route_shown(route: Route) -> dict[str, Any]:
    return {
        "name": route.name,
        "direction": str(route.direction),
        "event": route.event.name,
        "driver": route.driver,
        "fields": [rule.pointer for rule in route.fields],
    }


@command(app, "lint", server=False, epilog="Example: crossdock contracts lint contracts/acme")
def lint(
    seat: Seat,
    places: Annotated[
        list[Path], typer.Argument(help="Contract files, their folders, or a folder of many.", metavar="PATH...")
    ],
) -> Shown:
    """Check contracts against every rule. The exit code is 1 when something was found."""
    findings = [finding for place in places for finding in lint_path(place)]
    data = [{**asdict(finding), "where": finding.where} for finding in findings]
    text = [str(finding) for finding in findings]
    verdict = f"{len(findings)} found. crossdock explain CODE says more." if findings else "Nothing was found."
    return Shown({"findings": data, "ok": not findings}, (*text, verdict), failed=bool(findings))
