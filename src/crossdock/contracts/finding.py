"""What reading or judging a contract found, at its place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from crossdock.contracts.located import Located
from crossdock.model.errors import Invalid


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """`line` and `column` count from 1. `code` names the rule and its page; `remedy` says what to do."""

    file: str
    line: int
    column: int
    code: str
    message: str
    remedy: str

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def __str__(self) -> str:
        return f"{self.code} {self.where}  {self.message} {self.remedy}".rstrip()


class Report:
    """Gathers the findings of one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.findings: list[Finding] = []

    def add(self, code: str, node: Located, message: str, remedy: str) -> None:
        self.findings.append(Finding(self.file, node.line, node.column, code, message, remedy))

    @property
    def clean(self) -> bool:
        return not self.findings


def refuse(findings: Iterable[Finding]) -> Invalid:
    """The error that carries findings: the first in its message, all of them in `facts`."""
    ordered = sorted(findings)
    first = ordered[0]
    more = f" ({len(ordered) - 1} more)" if len(ordered) > 1 else ""
    return Invalid(
        "CD2010",
        f"{first.code}: {first.message}{more}",
        where=first.where,
        remedy=first.remedy,
        facts={"findings": [str(finding) for finding in ordered]},
    )
