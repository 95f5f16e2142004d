"""SQL as package data: named queries (`-- name: lane` above each) of an engine's `.sql` files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def queries(package: str, folder: str) -> Mapping[str, str]:
    """Every named query of the `.sql` files in a folder of the package. ValueError for a name that stands twice."""
    found: dict[str, str] = {}
    for file in sorted(files(package).joinpath(folder).iterdir(), key=lambda one: one.name):
        parts = _NAME.split(file.read_text(encoding="utf-8"))
        for name, body in zip(parts[1::2], parts[2::2], strict=True):
            if name in found:
                raise ValueError(f"the query {name} stands twice")
            found[name] = body.strip()
    return found
