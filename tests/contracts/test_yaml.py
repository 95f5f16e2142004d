"""The strict reader of YAML: whatever text comes, a tree or findings, never a crash."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.contracts.finding import Report
from crossdock.contracts.read import Folder, read_folder
from crossdock.contracts.strict_yaml import read_yaml
from crossdock.model.limits import CONTRACT_BYTES_MAX

PIECES = st.sampled_from(
    ["a: b\n", "- ", "{", "}", "[", "]", "&x ", "*x", "!t ", "---\n", "? ", "|", ">", '"\\UFFFFFFFF"', "%YAML 9.9\n",
     "\t", "<<: ", "'", '"\\ud800"', ": ", "\n", "  ", "1e999", "~", "\x00", "#", "...\n", "apiVersion: crossdock/v1\n"]
)  # fmt: skip
# JSON writes what lies beyond the basic plane as two escapes, which YAML does not join, and leaves DEL bare.
TEXT = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"], exclude_characters="\x7f"), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def read(text: str) -> tuple[object, list[str]]:
    report = Report("x.yaml")
    root = read_yaml(text, report)
    return (None if root is None else root.plain()), [finding.message for finding in report.findings]


@given(st.text(max_size=200) | st.lists(PIECES, max_size=20).map("".join))
def test_any_text_gives_a_tree_or_findings(text: str) -> None:
    root, findings = read(text)
    assert root is not None or findings or text.strip()
    reading, refused = read_folder(Folder("x", {"contract.yaml": text}), {})
    assert reading is None
    assert refused
    assert {finding.code for finding in refused} <= {"Y001", "S001"}


@given(st.dictionaries(TEXT, JSON, min_size=1, max_size=4))
def test_json_written_as_yaml_is_read_as_it_was(value: dict[str, object]) -> None:
    root, findings = read(json.dumps(value))
    assert not findings
    assert root == value


@pytest.mark.parametrize(
    "word", ["yes", "no", "on", "off", "True", "FALSE", "0o17", "0x1f", "1_000", "2026-01-01", ".5"]
)
def test_a_word_that_older_yaml_took_for_something_else_is_text(word: str) -> None:
    assert read(f"a: {word}") == ({"a": word}, [])


def test_only_two_words_are_booleans() -> None:
    assert read("[true, false, null, ~, 3, 2.5, '3']")[0] == [True, False, None, None, 3, 2.5, "3"]


def test_a_file_that_is_too_large_or_too_deep_is_refused() -> None:
    assert read("a" * (CONTRACT_BYTES_MAX + 1))[1]
    assert read("[" * 40 + "]" * 40)[1]


def test_all_faults_are_told_at_once() -> None:
    assert len(read("a: &x 1\nb: !t 2\na: 3\nc: *x\n")[1]) == 4
