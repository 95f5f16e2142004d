"""The generated reference names everything that the program has, and is the same each time it is made."""

from __future__ import annotations

from pathlib import Path

from crossdock.cli.main import Commands
from crossdock.cli.reference import PAGES, write
from crossdock.explain import codes
from crossdock.observe.lines import LINES
from crossdock.settings import settings_table


def test_the_reference_names_every_command_setting_code_line_and_operation(tmp_path: Path) -> None:
    write(tmp_path)
    text = {name: (tmp_path / name).read_text(encoding="utf-8") for name in PAGES}
    assert all(f"## crossdock {noun}" in text["command-line.md"] for noun in Commands.nouns)
    assert all(one.variable in text["settings.md"] for one in settings_table())
    assert all(f"## {code}  " in text["errors.md"] for code in codes())
    assert all(f"`{line}`" in text["log-lines.md"] for line in LINES)
    assert "`crossdock_delivery_attempts_total`" in text["metrics.md"]
    for operation in ("POST /v1/stores/{store}/events", "POST /in/{connection}", "GET /v1/stores/{store}/inbox"):
        assert f"`{operation}`" in text["api.md"]


def test_the_reference_is_the_same_each_time(tmp_path: Path) -> None:
    write(tmp_path / "once")
    write(tmp_path / "twice")
    for name in PAGES:
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()
