"""The lanes on SQLite: `journal.port.Lanes`."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import apsw

from crossdock.engines.rows import attempt_of, attempt_row
from crossdock.engines.sqlite.journal import entries_after, entry_at, head_and_gate
from crossdock.engines.sqlite.readers import Readers
from crossdock.engines.sqlite.statements import Row, query, write_many
from crossdock.engines.sqlite.writer import Writer
from crossdock.journal.books import check_books, due_at, reach, stale, still_ahead
from crossdock.journal.port import LaneRead, LaneWish
from crossdock.journal.slots import slot_of
from crossdock.model.attempt import Attempt
from crossdock.model.entry import Entry
from crossdock.model.ids import Instant, LaneId, Position, StoreId
from crossdock.model.lane import Counts, Gate, Held, HeldState, Lane, LaneChange, Ledger, Skip, ledger_of


@dataclass(frozen=True, slots=True)
class LaneRow:
    """A lane with what only the engine needs of it."""

    lane: Lane
    closed_head: Position
    attempts: int


class SqliteLanes:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def open_lanes(self, stores: Collection[StoreId] | None = None) -> list[Lane]:
        def work(connection: apsw.Connection) -> list[Lane]:
            if stores is None:
                rows = connection.execute(query("open_lanes"))
            else:
                rows = connection.execute(query("open_lanes_of"), (json.dumps(list(stores)),))
            return [lane_of(row).lane for row in rows]

        return await self._readers.read(work)

    async def stirring(self, slots: Collection[int]) -> list[LaneId]:
        def work(connection: apsw.Connection) -> list[LaneId]:
            lanes = (LaneId(*row) for row in connection.execute(query("stirring")))
            return [lane for lane in lanes if slot_of(lane.store, lane.connection) in slots]

        return await self._readers.read(work)

    async def lane(self, lane: LaneId) -> Lane | None:
        row = await self._readers.read(lambda connection: find_lane(connection, lane))
        return row.lane if row else None

    async def read(self, wishes: Sequence[LaneWish], now: Instant) -> list[LaneRead]:
        def work(connection: apsw.Connection) -> list[LaneRead]:
            reads = (read_lane(connection, wish, now) for wish in wishes)
            return [one for one in reads if one is not None]

        return await self._readers.read(work)

    async def settle(self, changes: Sequence[LaneChange]) -> list[bool]:
        answers: list[bool] = await self._writer.do(lambda connection: settle_all(connection, changes))
        return answers

    async def ledgers(self, store: StoreId | None = None) -> list[Ledger]:
        def work(connection: apsw.Connection) -> list[Ledger]:
            return [ledger_from(row) for row in connection.execute(query("lanes_with_held"), (store,))]

        return await self._readers.read(work)

    async def held(
        self, lane: LaneId, state: HeldState | None, after: Position, limit: int
    ) -> list[tuple[Held, Entry]]:
        def work(connection: apsw.Connection) -> list[tuple[Held, Entry]]:
            rows = connection.execute(query("held_after"), (*place(lane), after, state, limit))
            return with_entries(connection, lane.store, [held_of(row) for row in rows])

        return await self._readers.read(work)

    async def attempts(self, lane: LaneId, limit: int, position: Position | None = None) -> list[Attempt]:
        def work(connection: apsw.Connection) -> list[Attempt]:
            if position is None:
                rows = connection.execute(query("attempts"), (*place(lane), limit))
            else:
                rows = connection.execute(query("attempts_at"), (*place(lane), position, limit))
            return [attempt_of(row) for row in rows]

        return await self._readers.read(work)


def place(lane: LaneId) -> tuple[str, str, str]:
    return (lane.store, lane.connection, lane.route)


def find_lane(connection: apsw.Connection, lane: LaneId) -> LaneRow | None:
    for row in connection.execute(query("lane"), place(lane)):
        return lane_of(row)
    return None


def put_lane(connection: apsw.Connection, row: LaneRow) -> None:
    lane, counts = row.lane, row.lane.counts
    sums = (counts.delivered, counts.superseded, counts.filtered, counts.expired, counts.erased)
    skips = json.dumps([[skip.after, skip.to] for skip in lane.skips])
    connection.execute(
        query("put_lane"),
        (
            *(*place(lane.id), lane.start, lane.cursor, int(lane.open), *sums, lane.replayed, skips, lane.epoch),
            *(row.closed_head, row.attempts),
        ),
    )


def put_held(connection: apsw.Connection, lane: LaneId, rows: Iterable[Held]) -> None:
    values: list[Row] = [
        (
            *(*place(lane), one.position, one.state, one.not_before, one.attempts, one.key, one.reason),
            *(one.held_at, int(one.replay)),
        )
        for one in rows
    ]
    write_many(connection, "put_held", values)


def find_held(connection: apsw.Connection, lane: LaneId, positions: Iterable[Position]) -> dict[Position, Held]:
    """Those of the positions that are held."""
    found: dict[Position, Held] = {}
    for position in positions:
        for row in connection.execute(query("held_at"), (*place(lane), position)):
            found[position] = held_of(row)
    return found


def read_lane(connection: apsw.Connection, wish: LaneWish, now: Instant) -> LaneRead | None:
    row, store = find_lane(connection, wish.lane), wish.lane.store
    head, gate = head_and_gate(connection, store)
    if row is None or gate is not Gate.OPEN:
        return None
    held = tuple(held_of(one) for one in connection.execute(query("unresolved"), place(wish.lane)))
    return LaneRead(
        lane=row.lane,
        held=held,
        due=tuple(with_entries(connection, store, due_at(held, now))),
        window=tuple(entries_after(connection, store, row.lane.cursor, wish.window)) if wish.window else (),
        head=head,
    )


def settle_all(connection: apsw.Connection, changes: Sequence[LaneChange]) -> list[bool]:
    """Inside the writer's transaction. Bug (CD5001) undoes the whole call."""
    return [settle_one(connection, change) for change in changes]


