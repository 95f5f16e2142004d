"""A lane's exceptions, the changes a turn makes to it, and the ledger that must close."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from crossdock.model.attempt import Attempt
from crossdock.model.errors import IllegalMove
from crossdock.model.ids import START, Instant, LaneId, Position


class HeldState(StrEnum):
    """Why an entry behind the cursor is not resolved yet."""

    RETRYING = "retrying"
    WAITING = "waiting"
    PARKED = "parked"


class HeldSignal(StrEnum):
    BUSY = "busy"
    BLOCKED = "blocked"
    GIVEN_UP = "given_up"
    REPLAYED = "replayed"


MOVES: dict[tuple[HeldState, HeldSignal], HeldState] = {
    (HeldState.RETRYING, HeldSignal.BUSY): HeldState.RETRYING,
    (HeldState.RETRYING, HeldSignal.BLOCKED): HeldState.WAITING,
    (HeldState.RETRYING, HeldSignal.GIVEN_UP): HeldState.PARKED,
    (HeldState.WAITING, HeldSignal.BUSY): HeldState.RETRYING,
    (HeldState.WAITING, HeldSignal.BLOCKED): HeldState.WAITING,
    (HeldState.WAITING, HeldSignal.GIVEN_UP): HeldState.PARKED,
    (HeldState.PARKED, HeldSignal.REPLAYED): HeldState.RETRYING,
}
"""The one table of a held entry. Whatever is released (delivered, superseded, expired, erased) leaves the table."""


@dataclass(frozen=True, slots=True)
class Held:
    """An entry at or below the cursor that is not resolved. `attempts` counts tries made; `reason` is a code.

    `key` is its ordering key ('' without one). `replay` marks one that a person sent again.
    """

    position: Position
    state: HeldState
    not_before: Instant
    attempts: int
    key: str
    reason: str
    held_at: Instant
    replay: bool = False


def move(held: Held, signal: HeldSignal) -> Held:
    """The held entry after `signal`; IllegalMove (CD4001) where the table has no such move."""
    state = MOVES.get((held.state, signal))
    if state is None:
        raise IllegalMove(
            "CD4001",
            f"A {held.state} entry cannot be {signal.replace('_', ' ')}.",
            where=f"position {held.position}",
        )
    return replace(held, state=state)


@dataclass(frozen=True, slots=True)
class Skip:
    """Positions after `after` up to `to` came while the lane was not open: they are passed over as filtered."""

    after: Position
    to: Position


@dataclass(frozen=True, slots=True)
class Counts:
    """How entries of a lane ended, each with its name. Nothing is dropped."""

    delivered: int = 0
    superseded: int = 0
    filtered: int = 0
    expired: int = 0
    erased: int = 0

    @property
    def total(self) -> int:
        return self.delivered + self.superseded + self.filtered + self.expired + self.erased

    def plus(self, other: Counts) -> Counts:
        return Counts(
            self.delivered + other.delivered,
            self.superseded + other.superseded,
            self.filtered + other.filtered,
            self.expired + other.expired,
            self.erased + other.erased,
        )


@dataclass(frozen=True, slots=True)
class Lane:
    """A lane as the engine keeps it. `start` is the journal's head when it was first opened: what came before is
    not its business. `replayed` counts entries that were taken up again after they had been resolved."""

    id: LaneId
    start: Position
    cursor: Position
    open: bool
    counts: Counts = Counts()
    replayed: int = 0
    skips: tuple[Skip, ...] = ()
    epoch: int = 0


class Gate(StrEnum):
    """What a store's journal takes while the store moves to another place. CLOSING takes no entries and starts no
    turns, and lets those under way settle; SHUT lets nothing settle either."""

    OPEN = "open"
    CLOSING = "closing"
    SHUT = "shut"


@dataclass(frozen=True, slots=True)
class Fence:
    """The lease under which a change was made: the lane's slot, and the epoch at which its owner took it."""

    slot: int
    epoch: int


@dataclass(frozen=True, slots=True)
class LaneChange:
    """What one turn did to a lane, settled whole or not at all.

    The books of a change balance, or the engine raises Bug (CD5001):
    `counts.total + new holds == (cursor_to - cursor_from) + len(release)`, where a hold is new if its position was not
    held before. `hold` also replaces rows held before. A `cursor_from` or `epoch` that is not the lane's is stale:
    nothing changes and the settle answers False. So is a `fence` whose slot has another epoch now; without one, whoever
    settles needs no lease (a pull of the core's).
    """

    lane: LaneId
    epoch: int
    cursor_from: Position
    cursor_to: Position
    counts: Counts
    hold: tuple[Held, ...] = ()
    release: tuple[Position, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    fence: Fence | None = None


@dataclass(frozen=True, slots=True)
class Ledger:
    """accepted + replayed = delivered + waiting + parked + superseded + filtered + expired + erased, at any moment.

    `waiting` is what lies after the cursor plus what is held as retrying or waiting."""

    lane: LaneId
    accepted: int
    replayed: int
    waiting: int
    parked: int
    counts: Counts

    @property
    def gap(self) -> int:
        """0 when the ledger closes; otherwise what is missing (above 0) or counted twice (below)."""
        return self.accepted + self.replayed - self.waiting - self.parked - self.counts.total

    @property
    def closes(self) -> bool:
        return self.gap == 0 and min(self.accepted, self.waiting, self.parked) >= 0


def ledger_of(lane: Lane, *, head: Position, retrying_or_waiting: int, parked: int) -> Ledger:
    """The ledger from a lane's row, its held rows and its store's journal head (START without an entry)."""
    reach = max(head, START)
    return Ledger(
        lane=lane.id,
        accepted=reach - lane.start,
        replayed=lane.replayed,
        waiting=reach - lane.cursor + retrying_or_waiting,
        parked=parked,
        counts=lane.counts,
    )
