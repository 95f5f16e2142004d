"""Every code has a page, every page is used, and every page is in one form."""

from __future__ import annotations

import ast
import re
from importlib.resources import files
from pathlib import Path

import pytest

from crossdock.explain import AREAS, CODE, TITLE, UnknownCode, codes, page, title

SOURCE = Path(__file__).resolve().parents[2] / "src" / "crossdock"
RULE_AREAS = ("contracts",)
"""Lint rules (a letter and three digits) are raised here; elsewhere such a text is something else."""
IN_TEXT = re.compile(r"(?<![A-Za-z0-9])CD[0-9]{4}(?![0-9])")


def texts(path: Path) -> list[str]:
    """Every string of a module that is not a docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prose = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
    ]


def used() -> dict[str, set[str]]:
    """Each code that the source speaks of in a string, with the modules that do."""
    found: dict[str, set[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        for text in texts(path):
            here = set(IN_TEXT.findall(text))
            if name.startswith(RULE_AREAS) and CODE.fullmatch(text):
                here.add(text)
            for code in here:
                found.setdefault(code, set()).add(name)
    return found


USED = used()


@pytest.mark.parametrize("code", sorted(USED))
def test_a_code_that_is_used_has_a_page(code: str) -> None:
    assert code in codes(), f"used in {sorted(USED[code])}"


@pytest.mark.parametrize("code", codes())
def test_a_page_that_stands_is_used(code: str) -> None:
    assert code in USED


@pytest.mark.parametrize("code", codes())
def test_a_page_has_its_form(code: str) -> None:
    lines = page(code).splitlines()
    first = TITLE.fullmatch(lines[0])
    assert first, f"the first line is not '# {code}  Short sentence'"
    assert first[1] == code
    assert lines[1] == ""
    assert 5 <= len(lines) <= 40
    assert all(len(line) <= 140 for line in lines)
    assert len(title(code)) <= 80


@pytest.mark.parametrize("code", [code for code in codes() if code.startswith("CD")])
def test_a_code_lies_in_the_range_of_an_area(code: str) -> None:
    assert code[:3] in AREAS


def test_nothing_else_lies_among_the_pages() -> None:
    names = {entry.name for entry in files("crossdock.explain").iterdir()} - {"__init__.py", "__pycache__"}
    assert names == {f"{code}.md" for code in codes()}


def test_titles_differ() -> None:
    titles = [title(code) for code in codes()]
    assert len(titles) == len(set(titles))


def test_a_code_is_found_however_it_is_typed() -> None:
    assert page("cd7020") == page(" CD7020 ") == page("7020")


def test_an_unknown_code_suggests_near_ones() -> None:
    with pytest.raises(UnknownCode) as caught:
        page("CD702")
    assert "CD7020" in caught.value.near


@pytest.mark.parametrize("code", ["../secrets", "CD7020.md", "", "__init__"])
def test_a_code_is_never_a_path(code: str) -> None:
    with pytest.raises(UnknownCode):
        page(code)
