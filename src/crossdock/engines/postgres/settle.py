"""What a group of settles makes of the rows that it locked and read. Pure: `lanes.py` reads before and writes after.

A call is taken whole or leaves nothing behind; the calls beside it are not harmed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from crossdock.engines.postgres.rows import LaneRow, Row, held_row, moved_row, place
from crossdock.engines.rows import attempt_row
from crossdock.journal.books import check_books, stale, still_ahead
from crossdock.model.attempt import Attempt
from crossdock.model.errors import Bug
from crossdock.model.ids import START, LaneId, Position, StoreId
from crossdock.model.lane import Gate, Held, HeldState, LaneChange

Call = Sequence[LaneChange]
NamedHeld = tuple[LaneId, Position]


@dataclass(frozen=True, slots=True)
class Found:
    """What the database knew while the group held the lanes. `slots` has the epochs of the slots that fences name,
    `held` the states of held rows that changes name. A store without a journal has no row in `journals`."""

    slots: Mapping[int, int]
    lanes: Mapping[LaneId, LaneRow]
    journals: Mapping[StoreId, tuple[Position, Gate]]
    held: Mapping[NamedHeld, HeldState]

    def barred(self, change: LaneChange) -> bool:
        """Whether the lane's slot has gone to another owner, or its store lets nothing settle."""
        if change.fence is not None and self.slots.get(change.fence.slot) != change.fence.epoch:
            return True
        return self.journal(change.lane.store)[1] is Gate.SHUT

    def journal(self, store: StoreId) -> tuple[Position, Gate]:
        return self.journals.get(store, (START, Gate.OPEN))


@dataclass(slots=True)
class Sheet:
    """One lane as the group moves it on: its row, which of the named positions are held now, what becomes of held rows
    (None: released), and the attempts to be added."""

    row: LaneRow
    standing: dict[Position, HeldState]
    held: dict[Position, Held | None] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)

    def copy(self) -> Sheet:
        return Sheet(self.row, dict(self.standing), dict(self.held), list(self.attempts))

    def post(self, change: LaneChange, head: Position) -> None:
        """Bug (CD5001) if the books of the change do not balance."""
        check_books(change, self.standing, head)
        unresolved = self.row.unresolved
        for position in change.release:
            unresolved -= self.standing.pop(position) is not HeldState.PARKED
            self.held[position] = None
        for one in change.hold:
            unresolved -= self.standing.get(one.position, HeldState.PARKED) is not HeldState.PARKED
            unresolved += one.state is not HeldState.PARKED
            self.standing[one.position] = one.state
            self.held[one.position] = one
        self.attempts += change.attempts
        lane = self.row.lane
        self.row = replace(
            self.row,
            lane=replace(
                lane,
                cursor=change.cursor_to,
                counts=lane.counts.plus(change.counts),
                skips=still_ahead(lane.skips, change.cursor_to),
            ),
            attempts=self.row.attempts + len(change.attempts),
            unresolved=unresolved,
        )


class Settling:
    """Takes calls one after another; what they leave are the rows to write."""

    def __init__(self, found: Found) -> None:
        self._found = found
        self._standing: dict[LaneId, dict[Position, HeldState]] = {}
        for (lane, position), state in found.held.items():
            self._standing.setdefault(lane, {})[position] = state
        self._sheets: dict[LaneId, Sheet] = {}

    def take(self, call: Call) -> list[bool] | Bug:
        """An answer per change, in order; a change sees what those before it did."""
        ours: dict[LaneId, Sheet] = {}
        try:
            answers = [self._one(ours, change) for change in call]
        except Bug as error:
            return error
        self._sheets.update(ours)
        return answers

    def _one(self, ours: dict[LaneId, Sheet], change: LaneChange) -> bool:
        sheet = ours.get(change.lane) or self._copy(change.lane)
        if sheet is None or stale(sheet.row.lane, change) or self._found.barred(change):
            return False
        sheet.post(change, self._found.journal(change.lane.store)[0])
        ours[change.lane] = sheet
        return True

    def _copy(self, lane: LaneId) -> Sheet | None:
        if lane in self._sheets:
            return self._sheets[lane].copy()
        row = self._found.lanes.get(lane)
        return None if row is None else Sheet(row, dict(self._standing.get(lane, {})))

    def released(self) -> list[Row]:
        """The places of the held rows that go."""
        sheets = self._sheets.items()
        return [(*place(lane), at) for lane, sheet in sheets for at, one in sheet.held.items() if one is None]

    def writes(self) -> Iterator[tuple[str, list[Row]]]:
        """The rows of each statement that takes arrays, by its name, in the order in which they are to be written."""
        sheets = self._sheets.items()
        yield "put_held", [held_row(lane, one) for lane, sheet in sheets for one in sheet.held.values() if one]
        yield "add_attempts", [row for lane, sheet in sheets for row in attempt_rows(lane, sheet)]
        yield "move_lanes", [moved_row(sheet.row) for _, sheet in sheets]


def attempt_rows(lane: LaneId, sheet: Sheet) -> list[Row]:
    """The lane's attempts are numbered on: the row's own count is that of the last."""
    first = sheet.row.attempts - len(sheet.attempts) + 1
    return [attempt_row(lane, number, attempt) for number, attempt in enumerate(sheet.attempts, first)]


def named_held(call: Call, lanes: Mapping[LaneId, LaneRow]) -> Iterator[NamedHeld]:
    """The positions of a call whose held rows matter: none lies after its lane's cursor."""
    for change in call:
        row = lanes.get(change.lane)
        if row is not None:
            for position in (*change.release, *(one.position for one in change.hold)):
                if position <= row.lane.cursor:
                    yield change.lane, position
