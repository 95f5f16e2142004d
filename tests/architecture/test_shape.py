"""The shape of the code, as tests, so that the picture in docs/ARCHITECTURE.md cannot rot."""

from __future__ import annotations

import ast
from pathlib import Path

import grimp
import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "crossdock"
MODULES = sorted(SOURCE.rglob("*.py"))

LINES_MAX = 400
FUNCTION_LINES_MAX = 70
BANNED_NAMES = {"utils", "helpers", "common", "misc", "base", "core", "manager"}
PURE = (
    "model/",
    "signing/",
    "contracts/",
    "ingest/checks.py",
    "ingest/gcra.py",
    "delivery/decide.py",
    "delivery/schedule.py",
    "delivery/fairness.py",
    "delivery/replay.py",
    "stores/revision.py",
    "stores/authority.py",
)
READS_FILES = ("contracts/catalogue.py", "contracts/files.py", "contracts/lint.py")
IMPURE_IMPORTS = {
    "asyncio", "aiohttp", "apsw", "http", "io", "os", "pathlib", "random", "secrets", "select", "shutil", "socket",
    "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib.request",
}  # fmt: skip


def name(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(module: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_can_be_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES_MAX
    long = {
        f"{node.name}:{node.lineno}"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > FUNCTION_LINES_MAX
    }
    assert not long


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_is_named_for_what_it_holds(path: Path) -> None:
    assert path.stem not in BANNED_NAMES


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_stand_at_the_top_and_hide_nothing(path: Path) -> None:
    module = tree(path)
    assert "TYPE_CHECKING" not in path.read_text(encoding="utf-8")
    inner = {
        f"{node.lineno}"
        for function in ast.walk(module)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert not inner, f"imports inside functions at lines {sorted(inner)}"


@pytest.mark.parametrize(
    "path", [p for p in MODULES if name(p).startswith(PURE) and name(p) not in READS_FILES], ids=name
)
def test_a_pure_module_does_no_io_and_reads_no_clock(path: Path) -> None:
    roots = {full for full in imported(tree(path)) if full in IMPURE_IMPORTS or full.split(".")[0] in IMPURE_IMPORTS}
    assert not roots


@pytest.mark.parametrize("path", [p for p in MODULES if name(p).startswith("model/")], ids=name)
def test_the_model_needs_the_standard_library_alone(path: Path) -> None:
    allowed = {"__future__", "collections", "dataclasses", "enum", "re", "typing", "crossdock"}
    assert {full.split(".")[0] for full in imported(tree(path))} <= allowed


def test_every_pure_module_of_the_list_exists() -> None:
    missing = [entry for entry in PURE if not (SOURCE / entry).exists()]
    assert not missing


def test_no_module_is_part_of_a_cycle() -> None:
    graph = grimp.build_graph("crossdock")
    for package in sorted(graph.modules):
        for other in graph.find_modules_directly_imported_by(package):
            if other != package and not other.startswith(package + "."):
                assert not graph.chain_exists(importer=other, imported=package), f"{package} <-> {other}"


def test_nothing_calls_out_but_the_egress() -> None:
    """Only the egress, the client and the demonstration's own parties may open a connection. The simulated world stands
    in for sockets, and has none: its guard is tested."""
    allowed = (
        "drivers/egress", "drivers/http1", "drivers/resolver", "drivers/smtp", "client/", "demo/", "serve",
        "testing/world/",
    )  # fmt: skip
    calling = {"aiohttp", "http.client", "urllib.request", "aiosmtplib", "smtplib", "socket"}
    for path in MODULES:
        if not name(path).startswith(allowed):
            assert not imported(tree(path)) & calling, name(path)
    for path in MODULES:
        if not name(path).startswith(allowed):
            text = path.read_text(encoding="utf-8")
            assert "open_connection(" not in text, name(path)
            assert "create_connection(" not in text, name(path)
