"""Several processes of one installation, each with a role of its own, on one PostgreSQL or on one file."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

from journeys.floor import PROGRAM, Floor, product, until


@dataclass
class Post(Floor):
    """One `crossdock serve`; its data directory is the installation's."""

    shared: Path = Path()

    @property
    def data(self) -> Path:
        return self.shared

    def status(self) -> int:
        assert self.process is not None
        return self.process.wait(60)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of the program that is expected to end by itself."""
        command = [*PROGRAM, arguments[0], "--dir", str(self.data), *arguments[1:]]
        return subprocess.run(command, capture_output=True, text=True, env=self.environment, check=False)

    def lines(self, name: str) -> list[dict[str, str]]:
        """The lines of this name in its log, as their plain fields."""
        found = [line for line in self.log.read_text().splitlines() if f" {name} " in line]
        return [dict(re.findall(r"(\w+)=(\S+)", line)) for line in found]

    def workers(self) -> dict[int, int]:
        """The pid of each worker that lives, by its number."""
        assert self.process is not None
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or parent_of(entry) != self.process.pid:
                continue
            text = (entry / "cmdline").read_bytes().decode()
            if number := re.search(r'"worker": (\d+)', text):
                found[int(number[1])] = int(entry.name)
        return found


def parent_of(process: Path) -> int | None:
    """None for one that has ended, if only its exit status is still to be read."""
    try:
        after = (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if after[0] == "Z" else int(after[1])


def lives(pid: int) -> bool:
    return parent_of(Path(f"/proc/{pid}")) is not None


@dataclass
class Yard:
    directory: Path
    environment: dict[str, str]
    posts: list[Post] = field(default_factory=list)
    token: str = ""
    tokens: dict[tuple[str, str], str] = field(default_factory=dict)

    def post(self, role: str = "all", workers: int = 1, **settings: str) -> Post:
        """Served, and ready."""
        named = {f"CROSSDOCK_{name.upper()}": value for name, value in settings.items()}
        named |= {"CROSSDOCK_ROLE": role, "CROSSDOCK_WORKERS": str(workers)}
        place = self.directory / f"post-{len(self.posts)}"
        place.mkdir()
        made = Post(place, {**self.environment, **named}, shared=self.directory / "var")
        self.posts.append(made)
        if not self.token:
            made.mint()
            self.token = made.house.token
        made.house.token, made.house.tokens = self.token, self.tokens
        made.start()
        return made


@contextmanager
def yard_in(directory: Path, database: str = "", **settings: str) -> Iterator[Yard]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CROSSDOCK_")}
    environment |= {f"CROSSDOCK_{name.upper()}": value for name, value in settings.items()}
    environment |= {"CROSSDOCK_DATABASE": database} if database else {}
    made = Yard(directory, environment)
    try:
        yield made
    finally:
        for post in made.posts:
            if post.process is not None and post.process.poll() is None:
                post.end()


UNHURRIED_FROM = 500
"""Acknowledged events after which publishers pause between two: the webhook's contract sends 50 a second, and a test
waits for the last of them."""


class Publishers:
    """Threads that publish one event after the other until they are told to stop or are refused."""

    def __init__(self, post: Post, store: str, threads: int) -> None:
        self.acknowledged: list[str] = []
        self._post, self._store = post, store
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._publish, args=(number,)) for number in range(threads)]
        for thread in self._threads:
            thread.start()

    def _publish(self, number: int) -> None:
        count = 0
        while not self._stop.is_set():
            count += 1
            time.sleep(0.1 if len(self.acknowledged) > UNHURRIED_FROM else 0)
            event: dict[str, Any] = product(f"T{number}-{count}")
            try:
                answer = self._post.publish(self._store, event)
            except (OSError, HTTPException):
                return  # nobody answered: nothing was promised
            if answer.status == 202:
                self.acknowledged.append(event["id"])

    def wait_for(self, count: int) -> None:
        until(lambda: len(self.acknowledged) >= count, f"{count} acknowledged events")

    def join(self) -> list[str]:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return self.acknowledged