def settle_one(connection: apsw.Connection, change: LaneChange) -> bool:
    row = find_lane(connection, change.lane)
    head, gate = head_and_gate(connection, change.lane.store)
    if row is None or stale(row.lane, change) or gate is Gate.SHUT:
        return False
    named = {one.position for one in change.hold} | set(change.release)
    standing = find_held(connection, change.lane, (one for one in named if one <= change.cursor_from))
    check_books(change, standing, head)
    lane = replace(
        row.lane,
        cursor=change.cursor_to,
        counts=row.lane.counts.plus(change.counts),
        skips=still_ahead(row.lane.skips, change.cursor_to),
    )
    for position in change.release:
        connection.execute(query("release"), (*place(change.lane), position))
    put_held(connection, change.lane, change.hold)
    attempts = [
        attempt_row(change.lane, row.attempts + number, attempt) for number, attempt in enumerate(change.attempts, 1)
    ]
    write_many(connection, "add_attempts", attempts)
    put_lane(connection, replace(row, lane=lane, attempts=row.attempts + len(attempts)))
    return True


def with_entries(connection: apsw.Connection, store: StoreId, rows: Sequence[Held]) -> list[tuple[Held, Entry]]:
    pairs = ((row, entry_at(connection, store, row.position)) for row in rows)
    return [(row, entry) for row, entry in pairs if entry is not None]


def lane_of(row: tuple[Any, ...]) -> LaneRow:
    skips = tuple(Skip(Position(after), Position(to)) for after, to in json.loads(row[12]))
    lane = Lane(
        id=LaneId(*row[0:3]),
        start=row[3],
        cursor=row[4],
        open=bool(row[5]),
        counts=Counts(*row[6:11]),
        replayed=row[11],
        skips=skips,
        epoch=row[13],
    )
    return LaneRow(lane, closed_head=row[14], attempts=row[15])


def ledger_from(row: tuple[Any, ...]) -> Ledger:
    head, waiting, parked = row[16:19]
    found = lane_of(row)
    end = reach(found.lane, found.closed_head, head)
    return ledger_of(found.lane, head=end, retrying_or_waiting=waiting, parked=parked)


def held_of(row: tuple[Any, ...]) -> Held:
    position, state, not_before, attempts, key, reason, held_at, replay = row
    return Held(position, HeldState(state), not_before, attempts, key, reason, held_at, bool(replay))
