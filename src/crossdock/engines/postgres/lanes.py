"""The lanes on PostgreSQL: `journal.port.Lanes`.

Turns ask for one lane each, hundreds at once: what has gathered is read in one snapshot and settled in one transaction,
with as many statements for one lane as for hundreds. A group sees the stores of all its calls; which answer is whose is
told by the rows themselves."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from crossdock.engines.postgres.append import columns
from crossdock.engines.postgres.pool import Pool, Record, Unit
from crossdock.engines.postgres.rows import (
    HELD_COLUMNS,
    LANE_COLUMNS,
    LaneRow,
    held_of,
    lane_of,
    place,
)
from crossdock.engines.postgres.scope import array
from crossdock.engines.postgres.settle import Call, Found, NamedHeld, Settling, named_held
from crossdock.engines.postgres.together import More, Together
from crossdock.engines.rows import attempt_of
from crossdock.journal.books import due_at, reach
from crossdock.journal.port import LaneRead, LaneWish
from crossdock.model.attempt import Attempt
from crossdock.model.entry import Entry
from crossdock.model.errors import CrossdockError
from crossdock.model.ids import Instant, LaneId, Position, StoreId
from crossdock.model.lane import Gate, Held, HeldState, Lane, LaneChange, Ledger, ledger_of
from crossdock.model.limits import LANE_HELD_MAX, PROCESS_IN_FLIGHT_MAX, READ_ENTRIES_MAX, WINDOW_ENTRIES_MAX

LANE_WEIGHT = 32
"""What a lane adds to a group whatever is read or written of it: row security looks each row's store up in the list of
the group's stores, so that groups over hundreds of stores cost more for each (measured: 128 are best)."""
READ_GROUP_WEIGHT_MAX = 64 * (LANE_WEIGHT + WINDOW_ENTRIES_MAX)
"""64 full windows: their rows keep the event loop for some tens of milliseconds."""
READ_PENDING_MAX = 2 * PROCESS_IN_FLIGHT_MAX * (LANE_WEIGHT + READ_ENTRIES_MAX)
"""Every turn that may be under way, and as many pulls of cores, each with the widest window."""
SETTLE_GROUP_WEIGHT_MAX = 128 * LANE_WEIGHT
"""Fourteen turns of a full window each, or 120 of one event: some tens of milliseconds."""
SETTLE_PENDING_MAX = 2 * PROCESS_IN_FLIGHT_MAX * 2 * (READ_ENTRIES_MAX + LANE_HELD_MAX)
"""What every turn that may be under way, and as many pulls, can have learned: it is not turned away."""
ENTRY_COLUMNS = 16
LEDGER_STORES_MAX = 1_000  # the scope of one count of held rows: 64 KiB of store ids


@dataclass(frozen=True, slots=True)
class ReadAsk:
    wishes: Sequence[LaneWish]
    now: Instant


@dataclass(frozen=True, slots=True)
class FoundLane:
    """A lane, and where its store's journal ends."""

    row: LaneRow
    head: Position


EntryPlace = tuple[str, Position]
"""(store, position), or (store, after): entries are told apart by it, whichever call asked for them."""


