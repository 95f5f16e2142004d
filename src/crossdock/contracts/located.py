"""Values of a YAML file with their place in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from crossdock.model.ids import Json

Scalar = None | bool | int | float | str


@dataclass(slots=True)
class Located:
    """A value and where it starts (from 1). A mapping's keys have their places in `keys`."""

    value: Scalar | list[Located] | dict[str, Located]
    line: int = 1
    column: int = 1
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def entries(self) -> dict[str, Located]:
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list[Located]:
        return self.value if isinstance(self.value, list) else []

    def key(self, name: str) -> Located:
        """The key `name` itself as a place."""
        line, column = self.keys.get(name, (self.line, self.column))
        return Located(name, line, column)

    def at(self, *path: str | int) -> Located:
        """The node at `path`, or the nearest one above it that exists."""
        node = self
        for step in path:
            found = node.entries.get(step) if isinstance(step, str) else _nth(node.items, step)
            if found is None:
                return node
            node = found
        return node

    def has(self, *path: str | int) -> bool:
        node: Located | None = self
        for step in path:
            if node is None:
                return False
            node = node.entries.get(step) if isinstance(step, str) else _nth(node.items, step)
        return node is not None

    def plain(self) -> Json:
        if isinstance(self.value, dict):
            return {name: node.plain() for name, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


def _nth(items: list[Located], index: int) -> Located | None:
    return items[index] if 0 <= index < len(items) else None
