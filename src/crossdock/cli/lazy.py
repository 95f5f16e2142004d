"""A command group that imports a sub-command's module when that command is run, so that `crossdock --help` is quick."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command


@dataclass(frozen=True, slots=True)
class Noun:
    """`module` has a Typer named `app`."""

    module: str
    sentence: str
    panel: str


class LazyGroup(TyperGroup):
    """`nouns` lists the commands. Help shows their sentences; only the one that is run is imported."""

    nouns: ClassVar[dict[str, Noun]] = {}

    def __init__(self, **attributes: Any) -> None:
        attributes["commands"] = {
            name: TyperCommand(name=name, help=noun.sentence, rich_help_panel=noun.panel)
            for name, noun in self.nouns.items()
        }
        super().__init__(**attributes)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, shown, rest = super().resolve_command(ctx, args)
        return name, self.loaded(name) if name else shown, rest

    def loaded(self, name: str) -> Any:
        """The real command of a noun."""
        app: typer.Typer = importlib.import_module(self.nouns[name].module).app
        command = get_command(app)
        command.name = name
        return command
