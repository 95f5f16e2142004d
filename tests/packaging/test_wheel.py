"""The wheel, installed alone, has all that it needs: contracts, SQL, pages."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content in a folder of its own."""
    home = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(home), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (wheel,) = home.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(home / "site")
    return home / "site"


def run(installed: Path, *arguments: str) -> str:
    """The program as the wheel holds it, from a folder that is not the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    code = "import crossdock.cli.main as m, sys; assert sys.argv.pop(1) in m.__file__, m.__file__; m.main()"
    command = [sys.executable, "-c", code, str(installed), *arguments]
    done = subprocess.run(command, cwd=installed, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_every_file_of_the_package_is_in_the_wheel(installed: Path) -> None:
    there = {
        path.relative_to(SOURCE)
        for path in (SOURCE / "crossdock").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    missing = sorted(str(path) for path in there if not (installed / path).is_file())
    assert not missing
    assert {path.suffix for path in there} >= {".py", ".sql", ".yaml", ".jmespath", ".json", ".md"}


def test_the_licence_travels_with_the_wheel(installed: Path) -> None:
    assert list(installed.glob("crossdock-*.dist-info/licenses/LICENSE"))


def test_the_installed_program_finds_its_contracts_and_pages(installed: Path) -> None:
    assert "marketplace.acme" in run(installed, "contracts", "list")
    assert "CD1001" in run(installed, "explain", "CD1001")


def test_the_installed_program_finds_its_sql(installed: Path, tmp_path: Path) -> None:
    assert "cdt_" in run(installed, "token", "create", "--role", "platform_admin", "--dir", str(tmp_path / "data"))
    assert "All is well." in run(installed, "doctor", "--dir", str(tmp_path / "data"))
