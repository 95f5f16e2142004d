"""The in-memory reference of the journal and the lanes: what an engine must do, in the fewest words.

Everything happens between two awaits, and a change is made on copies that replace the rows at its end: so it happens
whole or not at all. It keeps nothing across a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile

from crossdock.journal.books import (
    check_books,
    due_at,
    moving,
    reach,
    replayed_held,
    replayed_resolved,
    skips_when_opened,
    stale,
    still_ahead,
)
from crossdock.journal.port import ConflictRecord, LaneRead, LaneWish, Moved
from crossdock.journal.slots import slot_of
from crossdock.model.attempt import Attempt
from crossdock.model.contract import Queued
from crossdock.model.entry import Appended, Conflicting, Draft, Duplicate, Entry, Kept, OtherKey
from crossdock.model.ids import START, EventId, Instant, LaneId, Position, StoreId
from crossdock.model.lane import Counts, Fence, Gate, Held, HeldState, Lane, LaneChange, Ledger, ledger_of


@dataclass(frozen=True, slots=True)
class LaneRow:
    """A lane with its held rows by position. `closed_head` is where the journal ended when it was last closed."""

    lane: Lane
    held: Mapping[Position, Held]
    closed_head: Position = START

    def unresolved(self) -> tuple[Held, ...]:
        return tuple(
            self.held[position] for position in sorted(self.held) if self.held[position].state is not HeldState.PARKED
        )


LaneRows = dict[LaneId, LaneRow]


@dataclass(slots=True)
class MemoryState:
    """What the journal and the lanes share. `moved` keeps each store's last move by a counter, the latest at the end;
    `gates` those that are not open, `places` the epochs of stores that have moved."""

    entries: dict[StoreId, list[Entry]] = field(default_factory=dict)
    firsts: dict[tuple[StoreId, str, str], tuple[bytes, Entry]] = field(default_factory=dict)
    subject_keys: dict[tuple[StoreId, bytes], bytes] = field(default_factory=dict)
    conflicts: dict[StoreId, list[ConflictRecord]] = field(default_factory=dict)
    lanes: LaneRows = field(default_factory=dict)
    attempts: dict[LaneId, list[Attempt]] = field(default_factory=dict)
    moves: int = 0
    moved: dict[StoreId, int] = field(default_factory=dict)
    gates: dict[StoreId, Gate] = field(default_factory=dict)
    places: dict[StoreId, int] = field(default_factory=dict)

    def move(self, store: StoreId) -> None:
        self.moves += 1
        self.moved.pop(store, None)
        self.moved[store] = self.moves

    def head(self, store: StoreId) -> Position:
        return Position(len(self.entries.get(store, ())))

    def entry(self, store: StoreId, position: Position) -> Entry | None:
        entries = self.entries.get(store, [])
        return entries[position - 1] if 1 <= position <= len(entries) else None

    def with_entries(self, store: StoreId, rows: Sequence[Held]) -> list[tuple[Held, Entry]]:
        return [(row, self.entries[store][row.position - 1]) for row in rows]


class MemoryJournal:
    """`journal.port.Journal` without durability."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state
        self._listeners: list[Callable[[frozenset[StoreId]], None]] = []

    async def append(self, drafts: Sequence[Draft]) -> list[Appended]:
        for draft in drafts:
            if draft.store in self._state.gates:
                raise moving(draft.store)
        answers = [self._append(draft) for draft in drafts]
        self._tell({draft.store for draft, answer in zip(drafts, answers, strict=True) if isinstance(answer, Kept)})
        return answers

    def _tell(self, stores: Collection[StoreId]) -> None:
        for store in sorted(stores):
            self._state.move(store)
        if stores:
            for listener in self._listeners:
                listener(frozenset(stores))

    def _append(self, draft: Draft) -> Appended:
        state = self._state
        place = (draft.store, draft.origin, draft.dedupe_key)
        if place in state.firsts:
            fingerprint, first = state.firsts[place]
            if fingerprint == draft.fingerprint:
                return Duplicate(first.position, first.event_id, first.correlation_id)
            record = ConflictRecord(draft.store, draft.origin, first.position, first.event_id, draft.received_at)
            state.conflicts.setdefault(draft.store, []).append(record)
            return Conflicting(first.position, first.event_id)
        if draft.subject_ref is not None and draft.subject_key is not None:
            standing = state.subject_keys.setdefault((draft.store, draft.subject_ref), draft.subject_key)
            if standing != draft.subject_key:
                return OtherKey(standing)
        entry = entry_at(draft, Position(state.head(draft.store) + 1))
        state.entries.setdefault(draft.store, []).append(entry)
        state.firsts[place] = (draft.fingerprint, entry)
        return Kept(entry.position)

    async def read(self, store: StoreId, after: Position, limit: int) -> list[Entry]:
        return self._state.entries.get(store, [])[max(after, 0) : max(after, 0) + limit]

    async def entry(self, store: StoreId, position: Position) -> Entry | None:
        return self._state.entry(store, position)

    async def find(self, store: StoreId, event_id: EventId) -> list[Entry]:
        return [entry for entry in self._state.entries.get(store, []) if entry.event_id == event_id]

    async def head(self, store: StoreId) -> Position:
        return self._state.head(store)

    async def moved(self, mark: int | None) -> Moved:
        state = self._state
        if mark is None:
            return Moved({}, state.moves, whole=False)
        since = takewhile(lambda store: state.moved[store] > mark, reversed(state.moved))
        return Moved({store: state.head(store) for store in since}, state.moves, whole=True)

    async def gate(self, store: StoreId, state: Gate, epoch: int | None = None) -> None:
        self._state.gates.pop(store, None)
        if epoch is not None:
            self._state.places[store] = epoch
        if state is Gate.OPEN:
            self._tell((store,))
        else:
            self._state.gates[store] = state

    def known_subject_key(self, store: StoreId, ref: bytes) -> bytes | None:
        return self._state.subject_keys.get((store, ref))

    async def subject_key(self, store: StoreId, ref: bytes) -> bytes | None:
        return self._state.subject_keys.get((store, ref))

    async def conflicts(self, store: StoreId, limit: int) -> list[ConflictRecord]:
        return self._state.conflicts.get(store, [])[::-1][:limit]

    def on_news(self, listener: Callable[[frozenset[StoreId]], None]) -> None:
        self._listeners.append(listener)


