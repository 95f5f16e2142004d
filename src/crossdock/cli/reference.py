"""The generated reference: `python -m crossdock.cli.reference DIRECTORY` writes it as Markdown, for `make docs`.

Every page is made from what the program itself uses, so that it cannot say anything else.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import typer
from fastapi import FastAPI
from typer.main import get_command

from crossdock.cli.lazy import LazyGroup
from crossdock.cli.main import EPILOG, app
from crossdock.engines.memory.engine import MemoryEngine
from crossdock.explain import AREAS, codes, page, title
from crossdock.http.api.app import NOUNS
from crossdock.http.api.reference import METHODS, document_of
from crossdock.model.ids import Instant
from crossdock.observe.lines import LINES
from crossdock.observe.metrics import Metrics
from crossdock.settings import settings_table

GENERATED = "<!-- Written by `make docs`: change the program, not this page. -->\n\n"


def row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [row(*headings), row(*("---" for _ in headings)), *(row(*cells) for cells in rows)]
    return "\n".join(lines) + "\n"


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with its whole name, in the order of help."""

    def below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        yield name, command
        for child in getattr(command, "commands", {}):
            inner = command.loaded(child) if isinstance(command, LazyGroup) else command.commands[child]
            yield from below(f"{name} {child}", inner)

    return below("crossdock", get_command(app))


def command_line() -> str:
    parts = ["# The command line\n", EPILOG]
    for name, command in commands():
        context = typer.Context(command, info_name=name)
        parts.append(f"## {name}\n\n{(command.help or '').strip()}\n")
        rows = [record for parameter in command.get_params(context) if (record := parameter.get_help_record(context))]
        inner = [(child, one.get_short_help_str(200)) for child, one in getattr(command, "commands", {}).items()]
        if inner:
            parts.append(table(("Command", "What it does"), [(f"`{name} {child}`", text) for child, text in inner]))
        else:
            parts.append(table(("Option", "Meaning"), [(f"`{names}`", text) for names, text in rows]))
        if command.epilog and not inner:
            parts.append(f"{command.epilog}\n")
    return "\n".join(parts)


def settings() -> str:
    rows = [(f"`{one.variable}`", f"`{one.default}`" if one.default else "", one.meaning) for one in settings_table()]
    intro = "# Settings\n\nRead once at the start, from the environment. What is unsafe together is refused.\n\n"
    return intro + table(("Variable", "Default", "Meaning"), rows)


def errors() -> str:
    parts = ["# Errors\n\nEach has a code that never changes its meaning; `crossdock explain CODE` prints the page.\n"]
    groups = {**AREAS, "": "rules of contracts"}
    for start, area in groups.items():
        known = [code for code in codes() if (code.startswith(start) if start else not code.startswith("CD"))]
        if known:
            parts.append(f"## {area.capitalize()}\n\n" + table(("Code", "Meaning"), [(c, title(c)) for c in known]))
    parts += [page(code).replace("# ", "## ", 1) for code in codes()]
    return "\n".join(parts)


def lines() -> str:
    rows = [(f"`{name}`", ", ".join(f"`{field}`" for field in sorted(fields))) for name, fields in LINES.items()]
    intro = "# Log lines\n\nOne wide line per turn of work; never a body, a header value or a token.\n\n"
    return intro + table(("Line", "Fields"), rows)


def metrics() -> str:
    """From the text of a scrape, so that the names are those that a scraper sees."""
    empty = MemoryEngine(lambda: Instant(0))
    text = asyncio.run(Metrics().scrape(empty.lanes)).decode()
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith(("# HELP ", "# TYPE ")):
            _, kind, name, words = line.split(" ", 3)
            found.setdefault(name, ["", ""])[kind == "TYPE"] = words
    rows = [(f"`{name}`", kind, words) for name, (words, kind) in found.items() if not name.endswith("_created")]
    return "# Metrics\n\n`GET /metrics`, in the text format of Prometheus.\n\n" + table(
        ("Name", "Kind", "Meaning"), rows
    )


def operations() -> str:
    web = FastAPI(title="Crossdock")
    for noun in NOUNS:
        web.include_router(noun.router, prefix="/v1")
    paths = document_of(web)["paths"]
    rows = [
        (
            f"`{method.upper()} {path}`",
            operation.get("description", "").split("\n")[0],
            operation.get("x-crossdock-action", ""),
        )
        for path, item in paths.items()
        for method in METHODS
        if (operation := item.get(method))
    ]
    intro = "# Operations of the API\n\nThe whole document is at `/openapi.json`, a page of it at `/docs`.\n\n"
    return intro + table(("Operation", "What it does", "Action"), rows)


PAGES: dict[str, Callable[[], str]] = {
    "command-line.md": command_line,
    "settings.md": settings,
    "errors.md": errors,
    "log-lines.md": lines,
    "metrics.md": metrics,
    "api.md": operations,
}


def write(directory: Path) -> None:
    """Writes every page, with the same bytes for the same program."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, make in PAGES.items():
        text = make().rstrip() + "\n"
        directory.joinpath(name).write_text(GENERATED + text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
