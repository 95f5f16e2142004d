"""An embedded engine is open again after its process has ended: what is there, held against what was answered.

What was answered is there, and nothing is there that nobody asked for. What had been asked for and not answered is
there whole or not at all; the world's books learn which."""

from __future__ import annotations

from collections.abc import Sequence

from crossdock.model.entry import Kept
from crossdock.model.ids import START, Instant, LaneId, Position
from crossdock.model.lane import HeldState, LaneChange
from crossdock.stores.port import Engine
from crossdock.testing.world.asked import Asked
from crossdock.testing.world.books import Books
from crossdock.testing.world.facts import LaneBook
from crossdock.testing.world.process import Process

ALL = 1_000_000

Standing = tuple[Position, dict[Position, tuple[HeldState, Instant]]]
"""A lane's cursor and what it holds."""


async def reopened(books: Books, process: Process, engine: Engine) -> None:
    """Brings the books to what `engine` has, or says what it has lost, invented, or done by half."""
    asked, books.asked = books.asked, []
    await _journal(books, engine, asked)
    await _changes(books, engine, asked)
    for one in asked:
        for change in one.settles:
            await _settle(books, engine, one.process, change)
    for lane, book in books.lanes.items():
        there = await _there(engine, lane)
        if there != _known(book):
            books.broken(f"{process} finds {lane} at {there}, and it was answered as {_known(book)}")
    books.coverage.saw("reopened", "something unanswered" if asked else "nothing unanswered")


async def _journal(books: Books, engine: Engine, asked: Sequence[Asked]) -> None:
    waiting = {(draft.store, draft.event_id): (one, draft) for one in asked for draft in one.drafts}
    stores = {lane.store for lane in books.lanes}
    for store in sorted(stores):
        known = books.facts.get(store, {})
        entries = await engine.journal.read(store, START, ALL)
        there = {entry.position: entry for entry in entries}
        lost = [fact.number for position, fact in known.items() if position not in there]
        if lost or sorted(there) != list(range(1, len(there) + 1)):
            books.broken(f"{store} has lost the events {lost}; it has the positions {sorted(there)}")
        for position, entry in sorted(there.items()):
            if position in known:
                if entry.event_id != known[position].event_id:
                    books.broken(f"{store} has {entry.event_id} at {position}, and kept another event there")
                continue
            found = waiting.get((store, entry.event_id))
            if found is None:
                books.broken(f"{store} has an event at {position} that nobody has sent")
                continue
            books.coverage.saw("reopened", "an unanswered event is there")
            await books.appended(found[0].process, [found[1]], [Kept(position)])


async def _changes(books: Books, engine: Engine, asked: Sequence[Asked]) -> None:
    log = await engine.registry.audit(None, 0, ALL)
    if len(log) < books.audited:
        books.broken(f"The log has {len(log)} entries, and had {books.audited}")
    new = {(one.correlation_id, one.action, one.object) for one in log[books.audited :]}
    for one in asked:
        if one.change is None:
            continue
        named = {(entry.correlation_id, entry.action, entry.object) for entry in one.change.audit}
        if named <= new:
            books.coverage.saw("reopened", "an unanswered change is there")
            await books.committed(one.process, one.change)
        elif named & new:
            books.broken(f"A change stands by half: {sorted(named & new)} of {sorted(named)}")
    if len(log) != books.audited:
        books.broken(f"The log has {len(log)} entries, and {books.audited} were written")


async def _settle(books: Books, engine: Engine, process: Process, change: LaneChange) -> None:
    book = books.lanes[change.lane]
    before, there = _known(book), await _there(engine, change.lane)
    if change.cursor_from == before[0] and there == _after(before, change) != before:
        books.coverage.saw("reopened", "an unanswered settle is there")
        await books.settled(process, change, True)


def _known(book: LaneBook) -> Standing:
    return book.cursor, {position: (row.state, row.not_before) for position, row in book.rows.items()}


def _after(before: Standing, change: LaneChange) -> Standing:
    rows = {position: row for position, row in before[1].items() if position not in change.release}
    return change.cursor_to, rows | {row.position: (row.state, row.not_before) for row in change.hold}


async def _there(engine: Engine, lane: LaneId) -> Standing | None:
    row = await engine.lanes.lane(lane)
    if row is None:
        return None
    held = await engine.lanes.held(lane, None, START, ALL)
    return row.cursor, {one.position: (one.state, one.not_before) for one, _ in held}
