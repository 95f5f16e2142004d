"""Starting and ending the processes of the demonstration, each by its own id."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

START_SECONDS_MAX = 30
END_SECONDS_MAX = 30


class DemoFailed(Exception):
    """A process did not start, or the run did not come to its end in time."""


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Processes:
    """Ends what it started when the block ends, in reverse order."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(list(self._running)):
            self.end(name)

    def start(
        self, name: str, arguments: Sequence[str], *, ready: str, environment: Mapping[str, str] | None = None
    ) -> None:
        """Starts `python arguments`, and waits until it prints a line that contains `ready`. stderr goes to a file."""
        with open(self._directory / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
                start_new_session=True,  # Ctrl-C is for the conductor, which then ends them in order
            )
        self._running[name] = process
        self._until_ready(name, process, ready)

    def _until_ready(self, name: str, process: subprocess.Popen[bytes], ready: str) -> None:
        pipe = process.stdout
        if pipe is None:
            raise DemoFailed(f"{name} has no output.")
        os.set_blocking(pipe.fileno(), False)
        until = time.monotonic() + START_SECONDS_MAX
        said = b""
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while time.monotonic() < until:
                selector.select(0.2)
                said += pipe.read() or b""
                if ready.encode() in said:
                    return
                if process.poll() is not None:
                    break
        log = self._directory / f"{name}.log"
        raise DemoFailed(f"{name} did not start. Its last words: {log.read_text(errors='replace')[-800:]}")

    def pid(self, name: str) -> int:
        return self._running[name].pid

    def kill(self, name: str) -> None:
        """kill -9, as a crash would."""
        process = self._running.pop(name)
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()

    def end(self, name: str) -> int:
        """SIGTERM, then wait; SIGKILL after END_SECONDS_MAX. The exit code."""
        process = self._running.pop(name)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(END_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if process.stdout:
            process.stdout.close()
        return code


def get(port: int, path: str = "/record") -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return json.load(answer)


def post(port: int, path: str, document: Any) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        data=json.dumps(document).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)
