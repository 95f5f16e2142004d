"""Where lines go: logfmt for people, JSON for collectors. What a line holds cannot forge another line."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import TextIO

import msgspec

from crossdock.model.ids import Instant
from crossdock.observe.lines import Value

BUFFERED_LINES_MAX = 10_000  # about 3 MiB; beyond it whoever writes a line waits for the disk
WRITE_BYTES_MAX = 4_096  # PIPE_BUF: up to there what several processes write to one pipe does not mingle (POSIX write)
_SOUND = re.compile(r"[!#-<>-\[\]-~]+")  # printable ASCII but space, quote, equals sign and backslash
_encode = msgspec.json.Encoder().encode


class LineWriter:
    """A sink that gathers lines in memory. `flush` writes them, whole lines at a time, from whichever thread: whoever
    owns the loop calls it a few times a second, so that nothing on the hot path waits for a disk."""

    def __init__(self, form: str, clock: Callable[[], Instant], out: TextIO | None = None) -> None:
        self._render = json_line if form == "json" else text_line
        self._clock = clock
        self._out = out
        self._lines: list[str] = []

    def __call__(self, name: str, fields: dict[str, Value]) -> None:
        self._lines.append(self._render(self._clock(), name, fields))
        if len(self._lines) >= BUFFERED_LINES_MAX:
            self.flush()

    def flush(self) -> None:
        lines, self._lines = self._lines, []
        if not lines:
            return
        out = self._out or sys.stderr
        for text in _whole(lines):
            out.write(text)
            out.flush()


def _whole(lines: list[str]) -> Iterator[str]:
    """The lines, joined as far as WRITE_BYTES_MAX allows. They are ASCII, but for what is quoted as JSON."""
    gathered: list[str] = []
    size = 0
    for line in lines:
        length = len(line.encode("utf-8", "surrogatepass")) if not line.isascii() else len(line)
        if gathered and size + length > WRITE_BYTES_MAX:
            yield "".join(gathered)
            gathered, size = [], 0
        gathered.append(line)
        size += length
    yield "".join(gathered)


def when(at: Instant) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return f"{_second(at // 1000)}.{at % 1000:03}Z"


@lru_cache(maxsize=64)
def _second(at: int) -> str:
    """Thousands of lines share a second."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def text_line(at: Instant, name: str, fields: dict[str, Value]) -> str:
    parts = [when(at), name, *(f"{key}={_plain(value)}" for key, value in fields.items() if value is not None)]
    return " ".join(parts) + "\n"


def json_line(at: Instant, name: str, fields: dict[str, Value]) -> str:
    kept = {key: value for key, value in fields.items() if value is not None}
    return _encode({"at": when(at), "line": name, **kept}).decode() + "\n"


def _plain(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    # A value of an outsider's making must not start a new line or a new field, or steer a terminal.
    if _SOUND.fullmatch(text):
        return text
    return _encode("".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)).decode()
