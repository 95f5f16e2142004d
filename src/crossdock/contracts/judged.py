"""What a rule of the lint sees of a contract, and how it says what it found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from crossdock.contracts.cases import Cases
from crossdock.contracts.finding import Finding
from crossdock.contracts.located import Located
from crossdock.contracts.read import Reading
from crossdock.model.contract import Contract, Direction, Route
from crossdock.model.ids import JsonObject

Step = str | int


@dataclass(frozen=True, slots=True)
class Judged:
    reading: Reading
    file: str
    cases: Cases | None

    @property
    def contract(self) -> Contract:
        return self.reading.contract

    @property
    def root(self) -> Located:
        return self.reading.root

    def routes(self, direction: Direction | None = None) -> Iterator[tuple[int, Route]]:
        for index, route in enumerate(self.contract.routes):
            if direction is None or route.direction is direction:
                yield index, route

    def say(self, code: str, path: tuple[Step, ...], message: str, remedy: str) -> Finding:
        """A finding at the node on `path`, or at the nearest one above it."""
        node = self.root.at(*path)
        return Finding(self.file, node.line, node.column, code, message, remedy)

    def at_key(self, code: str, path: tuple[Step, ...], message: str, remedy: str) -> Finding:
        """A finding at the key that ends `path`."""
        node = self.root.at(*path[:-1]).key(str(path[-1]))
        return Finding(self.file, node.line, node.column, code, message, remedy)


Rule = Callable[[Judged], Iterator[Finding]]


def properties(schema: JsonObject) -> Mapping[str, JsonObject]:
    found = schema.get("properties")
    return {name: one for name, one in found.items() if isinstance(one, dict)} if isinstance(found, dict) else {}
