"""One page per error code and lint rule, as package data: `crossdock explain CODE` prints it."""

from __future__ import annotations

import difflib
import re
from importlib.resources import files

CODE = re.compile(r"CD[1-7][0-9]{3}|[A-Z][0-9]{3}")
TITLE = re.compile(r"# (CD[1-7][0-9]{3}|[A-Z][0-9]{3})  (\S.*\S)")
"""The first line of a page: the code, two spaces, one short sentence."""

NEAR_MAX = 5
AREAS = {
    "CD1": "ingest and requests",
    "CD2": "contracts",
    "CD3": "stores, connections and authority",
    "CD4": "delivery, drivers and egress",
    "CD5": "engine and journal",
    "CD6": "credentials and signing",
    "CD7": "command line, client, demonstration and settings",
}


class UnknownCode(LookupError):
    """`near` are codes that look alike, the likeliest first."""

    def __init__(self, code: str, near: tuple[str, ...]) -> None:
        super().__init__(code)
        self.code = code
        self.near = near


def codes() -> tuple[str, ...]:
    """Every code that has a page, in order."""
    names = (entry.name.removesuffix(".md") for entry in files(__name__).iterdir() if entry.name.endswith(".md"))
    return tuple(sorted(name for name in names if CODE.fullmatch(name)))


def page(code: str) -> str:
    """The Markdown page; UnknownCode with what looks alike. Case and a missing CD before four digits do not matter."""
    wanted = code.strip().upper()
    if re.fullmatch(r"[0-9]{4}", wanted):
        wanted = f"CD{wanted}"
    known = codes()
    if wanted not in known:
        begun = [one for one in known if wanted and one.startswith(wanted)]
        near = begun or difflib.get_close_matches(wanted, known, n=NEAR_MAX, cutoff=0.6)
        raise UnknownCode(code.strip()[:20], tuple(near[:NEAR_MAX]))
    return files(__name__).joinpath(f"{wanted}.md").read_text(encoding="utf-8")


def title(code: str) -> str:
    """The sentence of a code's page."""
    first = page(code).partition("\n")[0]
    found = TITLE.fullmatch(first)
    return found[2] if found else first.lstrip("# ")
