"""docs/INTEGRATION_MODEL.md is the governing document with a row for each sentence, and each row is proved.

`statements.txt` keeps the sentences with their ids. Where the source itself lies beside the checkout, it is read anew:
a sentence that was changed, added or taken away there is noticed.
"""

from __future__ import annotations

import ast
import os
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "INTEGRATION_MODEL.md"
KEPT = Path(__file__).parent / "statements.txt"
SAMPLES = Path(os.environ.get("CROSSDOCK_SAMPLES", ROOT.parent / "shared" / "samples"))
SOURCE = SAMPLES.parent / "INTEGRATION_MODEL.md"
HEADING = re.compile(r"#{2,3} (\d+(?:\.\d+)?)\.? ")
PROOF = re.compile(r"`([^`\s]+\.py)::(\w+)`")


class Row(NamedTuple):
    id: str
    statement: str
    how: str
    tests: tuple[tuple[str, str], ...]


def statements(text: str) -> dict[str, str]:
    """Each sentence and bullet by its id; a bullet is read after the words that lead to it."""
    found: dict[str, str] = {}
    section, lead, count, led = "", "", 0, False
    for line in map(str.strip, text.splitlines()):
        if heading := HEADING.match(line):
            section, lead, count = heading[1], "", 0
        elif not section or not line or line.startswith("#") or line == "End of document":
            continue
        elif line.endswith(":") and not line.startswith("- "):
            lead, led = line, False
        else:
            bullet = line.startswith("- ")
            lead = lead if bullet or not led else ""
            said = f"{lead} {line.removeprefix('- ')}".strip().rstrip(",.")
            found[f"IM-{section}.{chr(ord('a') + count)}"] = said
            count, led = count + 1, True
    return found


def kept() -> dict[str, str]:
    return dict(line.split("\t", 1) for line in KEPT.read_text(encoding="utf-8").splitlines())


def rows() -> list[Row]:
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("| IM-")
    ]
    return [Row(name, said, how, tuple(PROOF.findall(proof))) for name, said, how, proof in cells]


@cache
def named_in(path: str) -> frozenset[str]:
    """The names of the tests of a file, in classes too."""
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


def missing(row: Row) -> list[str]:
    return [f"{path}::{name}" for path, name in row.tests if name not in named_in(path)]


def test_every_sentence_has_its_row() -> None:
    assert {row.id: row.statement for row in rows()} == kept()
    assert [row.id for row in rows()] == list(kept())


def test_the_sentences_are_those_of_the_source() -> None:
    if not SOURCE.exists():
        pytest.skip(f"the source is not at {SOURCE}")
    assert statements(SOURCE.read_text(encoding="utf-8")) == kept()


def test_the_status_is_that_of_the_source() -> None:
    head = ["Status: DRAFT", "Type: Integration / Contract Model", "Freeze: Not applied"]
    files = [one for one in (PAGE, SOURCE) if one.exists()]
    assert [line for one in files for line in head if line not in one.read_text().splitlines()] == []


def test_every_row_is_proved_or_says_later() -> None:
    assert len(rows()) > 90
    assert [row.id for row in rows() if not row.tests and not row.how.startswith("later: ")] == []
    assert [row.id for row in rows() if not row.how] == []


def test_every_proof_is_a_test_that_there_is() -> None:
    assert [gone for row in rows() for gone in missing(row)] == []


def test_a_proof_that_is_gone_is_noticed() -> None:
    here = "tests/governing/test_matrix.py"
    assert not missing(Row("", "", "", ((here, "test_a_proof_that_is_gone_is_noticed"),)))
    assert missing(Row("", "", "", ((here, "test_that_nobody_wrote"), ("tests/no/such_file.py", "test_x"))))


def test_a_changed_sentence_is_noticed() -> None:
    text = "## 4. A\n\nOne must:\n\n- be seen,\n- be heard.\n\nIt is so.\n\n### 4.1 B\n\nRules:\n\n- none\n"
    assert statements(text) == {
        "IM-4.a": "One must: be seen",
        "IM-4.b": "One must: be heard",
        "IM-4.c": "It is so",
        "IM-4.1.a": "Rules: none",
    }
    assert statements(text.replace("heard", "hard")) != statements(text)
