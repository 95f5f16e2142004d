"""Nothing goes undocumented, and nothing documented is not there.

What is looked for is gathered from the source and from a running server, not from the tables that the reference is
made of; so a thing that was left out of such a table is missed here.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import typer

from api.house import House, house_in, settings_in
from crossdock.cli.reference import PAGES, commands, write

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "crossdock"
WRITTEN = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SHIPPED = sorted([*SOURCE.glob("explain/*.md"), *SOURCE.glob("catalogue/*/page.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    directory = tmp_path_factory.mktemp("reference")
    write(directory)
    return {name: (directory / name).read_text(encoding="utf-8") for name in PAGES}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house_in(settings_in(tmp_path_factory.mktemp("complete"))) as made:
        yield made


def trees() -> Iterator[tuple[Path, ast.AST]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def test_every_variable_that_is_read_is_documented(reference: dict[str, str]) -> None:
    named = {
        node.value
        for _, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"CROSSDOCK_[A-Z_]*[A-Z]", node.value)
    }
    declared = {
        f"CROSSDOCK_{node.target.id.upper()}"
        for node in ast.walk(ast.parse((SOURCE / "settings.py").read_text()))
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(node.value, ast.Call)
    }
    assert len(declared) > 10
    assert {name for name in declared if f"| `{name}` |" not in reference["settings.md"]} == set()
    assert {name for name in named if name not in "".join(reference.values())} == set()


def test_every_metric_of_a_running_server_is_documented_with_its_words(house: House, reference: dict[str, str]) -> None:
    scraped = house.call("GET", "/metrics").raw.decode()
    found = re.findall(r"^# HELP (\S+) (.+)$", scraped, flags=re.MULTILINE)
    assert len(found) > 10
    assert [(name, words) for name, words in found if f"| `{name}` |" not in reference["metrics.md"]] == []
    assert [name for name, words in found if words not in reference["metrics.md"]] == []


def written_lines() -> Iterator[tuple[str, set[str]]]:
    """Each line that the source writes, with the fields that are named there."""
    for _, tree in trees():
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "write"
                and node.args
                and isinstance(node.args[0], ast.Constant)
                and re.fullmatch(r"[a-z]+\.[a-z_]+", str(node.args[0].value))
            ):
                yield str(node.args[0].value), {one.arg for one in node.keywords if one.arg}


def test_every_line_that_is_written_is_documented_with_its_fields(reference: dict[str, str]) -> None:
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| (.*) \|$", reference["log-lines.md"], flags=re.MULTILINE))
    found = list(written_lines())
    assert len({name for name, _ in found}) > 8
    assert [(name, field) for name, fields in found for field in fields if f"`{field}`" not in rows.get(name, "")] == []
    assert set(rows) == {name for name, _ in found}, "a line is documented that nothing writes"


def test_every_command_and_every_option_is_documented(reference: dict[str, str]) -> None:
    sections = {
        part.split("\n", 1)[0]: part for part in re.split(r"^## ", reference["command-line.md"], flags=re.MULTILINE)
    }
    missing = []
    for name, command in commands():
        for parameter in command.params:
            for spelling in parameter.opts if parameter.param_type_name == "option" else []:
                if spelling not in sections.get(name, "") and spelling != "--version":
                    missing.append(f"{name} {spelling}")
        assert name in sections
    assert missing == []


def test_every_operation_and_every_open_page_is_documented(house: House, reference: dict[str, str]) -> None:
    document = house.ok("GET", "/openapi.json")
    operations = [f"`{method.upper()} {path}`" for path, item in document["paths"].items() for method in item]
    assert len(operations) > 30
    assert [one for one in operations if one not in reference["api.md"]] == []
    everything = "".join([*reference.values(), *(path.read_text(encoding="utf-8") for path in WRITTEN)])
    for page in ("/metrics", "/healthz", "/readyz", "/docs", "/openapi.json"):
        assert house.call("GET", page).status == 200
        assert page in everything, page


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_something(path: Path) -> None:
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    broken = []
    for target in LINK.findall(text):
        place, _, anchor = target.partition("#")
        if place.startswith(("http:", "https:", "mailto:")):
            continue
        found = path if not place else (path.parent / place)
        if not found.exists() or (anchor and anchor not in anchors(found)):
            broken.append(target)
    assert broken == []


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


COMMAND = re.compile(r"^(?:\$ )?(?:[A-Z_]+=\S+ |echo .* \| )*(?:\.venv/bin/)?(crossdock .*)$")


def in_blocks(text: str) -> Iterator[str]:
    for _, block in FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if found := COMMAND.match(line.strip()):
                yield found[1]


def in_prose(text: str) -> Iterator[str]:
    for code in re.findall(r"`([^`\n]+)`", FENCE.sub("", text)):
        if found := COMMAND.match(code):
            yield found[1]


def words_of(line: str) -> list[str]:
    """The words of a command up to what the shell does with it."""
    words = shlex.split(line, comments=True)
    ends = [at for at, word in enumerate(words) if word in ("|", ">", "<", "&&", ";", "...", "…")]
    return words[: ends[0]] if ends else words


TREE: dict[str, Any] = dict(commands())


def fault(line: str, *, whole: bool) -> str | None:
    """What is wrong with a command as it is written; `whole` asks for every argument that it needs."""
    words = words_of(line)
    name = words.pop(0)
    while words and f"{name} {words[0]}" in TREE:
        name = f"{name} {words.pop(0)}"
    command = TREE[name]
    if getattr(command, "commands", None):
        return None if not whole and not words else f"{name} has no command {' '.join(words[:1]) or 'here'}"
    context = typer.Context(command, info_name=name)
    try:
        values, rest, _ = command.make_parser(context).parse_args(list(words))
    except Exception as error:  # noqa: BLE001  # whatever the parser says of it
        return f"{name}: {error}"
    if rest:
        return f"{name}: too many arguments"
    for parameter in command.params:
        value = values.get(parameter.name)
        given = isinstance(value, str | int | list | tuple) and value not in ([], ())
        if whole and parameter.required and not given:
            return f"{name}: {parameter.name} is missing"
        kind = parameter.type_descriptor.annotation
        if isinstance(kind, type) and issubclass(kind, Enum) and isinstance(value, str) and value not in set(kind):
            return f"{name}: {value} is none of {[str(one) for one in kind]}"
    return None


@pytest.mark.parametrize("path", [*WRITTEN, *SHIPPED], ids=lambda path: path.name)
def test_every_command_that_is_shown_is_one(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    faults = [fault(line, whole=True) for line in in_blocks(text)]
    faults += [fault(line, whole=False) for line in in_prose(text)]
    assert [one for one in faults if one] == []


def test_remedies_name_commands_that_there_are() -> None:
    found = [
        (str(path.relative_to(ROOT)), line)
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for line in re.findall(r"`(crossdock [^`\n]+)`", node.value)
        if "--help" not in line
    ]
    assert found
    assert [(path, said) for path, line in found if (said := fault(line, whole=False))] == []


@pytest.mark.parametrize(
    "line",
    [
        "crossdock lane lst north",
        "crossdock lane list north --no-such-option",
        "crossdock lane list",
        "crossdock token create --role emperor",
        "crossdock no-such-noun",
        "crossdock doctor with too many words",
    ],
)
def test_a_wrong_command_is_noticed(line: str) -> None:
    assert fault(line, whole=True)
