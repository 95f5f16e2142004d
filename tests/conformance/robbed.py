"""Queries that were robbed of a store: each comparison of `store_id` in each of them, taken away in turn."""

from __future__ import annotations

import re
from collections.abc import Mapping

COMPARED = re.compile(
    r"(?P<alias>\b\w+\.)?\bstore_id\s*=\s*(?:ANY \((?P<array>\$\d+)::text\[\]\)|(?P<text>\$\d+)|\w+\.store_id)"
    r"|USING \((?P<keys>store_id\b[^()]*)\)"
)


def without(found: re.Match[str]) -> str:
    """The comparison, taken away. A parameter stays, with its type, so that the query is still one."""
    if found["keys"]:
        rest = found["keys"].removeprefix("store_id").removeprefix(", ")
        return f"USING ({rest})" if rest else "ON TRUE"
    if found["array"] or found["text"]:
        return f"({found['array'] or found['text']}::text{'[]' if found['array'] else ''} IS NULL OR TRUE)"
    return "TRUE"


def mutants(queries: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Every query without one of its comparisons of store_id, and without all where it has several; by query and
    place."""
    robbed: dict[str, tuple[str, str]] = {}
    for name, text in queries.items():
        places = list(COMPARED.finditer(text))
        for number, found in enumerate(places, 1):
            robbed[f"{name}-{number}"] = (name, text[: found.start()] + without(found) + text[found.end() :])
        if len(places) > 1:
            robbed[f"{name}-all"] = (name, COMPARED.sub(without, text))
    return robbed
