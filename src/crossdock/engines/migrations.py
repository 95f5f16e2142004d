"""Migrations of every engine: `NNNN_pre.sql` adds, `NNNN_post.sql` takes away. Pure.

`pre` runs before a release is rolled out, and the release before works on what it leaves. `post` runs when no process
of the release before is left. So a release serves when every `pre` that it knows is there and no `post` that it does
not know; a `pre` that it does not know is a newer release's, and does no harm.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files

_FILE = re.compile(r"(\d{4})_(pre|post)\.sql")
_TIMEOUT = re.compile(r"^-- statement_timeout: (\d+)(s|min)$", re.MULTILINE)
_ALONE = re.compile(r"^-- no transaction$", re.MULTILINE)
_END = re.compile(r";[ \t]*$", re.MULTILINE)


class Phase(StrEnum):
    PRE = "pre"
    POST = "post"


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """A migration by its place: what the database notes of those that were applied."""

    number: int
    phase: Phase

    def __str__(self) -> str:
        return f"{self.number:04}_{self.phase}"


@dataclass(frozen=True, slots=True)
class Migration:
    step: Step
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hex: an applied file must not change."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def statement_ms(self, otherwise: int) -> int:
        """How long one of its statements may run: `-- statement_timeout: 10min` says so in the file."""
        found = _TIMEOUT.search(self.text)
        if found is None:
            return otherwise
        return int(found[1]) * (60_000 if found[2] == "min" else 1_000)

    @property
    def alone(self) -> bool:
        """Whether no transaction may be around it, as CREATE INDEX CONCURRENTLY asks: `-- no transaction` says so in
        the file. Such a file may be cut short at any statement, so that it starts by undoing what it left."""
        return _ALONE.search(self.text) is not None

    @property
    def statements(self) -> tuple[str, ...]:
        """One by one: each ends with a `;` at the end of a line, and has none at the end of a line inside."""
        parts = (part.strip() for part in _END.split(self.text))
        return tuple(part for part in parts if any(line and not line.startswith("--") for line in part.splitlines()))


@cache
def known(package: str) -> tuple[Migration, ...]:
    """The migrations of an engine's package, in the order in which they are applied."""
    found = []
    for file in files(package).joinpath("migrations").iterdir():
        name = _FILE.fullmatch(file.name)
        if name is not None:
            step = Step(int(name[1]), Phase(name[2]))
            found.append(Migration(step, file.read_text(encoding="utf-8")))
    return tuple(sorted(found, key=lambda one: (one.step.number, one.step.phase is Phase.POST)))


def to_do(all_known: Sequence[Migration], applied: Collection[Step], phases: Collection[Phase]) -> list[Migration]:
    """Those of the phases that are not applied, in order."""
    return [one for one in all_known if one.step.phase in phases and one.step not in applied]


def unfit(all_known: Sequence[Migration], applied: Collection[Step]) -> str:
    """Why this release cannot serve on a database with these applied; '' if it can."""
    missing = to_do(all_known, applied, {Phase.PRE})
    if missing:
        return f"The database lacks {', '.join(str(one.step) for one in missing)}."
    ours = {one.step for one in all_known}
    newer = [str(step) for step in sorted(applied) if step.phase is Phase.POST and step not in ours]
    if newer:
        return f"The database has {', '.join(newer)} of a later release, which took away what this one needs."
    return ""


def altered(all_known: Sequence[Migration], sums: Collection[tuple[Step, str]]) -> list[Step]:
    """Applied migrations whose file has another text now."""
    now = {one.step: one.checksum for one in all_known}
    return sorted(step for step, checksum in sums if step in now and now[step] != checksum)