def entry_at(draft: Draft, position: Position) -> Entry:
    """The draft at its place."""
    return Entry(
        store=draft.store,
        position=position,
        origin=draft.origin,
        event_id=draft.event_id,
        type=draft.type,
        schema_major=draft.schema_major,
        source=draft.source,
        occurred_at=draft.occurred_at,
        received_at=draft.received_at,
        correlation_id=draft.correlation_id,
        body=draft.body,
        personal=draft.personal,
        subject_ref=draft.subject_ref,
        traceparent=draft.traceparent,
        caused_by=draft.caused_by,
        hops=draft.hops,
    )


class MemoryLanes:
    """`journal.port.Lanes` without durability. `opened` and its neighbours are what the registry writes through: they
    change the `rows` that they are given, so that the caller decides when they count."""

    def __init__(self, state: MemoryState, stands: Callable[[Fence], bool]) -> None:
        """`stands` says whether a fence's slot still has its epoch."""
        self._state = state
        self._stands = stands

    async def open_lanes(self, stores: Collection[StoreId] | None = None) -> list[Lane]:
        rows = [row for lane, row in self._state.lanes.items() if stores is None or lane.store in stores]
        return sorted((row.lane for row in rows if row.lane.open), key=lambda lane: lane.id)

    async def stirring(self, slots: Collection[int]) -> list[LaneId]:
        return [
            lane
            for lane, row in self._state.lanes.items()
            if self._stirs(row) and slot_of(lane.store, lane.connection) in slots
        ]

    def _stirs(self, row: LaneRow) -> bool:
        ahead = row.lane.cursor < self._state.head(row.lane.id.store)
        return row.lane.open and (ahead or bool(row.unresolved()))

    async def lane(self, lane: LaneId) -> Lane | None:
        row = self._state.lanes.get(lane)
        return row.lane if row else None

    async def read(self, wishes: Sequence[LaneWish], now: Instant) -> list[LaneRead]:
        return [
            self._read(self._state.lanes[wish.lane], wish, now)
            for wish in wishes
            if wish.lane in self._state.lanes and wish.lane.store not in self._state.gates
        ]

    def _read(self, row: LaneRow, wish: LaneWish, now: Instant) -> LaneRead:
        store, cursor, held = wish.lane.store, row.lane.cursor, row.unresolved()
        return LaneRead(
            lane=row.lane,
            held=held,
            due=tuple(self._state.with_entries(store, due_at(held, now))),
            window=tuple(self._state.entries.get(store, [])[cursor : cursor + wish.window]),
            head=self._state.head(store),
        )

    async def settle(self, changes: Sequence[LaneChange]) -> list[bool]:
        rows, attempts, answers = dict(self._state.lanes), list[tuple[LaneId, Attempt]](), list[bool]()
        for change in changes:
            row = rows.get(change.lane)
            if row is None or stale(row.lane, change) or self._barred(change):
                answers.append(False)
                continue
            rows[change.lane] = settled(row, change, self._state.head(change.lane.store))
            attempts += [(change.lane, attempt) for attempt in change.attempts]
            answers.append(True)
        self._state.lanes = rows
        for lane, attempt in attempts:
            self._state.attempts.setdefault(lane, []).append(attempt)
        return answers

    def _barred(self, change: LaneChange) -> bool:
        shut = self._state.gates.get(change.lane.store) is Gate.SHUT
        return shut or (change.fence is not None and not self._stands(change.fence))

    async def ledgers(self, store: StoreId | None = None) -> list[Ledger]:
        return [
            self._ledger(row) for lane, row in sorted(self._state.lanes.items()) if store is None or lane.store == store
        ]

    def _ledger(self, row: LaneRow) -> Ledger:
        waiting = len(row.unresolved())
        head = reach(row.lane, row.closed_head, self._state.head(row.lane.id.store))
        return ledger_of(row.lane, head=head, retrying_or_waiting=waiting, parked=len(row.held) - waiting)

    async def held(
        self, lane: LaneId, state: HeldState | None, after: Position, limit: int
    ) -> list[tuple[Held, Entry]]:
        row = self._state.lanes.get(lane)
        found = [
            held
            for position, held in sorted(row.held.items() if row else ())
            if position > after and (state is None or held.state is state)
        ]
        return self._state.with_entries(lane.store, found[:limit])

    async def attempts(self, lane: LaneId, limit: int, position: Position | None = None) -> list[Attempt]:
        found = self._state.attempts.get(lane, [])[::-1]
        return [attempt for attempt in found if position is None or attempt.position == position][:limit]

    def opened(self, rows: LaneRows, lane: LaneId) -> None:
        row, head = rows.get(lane), self._state.head(lane.store)
        if row is None:
            rows[lane] = LaneRow(Lane(lane, start=head, cursor=head, open=True), {})
        elif not row.lane.open:
            skips = skips_when_opened(row.lane, row.closed_head, head)
            rows[lane] = replace(row, lane=replace(row.lane, open=True, skips=skips))

    def closed(self, rows: LaneRows, lane: LaneId, queued: Queued) -> None:
        row, head = rows.get(lane), self._state.head(lane.store)
        if row is None or not row.lane.open:
            return
        row = LaneRow(replace(row.lane, open=False), row.held, closed_head=head)
        rows[lane] = discarded(row, head) if queued is Queued.DISCARD else row

    def replayed_held(self, row: LaneRow, positions: Sequence[Position], not_before: Instant) -> LaneRow:
        held = dict(row.held)
        for position in positions:
            if position in held and held[position].state is HeldState.PARKED:
                held[position] = replayed_held(held[position], not_before)
        return replace(row, held=held)

    def replayed_resolved(
        self, row: LaneRow, keys: Mapping[Position, str], not_before: Instant, now: Instant
    ) -> LaneRow:
        new = {
            position: replayed_resolved(position, key, not_before, now)
            for position, key in keys.items()
            if START < position <= row.lane.cursor and position not in row.held
        }
        lane = replace(row.lane, replayed=row.lane.replayed + len(new))
        return replace(row, lane=lane, held={**row.held, **new})


def settled(row: LaneRow, change: LaneChange, head: Position) -> LaneRow:
    """The lane after a change that is not stale; Bug (CD5001) if its books do not balance."""
    check_books(change, row.held, head)
    held = {position: one for position, one in row.held.items() if position not in change.release}
    held.update({one.position: one for one in change.hold})
    lane = replace(
        row.lane,
        cursor=change.cursor_to,
        counts=row.lane.counts.plus(change.counts),
        skips=still_ahead(row.lane.skips, change.cursor_to),
    )
    return replace(row, lane=lane, held=held)


def discarded(row: LaneRow, head: Position) -> LaneRow:
    """The lane with its queue expired. The epoch moves, so that a turn under way settles nothing any more."""
    parked = {position: one for position, one in row.held.items() if one.state is HeldState.PARKED}
    gone = Counts(expired=head - row.lane.cursor + len(row.held) - len(parked))
    lane = replace(row.lane, cursor=head, counts=row.lane.counts.plus(gone), skips=(), epoch=row.lane.epoch + 1)
    return replace(row, lane=lane, held=parked)
