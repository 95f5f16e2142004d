"""The stores that a transaction may see, as the one statement that opens it.

The row security policies of schema.sql read `crossdock.stores` (an array of ids) and `crossdock.scope` (an array of the
tables that are read over all stores). Both are set with `set_config(..., true)`: they end with the transaction, and a
transaction that has set neither sees nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

PLATFORM_STORE = ""
"""What stands in the place of a store where there is none: the platform's own tokens and audit entries."""

WRITE = "BEGIN"
READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


def opening(begin: str, stores: Iterable[str], across: Iterable[str] = ()) -> str:
    """BEGIN and the scope in one simple query: one round trip. The ids are quoted here because a simple query has no
    parameters; standard_conforming_strings is on in every session of ours."""
    return (
        f"{begin}; SELECT set_config('crossdock.stores', {literal(array(stores))}, true), "
        f"set_config('crossdock.scope', {literal(array(across))}, true)"
    )


def array(values: Iterable[str]) -> str:
    """A PostgreSQL array of text, as text (PostgreSQL manual, 8.15.6: every element may be quoted)."""
    quoted = ('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in sorted(set(values)))
    return "{" + ",".join(quoted) + "}"


def literal(text: str) -> str:
    """A string constant (4.1.2.1: the quote is doubled, the backslash means itself)."""
    return "'" + text.replace("'", "''") + "'"
