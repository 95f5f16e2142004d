"""The README's transcripts are executed: what it shows is what the program prints, but for the numbers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def transcripts() -> list[tuple[list[str], list[str]]]:
    """The commands and the output lines of each console block."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = []
    for block in re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL):
        lines = block.splitlines()
        commands = [line[2:] for line in lines if line.startswith("$ ")]
        found.append((commands, [line for line in lines if not line.startswith("$ ") and line.strip()]))
    return found


def masked(line: str) -> str:
    """Numbers and the spaces between columns may differ from run to run."""
    return re.sub(r"\s+", " ", NUMBER.sub("#", line)).strip()


def assert_shown(shown: list[str], printed: str) -> None:
    """The shown lines are in the output in this order; `...` stands for any lines."""
    rest = iter([masked(line) for line in printed.splitlines()])
    for line in shown:
        if line.strip() != "...":
            assert masked(line) in rest, f"the README shows {line!r}, which is not printed there"


@pytest.mark.parametrize("at", range(len(transcripts())))
def test_the_transcript_is_what_the_program_prints(at: int, tmp_path: Path) -> None:
    commands, shown = transcripts()[at]
    command = commands[-1]
    assert command in (".venv/bin/crossdock demo --once", "make help"), "a new transcript needs a way to run it here"
    argv = ["make", "--no-print-directory", "help"]
    if "crossdock" in command:
        argv = [sys.executable, "-m", "crossdock.cli.main", *command.split()[1:], "--dir", str(tmp_path)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CROSSDOCK_")}
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=400, env=environment, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert_shown(shown, done.stdout)


def test_a_line_that_is_not_printed_is_noticed() -> None:
    with pytest.raises(AssertionError):
        assert_shown(["yes  a", "yes  b"], "yes  b\nyes  a\n")
