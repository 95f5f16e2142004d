"""What every command shares: the connection to the server, the two forms of an answer, errors and exit codes.

A command is a function of a `Seat` that returns what it has to show. `command` adds the options that all have (--url,
--token-file, --json), prints the answer in the form that is wanted, and turns errors into exit codes.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.console import Console

from crossdock.cli.show import Shown
from crossdock.client.problems import ClientError, InvalidEvent, Problem, Unreachable
from crossdock.client.problems import Unavailable as ServerUnavailable
from crossdock.client.sync import Crossdock
from crossdock.http.problems import problem_of as problem_body
from crossdock.model.errors import CrossdockError, Invalid, Refused, Unavailable

PIPE_COLUMNS = 160
ANSWER_SECONDS = 4.0  # how long a person waits, with all tries, before hearing that nobody answers
URL_DEFAULT = "http://127.0.0.1:8400"
SECRET_VARIABLE = "CROSSDOCK_TOKEN"  # noqa: S105 - the name of the variable, not a token


class Exit(IntEnum):
    DONE = 0
    REFUSED = 1
    USAGE = 2
    UNAVAILABLE = 3


Url = Annotated[str, typer.Option("--url", envvar="CROSSDOCK_URL", help="Where the server is.", show_envvar=True)]
TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", help="A file with the API token; without it the variable CROSSDOCK_TOKEN has it."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON, for programs.")]

_SERVER = {
    "url": inspect.Parameter("url", inspect.Parameter.KEYWORD_ONLY, default=URL_DEFAULT, annotation=Url),
    "token_file": inspect.Parameter("token_file", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=TokenFile),
}
_FORM = {"as_json": inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=AsJson)}


def console(stream: TextIO) -> Console:
    """As wide as the terminal; wide enough for a table where there is none."""
    return Console(file=stream, highlight=False, emoji=False, width=None if stream.isatty() else PIPE_COLUMNS)


@dataclass
class Seat:
    """`out` and `err` are consoles; nothing but the answer is ever printed on `out`."""

    as_json: bool
    url: str = URL_DEFAULT
    token_file: Path | None = None
    out: Console = field(default_factory=lambda: console(sys.stdout))
    err: Console = field(default_factory=lambda: console(sys.stderr))

    def client(self) -> Crossdock:
        """The client of the server. Invalid (CD7024) without a token."""
        token = os.environ.get(SECRET_VARIABLE, "")
        if self.token_file is not None:
            token = read_text(self.token_file).strip()
        if not token:
            raise Invalid(
                "CD7024",
                "There is no token to speak to the server with.",
                remedy="Set CROSSDOCK_TOKEN, or give --token-file. The first one: crossdock token create --dir var.",
            )
        plain = os.environ.get("CROSSDOCK_PLAIN_HTTP", "") in ("1", "true", "yes")
        return Crossdock(self.url, token, plain_http=plain, within_seconds=ANSWER_SECONDS)

    def note(self, text: str) -> None:
        """A word for a person, beside the answer."""
        if not self.as_json:
            self.err.print(text, style="dim", markup=False)


def command(
    app: typer.Typer, name: str | None = None, *, server: bool = True, **attributes: Any
) -> Callable[[Callable[..., Shown | None]], Callable[..., None]]:
    """Registers a function of (seat, its own parameters) as a command."""

    def register(function: Callable[..., Shown | None]) -> Callable[..., None]:
        shared = (_SERVER if server else {}) | _FORM
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]

        def run(**values: Any) -> None:
            terms = {key: values.pop(key) for key in shared}
            seat = Seat(**terms)
            answer(seat, lambda: function(seat, **values))

        run.__doc__ = function.__doc__
        run.__name__ = function.__name__
        run.__module__ = function.__module__
        parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        everything = [*parameters, *shared.values()]
        run.__signature__ = inspect.Signature(everything)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in everything}
        app.command(name, **attributes)(run)
        return run

    return register


def answer(seat: Seat, work: Callable[[], Shown | None]) -> None:
    """Does the work, shows its answer, and ends with the exit code that its error asks for."""
    try:
        shown = work()
    except (CrossdockError, ClientError, ValueError) as error:
        body = problem_of(error)
        if body is None:
            raise
        if isinstance(error, Unreachable):
            body |= {
                "where": seat.url,
                "remedy": "Is crossdock serve running there? --url or CROSSDOCK_URL says where.",
            }
        told(seat, body)
        raise typer.Exit(exit_of(error)) from None
    if shown is None:
        return
    if seat.as_json:
        sys.stdout.write(json.dumps(shown.data, ensure_ascii=False, indent=2, default=str) + "\n")
    else:
        for part in shown.parts:
            seat.out.print(part, markup=False, soft_wrap=isinstance(part, str))
    if shown.failed:
        raise typer.Exit(Exit.REFUSED)


def exit_of(error: Exception) -> Exit:
    """3 where trying again later can help, else 1."""
    later = isinstance(error, Unreachable | ServerUnavailable | Unavailable)
    return Exit.UNAVAILABLE if later else Exit.REFUSED


def problem_of(error: Exception) -> dict[str, Any] | None:
    """The problem body of an error that is meant for the user; None for one that is a fault of ours."""
    match error:
        case Problem():
            body: dict[str, Any] = {"status": error.status, "code": error.code, "title": error.title}
            body |= {"detail": error.detail, "pointers": list(error.pointers), **error.extensions}
        case Refused() | Unavailable():
            body = dict(problem_body(error))
        case Unreachable() | InvalidEvent():
            code, _, text = str(error).partition(" ")
            body = {"code": code, "title": "No Answer" if code == "CD7020" else "Not Sent", "detail": text}
        case ValueError() if str(error).startswith("CD7022 "):
            body = {"code": "CD7022", "title": "Not Sent", "detail": str(error).removeprefix("CD7022 ")}
        case _:
            return None
    return {name: value for name, value in body.items() if value not in ("", [], None)}


def told(seat: Seat, body: dict[str, Any]) -> None:
    if seat.as_json:
        sys.stderr.write(json.dumps(body, ensure_ascii=False) + "\n")
        return
    code = str(body.get("code", f"HTTP {body.get('status')}"))
    seat.err.print(f"{code}  {body.get('detail', body['title'])}", style="red", markup=False)
    for item in body.get("problems", body.get("pointers", [])):
        line = f"{item.get('pointer', '')} {item.get('rule', '')}" if isinstance(item, dict) else str(item)
        seat.err.print(f"  {line}", markup=False)
    if body.get("where"):
        seat.err.print(f"  at {body['where']}", markup=False)
    if body.get("remedy"):
        seat.err.print(f"  {body['remedy']}", markup=False)
    if code.startswith("CD"):
        seat.err.print(f"  More: crossdock explain {code}", style="dim", markup=False)


def read_text(path: Path) -> str:
    """A file that the user named, '-' for standard input; Invalid (CD7025) when it cannot be read."""
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid("CD7025", f"The file cannot be read: {type(error).__name__}.", where=str(path)) from None


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object from a file or standard input; Invalid (CD7025)."""
    try:
        found = json.loads(read_text(path))
    except ValueError as error:
        at = f"{path}:{error.lineno}:{error.colno}" if isinstance(error, json.JSONDecodeError) else str(path)
        raise Invalid("CD7025", "The file is not JSON.", where=at) from None
    if not isinstance(found, dict):
        raise Invalid("CD7025", "The file is not a JSON object.", where=str(path))
    return found


def subcommands(sentence: str) -> typer.Typer:
    """The Typer of a noun."""
    return typer.Typer(
        help=sentence, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
        rich_markup_mode="rich", context_settings={"help_option_names": ["-h", "--help"]},
    )  # fmt: skip
