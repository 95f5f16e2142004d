"""`crossdock store move` and `place`, and the directory of cells: without a server, over the settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated

import typer

from crossdock.cli.seat import Seat
from crossdock.cli.show import Shown, details, lines
from crossdock.engines.cells.directory import Directory, lay
from crossdock.engines.postgres.migrate import login_of
from crossdock.freight.ends import Cells
from crossdock.freight.moving import Moving
from crossdock.freight.standing import GRACE_SECONDS
from crossdock.model.connection import AuditEntry
from crossdock.model.errors import Invalid, Unavailable
from crossdock.model.ids import Position, StoreId
from crossdock.model.lane import Gate
from crossdock.settings import Settings, read_settings
from crossdock.stores.store_desk import arrival
from crossdock.wiring.ground import clock, operator

Store = Annotated[str, typer.Argument(help="The store's id, for example sofia.", metavar="STORE")]
To = Annotated[str, typer.Option("--to", help="The name of the cell, as in CROSSDOCK_CELLS.", metavar="CELL")]
Forget = Annotated[bool, typer.Option("--forget", help="Then delete what the store left in the cells it was in.")]
Grace = Annotated[float, typer.Option("--grace", help="The seconds that deliveries under way get.", min=0, max=300)]


def move(seat: Seat, store: Store, to: To, forget: Forget = False, grace: Grace = GRACE_SECONDS) -> Shown:
    """Move a store to another cell while it is used: it stands still for seconds, and nothing is lost or reordered.

    Killed and run again, it ends the move; run with the cell where the store was, it undoes it.
    """
    id = StoreId(store)

    async def work() -> dict[str, object]:
        async with opened(read_settings(), grace) as moving:
            proved = await moving.run(id, to)
            home = await moving.home(id)
            told: dict[str, object] = {"store": id, "cell": home.cell, "epoch": home.epoch}
            if proved is not None:
                told |= {"head": proved.head, "rows": sum(proved.rows.values()), "digest": proved.digest}
            if forget:
                gone = await moving.forget(id)
                told["forgotten"] = gone.rows
                if gone.silent:
                    told["not forgotten in"] = f"{', '.join(gone.silent)} (no answer; run it again)"
            return told

    return details(asyncio.run(work()))


def place(seat: Seat, store: Store) -> Shown:
    """Show which cell a store is in, and what each cell holds of it."""
    id = StoreId(store)

    async def work() -> dict[str, object]:
        async with opened(read_settings(), 0) as moving:
            home = await moving.home(id)
            told: dict[str, object] = {"store": id, "cell": home.cell, "epoch": home.epoch}
            for name in moving.places.names:
                try:
                    found = await (await moving.places.at(name)).journals(id)
                except Unavailable as error:
                    told[f"in {name}"] = f"it cannot be asked ({error.code})"
                    continue
                if found.present:
                    told[f"in {name}"] = f"{found.gate}, at epoch {found.epoch}, head {found.head}"
            return told

    return details(asyncio.run(work()))


def directory(seat: Seat) -> Shown:
    """Make or update the directory of cells, and note the stores that the cells hold already.

    It speaks as CROSSDOCK_DATABASE_OWNER to the database of CROSSDOCK_DIRECTORY.
    """
    settings, said = read_settings(), list[str]()

    def say(text: str) -> None:
        said.append(text)
        seat.note(text)

    async def work() -> None:
        if not settings.directory_url or settings.postgres_owner_url is None:
            raise unset("CROSSDOCK_DIRECTORY" if not settings.directory_url else "CROSSDOCK_DATABASE_OWNER")
        await lay(settings.postgres_owner_url, login_of(settings.directory_url), say)
        async with opened(settings, 0) as moving:
            silent: list[Unavailable] = []
            for name in moving.places.names:
                try:
                    cell = await moving.places.at(name)
                except Unavailable as error:
                    silent.append(error)
                    continue
                found = [(one, await cell.journals(one)) for one in await cell.stores()]
                rows = [(one, journals.epoch) for one, journals in found if journals.gate is Gate.OPEN]
                say(f"cell {name}: {await moving.directory.adopt(name, rows)} of {len(found)} stores noted")
            if silent:
                # The others are noted; the stores of this one are not known before it was asked too.
                raise silent[0]

    asyncio.run(work())
    return lines({"done": said}, "The directory is up to date.")


@asynccontextmanager
async def opened(settings: Settings, grace_seconds: float) -> AsyncIterator[Moving]:
    """Invalid (CD7033) without cells and a directory."""
    if not settings.cell_urls or not settings.directory_url:
        raise unset("CROSSDOCK_DIRECTORY" if settings.cell_urls else "CROSSDOCK_CELLS")
    async with AsyncExitStack() as stack:
        found = Directory(settings.directory_url)
        await found.open()
        stack.push_async_callback(found.close)
        yield Moving(found, Cells(settings.cell_urls, stack), moved_here, grace_seconds)


def moved_here(store: StoreId, head: Position, digest: str) -> AuditEntry:
    return arrival(clock(), operator(), store, head, digest)


def unset(variable: str) -> Invalid:
    return Invalid("CD7033", "It needs cells and their directory.", where=variable, remedy="See docs/guides/cells.md.")
