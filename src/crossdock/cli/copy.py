"""`crossdock db copy`: an embedded installation into PostgreSQL, stopped or store by store while it runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from crossdock.cli.seat import Seat
from crossdock.cli.show import Shown, lines
from crossdock.databases import is_url
from crossdock.freight.copying import Copying
from crossdock.freight.ends import AskedHold, file_source, postgres_place
from crossdock.freight.proof import Proved
from crossdock.freight.standing import GRACE_SECONDS, AtRest, Hold
from crossdock.freight.tables import shown
from crossdock.model.connection import AuditEntry
from crossdock.model.errors import Invalid
from crossdock.model.ids import StoreId
from crossdock.settings import read_settings
from crossdock.stores.store_desk import arrival
from crossdock.wiring.ground import clock, operator

LINE_SECONDS = 5.0  # how often a long copy says that it goes on, where there is no terminal

From = Annotated[str, typer.Option("--from", help="The SQLite file, as a path or sqlite:PATH.", metavar="FILE")]
To = Annotated[
    str, typer.Option("--to", help="The postgresql:// URL of the runtime role; else CROSSDOCK_DATABASE.", metavar="URL")
]
Only = Annotated[str, typer.Option("--store", help="This store alone, and nothing of the platform's.")]
Live = Annotated[
    bool, typer.Option("--live", help="While a process serves the file: each store is stopped by itself, for seconds.")
]
Grace = Annotated[
    float, typer.Option("--grace", help="With --live: the seconds that deliveries under way get.", min=0, max=300)
]


def copy(
    seat: Seat,
    source: From,
    destination: To = "",
    store: Only = "",
    live: Live = False,
    grace: Grace = GRACE_SECONDS,
) -> Shown:
    """Copy an installation from a SQLite file into PostgreSQL, and prove that every row is the same.

    The destination must be migrated. Killed and run again, it goes on where it was. With --live the server that owns
    the file is asked (--url, and a platform token) to stop each store in turn; a store that was copied stays stopped
    there.
    """
    path, url = Path(source.removeprefix("sqlite:")), address(destination)
    told = Told(seat.note, seat.err.is_terminal and not seat.as_json)
    with ExitStack() as stack:
        hold: Hold = AskedHold(stack.enter_context(seat.client())) if live else AtRest()
        stack.enter_context(told)
        proved = asyncio.run(run(path, url, Wish(StoreId(store) if store else None, hold, grace), told))
    rows = [{"store": one.store or None, "rows": one.rows, "head": one.head, "digest": one.digest} for one in proved]
    total = sum(sum(one.rows.values()) for one in proved)
    said = f"{len(proved)} of {len(proved)} proved: {total:,} rows, every one the same on both sides."
    return lines({"proved": rows}, said)


@dataclass(frozen=True, slots=True)
class Wish:
    only: StoreId | None
    hold: Hold
    grace_seconds: float


async def run(path: Path, url: str, wish: Wish, told: Told) -> list[Proved]:
    async with file_source(path, live=not wish.hold.still) as source, postgres_place(url) as place:
        return await Copying(source, place, wish.hold, told, moved_here, wish.only, wish.grace_seconds).run()


def moved_here(proved: Proved) -> AuditEntry:
    """The entry of a store that has come here."""
    return arrival(clock(), operator(), StoreId(proved.store), proved.head, proved.digest)


def address(given: str) -> str:
    """The URL of the destination. Invalid (CD7032) for anything else; what was given is not shown."""
    url = given or read_settings().postgres_url or ""
    if not is_url(url):
        raise Invalid(
            "CD7032",
            "There is no postgresql:// URL to copy to.",
            where="--to",
            remedy="Give --to, or set CROSSDOCK_DATABASE: then no password stands on the command line.",
        )
    return url


@dataclass
class Told:
    """Tells a person how the copy goes on: a bar on a terminal, else a line a store, and one every few seconds."""

    say: Callable[[str], None]
    terminal: bool
    store: str = ""
    carried: int = 0
    place: tuple[int, int] = (0, 0)
    started: float = 0.0
    spoke: float = 0.0
    bar: Progress | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Told:
        if self.terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
            )
            self.bar = self._stack.enter_context(Progress(*columns, TimeElapsedColumn(), transient=True))
            self.bar.add_task("", total=None, rate="")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def begun(self, store: str, number: int, of: int) -> None:
        self.store, self.place, self.carried = store, (number, of), 0
        self.started = self.spoke = time.monotonic()
        self._draw(number - 1)

    def rows(self, carried: int) -> None:
        self.carried += carried
        self._draw(self.place[0] - 1)
        if self.bar is None and time.monotonic() - self.spoke >= LINE_SECONDS:
            self.spoke = time.monotonic()
            self.say(f"{self._where()}: {self._rate()}")

    def ended(self, proved: Proved, *, there_before: bool) -> None:
        how = "was there already" if there_before else self._rate()
        held = sum(proved.rows.values())
        self.say(f"{self._where()}: {how}; {held:,} rows proved, {proved.digest[:16]}")
        self._draw(self.place[0])

    def _where(self) -> str:
        number, of = self.place
        return f"{number} of {of}  {shown(self.store)}"

    def _rate(self) -> str:
        seconds = max(time.monotonic() - self.started, 0.001)
        return f"{self.carried:,} rows, {self.carried / seconds:,.0f} rows/s"

    def _draw(self, done: int) -> None:
        if self.bar is not None:
            task = self.bar.task_ids[0]
            self.bar.update(task, description=shown(self.store), completed=done, total=self.place[1], rate=self._rate())