class PostgresLanes:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._reads: Together[ReadAsk, list[LaneRead]] = Together(
            self._read_group,
            lambda ask: sum(LANE_WEIGHT + wish.window for wish in ask.wishes),
            weight_max=READ_GROUP_WEIGHT_MAX,
            pending_max=READ_PENDING_MAX,
        )
        self._settles: Together[Call, list[bool]] = Together(
            self._settle_group, weight_of, weight_max=SETTLE_GROUP_WEIGHT_MAX, pending_max=SETTLE_PENDING_MAX
        )

    async def close(self) -> None:
        """Settles what waits, and takes no more."""
        await self._settles.close()
        await self._reads.close()

    async def open_lanes(self, stores: Collection[StoreId] | None = None) -> list[Lane]:
        if stores is None:
            async with self._pool.reads_across("lanes") as unit:
                rows = await unit.rows("open_lanes")
        else:
            async with self._pool.reads(stores) as unit:
                rows = await unit.rows("open_lanes_of", list(set(stores)))
        return [lane_of(row).lane for row in rows]

    async def stirring(self, slots: Collection[int]) -> list[LaneId]:
        async with self._pool.reads_across("lanes", "journals") as unit:
            return [LaneId(*row) for row in await unit.rows("stirring", list(slots))]

    async def lane(self, lane: LaneId) -> Lane | None:
        async with self._pool.reads([lane.store]) as unit:
            return next((lane_of(row).lane for row in await unit.rows("lane", *place(lane))), None)

    async def read(self, wishes: Sequence[LaneWish], now: Instant) -> list[LaneRead]:
        return await self._reads.call(ReadAsk(wishes, now)) if wishes else []

    async def settle(self, changes: Sequence[LaneChange]) -> list[bool]:
        return await self._settles.call(changes) if changes else []

    async def ledgers(self, store: StoreId | None = None) -> list[Ledger]:
        if store is not None:
            async with self._pool.reads([store]) as unit:
                lanes = found_lanes(await unit.rows("ledger_lanes_of", store))
                return ledgers_from(lanes, await held_counts(unit, [store]))
        async with self._pool.reads_across("lanes", "journals") as unit:
            lanes = found_lanes(await unit.rows("ledger_lanes"))
            stores = sorted({lane.store for lane in lanes})
            counts: dict[LaneId, tuple[int, int]] = {}
            for start in range(0, len(stores), LEDGER_STORES_MAX):
                portion = stores[start : start + LEDGER_STORES_MAX]
                await unit.rows("see_stores", array(portion))
                counts |= await held_counts(unit, portion)
        return ledgers_from(lanes, counts)

    async def held(
        self, lane: LaneId, state: HeldState | None, after: Position, limit: int
    ) -> list[tuple[Held, Entry]]:
        name = "held_after" if state is None or state is HeldState.PARKED else "unresolved_after"
        async with self._pool.reads([lane.store]) as unit:
            rows = await unit.rows(name, *place(lane), after, state, limit)
        return [(held_of(row[:HELD_COLUMNS]), Entry(*row[HELD_COLUMNS:])) for row in rows]

    async def attempts(self, lane: LaneId, limit: int, position: Position | None = None) -> list[Attempt]:
        async with self._pool.reads([lane.store]) as unit:
            if position is None:
                rows = await unit.rows("attempts", *place(lane), limit)
            else:
                rows = await unit.rows("attempts_at", *place(lane), position, limit)
        return [attempt_of(row) for row in rows]

    async def _read_group(self, asks: Sequence[ReadAsk], _: More[ReadAsk]) -> list[list[LaneRead]]:
        wanted = {wish.lane for ask in asks for wish in ask.wishes}
        async with self._pool.reads(lane.store for lane in wanted) as unit:
            found = found_lanes(await unit.rows("lanes_asked", *places(wanted)))
            held = await read_unresolved(unit, [lane for lane, one in found.items() if one.row.unresolved])
            windows = await read_windows(unit, found, (wish for ask in asks for wish in ask.wishes))
            due = [due_of(ask, held) for ask in asks]
            entries = await read_entries(unit, due)
        return [
            [
                LaneRead(
                    lane=found[wish.lane].row.lane,
                    held=held.get(wish.lane, ()),
                    due=tuple((row, entries[wish.lane.store, row.position]) for row in rows.get(wish.lane, ())),
                    window=windows.get((wish.lane.store, found[wish.lane].row.lane.cursor), ())[: wish.window],
                    head=found[wish.lane].head,
                )
                for wish in ask.wishes
                if wish.lane in found
            ]
            for ask, rows in zip(asks, due, strict=True)
        ]

    async def _settle_group(self, calls: Sequence[Call], _: More[Call]) -> Sequence[list[bool] | BaseException]:
        """One transaction for all calls; one each if something in them cannot be written, so that it fails alone."""
        try:
            return await self._commit(calls)
        except CrossdockError:
            raise
        except Exception as error:  # noqa: BLE001  # what the server would not take of one call's data
            if len(calls) == 1:
                return [error]
            return [await self._settle_alone(call) for call in calls]

    async def _settle_alone(self, call: Call) -> list[bool] | BaseException:
        try:
            return (await self._commit([call]))[0]
        except Exception as error:  # noqa: BLE001  # its caller hears it: what the calls before were told stands
            return error

    async def _commit(self, calls: Sequence[Call]) -> Sequence[list[bool] | BaseException]:
        async with self._pool.writes(change.lane.store for call in calls for change in call) as unit:
            settling = Settling(await find(unit, calls))
            answers = [settling.take(call) for call in calls]
            await write(unit, settling)
        return answers


def weight_of(call: Call) -> int:
    """The rows that a settle may write, and what its lanes cost."""
    return sum(LANE_WEIGHT + len(one.hold) + len(one.release) + len(one.attempts) for one in call)


def places(lanes: Iterable[LaneId]) -> list[tuple[str, ...]]:
    """Lanes as three arrays."""
    return columns((place(lane) for lane in lanes), 3)


def found_lanes(rows: Iterable[Record]) -> dict[LaneId, FoundLane]:
    """From a lane's columns and its journal's head."""
    found = (FoundLane(lane_of(row), row[LANE_COLUMNS]) for row in rows)
    return {one.row.lane.id: one for one in found}


