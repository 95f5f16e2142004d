"""How a secret comes in: from a file, from standard input, or typed unseen. Never from the command line, where other
users of the machine and the shell's history would see it."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from crossdock.cli.seat import Seat, read_text
from crossdock.model.errors import Invalid


def read_secret(seat: Seat, source: str | None, prompt: str) -> str:
    """One line end at the end is dropped. Invalid (CD7026) for an empty one."""
    if source is not None:
        text = read_text(Path(source))
    elif sys.stdin.isatty() and not seat.as_json:
        text = typer.prompt(prompt, hide_input=True, err=True)
    else:
        text = sys.stdin.read()
    secret = text[:-1] if text.endswith("\n") else text
    secret = secret.removesuffix("\r")
    if not secret:
        raise Invalid("CD7026", "The secret is empty.", remedy="Give it on standard input, or name a file.")
    return secret
