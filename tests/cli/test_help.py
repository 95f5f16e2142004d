"""The outward face of the command line: its help is a snapshot, so that a change of it is a diff that someone accepts.

.venv/bin/python -m pytest tests/cli/test_help.py --accept      writes the snapshot anew
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from crossdock.cli.main import Commands
from crossdock.cli.reference import command_line, commands

SNAPSHOT = Path(__file__).resolve().parents[1] / "snapshots" / "command-line.md"


EVERY = pytest.mark.parametrize(
    ("name", "command"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
)


def test_the_help_is_as_it_was_accepted(request: pytest.FixtureRequest) -> None:
    now = command_line().rstrip() + "\n"
    if request.config.getoption("--accept"):
        SNAPSHOT.write_text(now, encoding="utf-8")
    assert now == SNAPSHOT.read_text(encoding="utf-8"), "look at the difference, then run with --accept"


@pytest.mark.parametrize(
    ("name", "command"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_command_says_what_it_does_in_a_sentence(name: str, command: object) -> None:
    text = str(command.help or "").strip()  # type: ignore[attr-defined]
    assert text.endswith("."), name
    first = text.split("\n\n")[0]
    assert len(first) <= 140, name


@pytest.mark.parametrize(
    ("name", "command"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_command_answers_in_json_and_takes_no_secret(name: str, command: object) -> None:
    if getattr(command, "commands", None):
        return
    options = {option for parameter in command.params for option in parameter.opts}  # type: ignore[attr-defined]
    assert "--json" in options or name == "crossdock serve"
    assert not options & {"--token", "--secret", "--value", "--password", "--api-key"}


def test_help_imports_no_command() -> None:
    script = (
        "import sys; from crossdock.cli.main import main\n"
        "sys.argv = ['crossdock', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in "
        "('aiohttp', 'fastapi', 'uvicorn', 'apsw', 'cryptography', 'pydantic', 'jsonschema_rs')), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert all(name in done.stdout for name in Commands.nouns)


def test_the_sentence_in_the_list_is_the_one_of_the_command() -> None:
    for name, command in commands():
        noun = name.removeprefix("crossdock ")
        if noun in Commands.nouns and noun not in ("serve", "demo", "doctor"):
            assert str(command.help).split("\n\n")[0] == Commands.nouns[noun].sentence