async def read_unresolved(unit: Unit, lanes: Sequence[LaneId]) -> dict[LaneId, tuple[Held, ...]]:
    """The retrying and waiting rows of each lane, by position."""
    if not lanes:
        return {}
    found: dict[LaneId, list[Held]] = {}
    for row in await unit.rows("unresolved", *places(lanes)):
        found.setdefault(LaneId(*row[:3]), []).append(held_of(row[3:]))
    return {lane: tuple(sorted(rows, key=lambda one: one.position)) for lane, rows in found.items()}


async def read_windows(
    unit: Unit, found: Mapping[LaneId, FoundLane], wishes: Iterable[LaneWish]
) -> dict[EntryPlace, tuple[Entry, ...]]:
    """Entries by (store, after), by position. Lanes of one store that stand at one place read the same entries."""
    asked: dict[EntryPlace, int] = {}
    for wish in wishes:
        one = found.get(wish.lane)
        if one is not None and wish.window > 0 and one.row.lane.cursor < one.head:
            at = (wish.lane.store, one.row.lane.cursor)
            asked[at] = max(wish.window, asked.get(at, 0))
    if not asked:
        return {}
    windows: dict[EntryPlace, list[Entry]] = {}
    for row in await unit.rows("windows", *columns(((*at, window) for at, window in asked.items()), 3)):
        entry = Entry(*row[:ENTRY_COLUMNS])
        windows.setdefault((entry.store, row[ENTRY_COLUMNS]), []).append(entry)
    return {at: tuple(sorted(entries, key=lambda one: one.position)) for at, entries in windows.items()}


def due_of(ask: ReadAsk, held: Mapping[LaneId, Sequence[Held]]) -> dict[LaneId, tuple[Held, ...]]:
    """What is due of the call's lanes at the call's own time."""
    lanes = dict.fromkeys(wish.lane for wish in ask.wishes)
    return {lane: due_at(held[lane], ask.now) for lane in lanes if lane in held}


async def read_entries(unit: Unit, due: Iterable[Mapping[LaneId, Sequence[Held]]]) -> dict[EntryPlace, Entry]:
    """The entries of due rows by (store, position)."""
    asked = {(lane.store, row.position) for lanes in due for lane, rows in lanes.items() for row in rows}
    if not asked:
        return {}
    entries = (Entry(*row) for row in await unit.rows("entries_asked", *columns(asked, 2)))
    return {(entry.store, entry.position): entry for entry in entries}


async def find(unit: Unit, calls: Sequence[Call]) -> Found:
    """Locks what the calls lean on, and reads it. First the slots, then the lanes, each in one order; then what is only
    true while the lanes are held, each statement in a snapshot of its own."""
    changes = [change for call in calls for change in call]
    slots = {change.fence.slot for change in changes if change.fence is not None}
    epochs = {row[0]: row[1] for row in await unit.rows("hold_slots", sorted(slots))} if slots else {}
    rows = await unit.rows("lock_lanes", *places({change.lane for change in changes}))
    lanes = {row.lane.id: row for row in map(lane_of, rows)}
    stores = list({lane.store for lane in lanes})
    journals = {row[0]: (row[1], Gate(row[2])) for row in await unit.rows("journals_of", stores)} if stores else {}
    held = await read_named(unit, {one for call in calls for one in named_held(call, lanes)})
    return Found(epochs, lanes, journals, held)


async def read_named(unit: Unit, named: Collection[NamedHeld]) -> dict[NamedHeld, HeldState]:
    if not named:
        return {}
    rows = await unit.rows("held_named", *columns(((*place(lane), position) for lane, position in named), 4))
    return {(LaneId(*row[:3]), row[3]): HeldState(row[4]) for row in rows}


async def write(unit: Unit, settling: Settling) -> None:
    if released := settling.released():
        await unit.each("release_held", released)
    for name, rows in settling.writes():
        if rows:
            await unit.run(name, *columns(rows, 0))


async def held_counts(unit: Unit, stores: Sequence[StoreId]) -> dict[LaneId, tuple[int, int]]:
    """How many held rows are unresolved and how many parked, of each lane that holds any."""
    return {LaneId(*row[:3]): (row[3], row[4]) for row in await unit.rows("held_counts", stores)}


def ledgers_from(lanes: Mapping[LaneId, FoundLane], counts: Mapping[LaneId, tuple[int, int]]) -> list[Ledger]:
    """By lane id."""
    ledgers = []
    for lane, one in sorted(lanes.items()):
        unresolved, parked = counts.get(lane, (0, 0))
        end = reach(one.row.lane, one.row.closed_head, one.head)
        ledgers.append(ledger_of(one.row.lane, head=end, retrying_or_waiting=unresolved, parked=parked))
    return ledgers
