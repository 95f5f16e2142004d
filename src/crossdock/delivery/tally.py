"""What a turn did, as one lane change whose books balance. Pure.

`tally` can be asked at any moment, also when a turn was cut short: what has an outcome is settled, what has none stays
where it was, or, when something behind it was already tried, is held to be tried next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

from crossdock.delivery.schedule import (
    Action,
    Filter,
    Hold,
    LetErased,
    LetExpire,
    Plan,
    Send,
    SetAside,
    Supersede,
)
from crossdock.model.attempt import Answer, AnswerKind, Attempt, Decision, Expire, Park, ParkReason, Retry, Settle
from crossdock.model.entry import Entry
from crossdock.model.ids import Instant, Position
from crossdock.model.lane import Counts, Held, HeldSignal, HeldState, Lane, LaneChange, move

REASON_BEHIND_KEY = "behind_key"
REASON_CUT_SHORT = "cut_short"


@dataclass(frozen=True, slots=True)
class Erased:
    """The route needed what was erased with its person."""


Outcome = Decision | Erased


@dataclass(frozen=True, slots=True)
class Tried:
    """How the try of one entry ended."""

    outcome: Outcome
    attempt: int
    first_at: Instant


@dataclass(frozen=True, slots=True)
class Told:
    """What goes on record: the tries, and of `entries` each that ends without one (`ends_unsent`)."""

    attempts: tuple[Attempt, ...] = ()
    entries: Mapping[Position, Entry] = field(default_factory=dict)


def tally(
    lane: Lane,
    plan: Plan,
    held: Mapping[Position, Held],
    tried: Mapping[Position, Tried],
    told: Told,
    now: Instant,
) -> LaneChange:
    """The change. `held` are the rows that the plan was made from, by position."""
    books = _Books(held, tried, now)
    for action in plan.held:
        books.close_held(action)
    passed = _passed(plan, tried)
    for action in passed:
        books.close_new(action)
    closed = [one for one in (*plan.held, *passed) if isinstance(one, Unsent) and one.position in told.entries]
    return LaneChange(
        lane=lane.id,
        epoch=lane.epoch,
        cursor_from=lane.cursor,
        cursor_to=passed[-1].position if passed else lane.cursor,
        counts=Counts(**books.counts),
        hold=tuple(books.hold),
        release=tuple(books.release),
        attempts=told.attempts + tuple(_record(one, held, told.entries[one.position], now) for one in closed),
    )


Unsent = Supersede | LetExpire | LetErased


def ends_unsent(plan: Plan) -> tuple[Unsent, ...]:
    """What the plan ends without a call, and a person may look for: not what the route never wanted."""
    return tuple(action for action in (*plan.held, *plan.window) if isinstance(action, Unsent))


def _record(action: Unsent, held: Mapping[Position, Held], entry: Entry, now: Instant) -> Attempt:
    row, end = held.get(action.position), _ending(action)
    return Attempt(
        position=action.position,
        event_id=entry.event_id,
        number=row.attempts if row is not None else 0,
        at=now,
        answer=Answer(AnswerKind.UNSENT, end, 0),
        next=f"{end} by {action.by}" if isinstance(action, Supersede) else end,
        correlation_id=entry.correlation_id,
    )


def empty(change: LaneChange) -> bool:
    """Whether the change changes nothing."""
    return change.cursor_to == change.cursor_from and not (change.hold or change.release or change.attempts)


def _passed(plan: Plan, tried: Mapping[Position, Tried]) -> tuple[Action, ...]:
    """The window's actions that the cursor passes: up to the last one tried, and on to the first one not tried."""
    reach = max((at for at, action in enumerate(plan.window) if action.position in tried), default=-1)
    for at in range(reach + 1, len(plan.window)):
        if isinstance(plan.window[at], Send):
            break
        reach = at
    return plan.window[: reach + 1]


@dataclass(slots=True)
class _Books:
    held: Mapping[Position, Held]
    tried: Mapping[Position, Tried]
    now: Instant
    counts: dict[str, int] = field(default_factory=dict)
    hold: list[Held] = field(default_factory=list)
    release: list[Position] = field(default_factory=list)
    unresolved: set[str] = field(default_factory=set)

    def close_held(self, action: Action) -> None:
        row = self.held[action.position]
        match action:
            case Send():
                tried = self.tried.get(action.position)
                if tried is not None:
                    self._close_tried(row, tried, new=False)
                elif row.key:
                    self.unresolved.add(row.key)
            case Hold():
                self.hold.append(_waiting(move(row, HeldSignal.BLOCKED)))
            case SetAside(_, reason):
                self.hold.append(_parked(row, reason, self.now))
            case _:
                self.release.append(action.position)
                self._count(_ending(action))

    def close_new(self, action: Action) -> None:
        match action:
            case Send(position, key):
                tried = self.tried.get(position)
                if tried is not None:
                    self._close_tried(self._fresh(position, key), tried, new=True)
                else:
                    self._hold_untried(position, key)
            case Hold(position, key):
                self.hold.append(_waiting(self._fresh(position, key)))
            case SetAside(position, reason):
                self.hold.append(_parked(self._fresh(position, ""), reason, self.now))
            case _:
                self._count(_ending(action))

    def _close_tried(self, row: Held, tried: Tried, *, new: bool) -> None:
        match tried.outcome:
            case Retry(not_before, reason):
                self.hold.append(_retrying(row, tried, not_before, reason))
                self.unresolved.add(row.key)
            case Park(reason):
                self.hold.append(_parked(row, reason, tried.first_at, tried.attempt))
            case Settle() | Expire() | Erased():
                self._count(_END_OF[type(tried.outcome)])
                if not new:
                    self.release.append(row.position)
            case _:
                assert_never(tried.outcome)

    def _hold_untried(self, position: Position, key: str) -> None:
        row = self._fresh(position, key)
        if key and key in self.unresolved:
            self.hold.append(_waiting(row))
        else:
            self.hold.append(row)
            self.unresolved.add(key)

    def _fresh(self, position: Position, key: str) -> Held:
        return Held(position, HeldState.RETRYING, self.now, 0, key, REASON_CUT_SHORT, self.now)

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1


_END_OF: Mapping[type, str] = {Settle: "delivered", Expire: "expired", Erased: "erased"}


def _ending(action: Filter | Supersede | LetExpire | LetErased) -> str:
    match action:
        case Filter():
            return "filtered"
        case Supersede():
            return "superseded"
        case LetExpire():
            return "expired"
        case LetErased():
            return "erased"
        case _:
            assert_never(action)


def _waiting(row: Held) -> Held:
    return Held(
        row.position,
        HeldState.WAITING,
        row.not_before,
        row.attempts,
        row.key,
        REASON_BEHIND_KEY,
        row.held_at,
        row.replay,
    )


def _retrying(row: Held, tried: Tried, not_before: Instant, reason: str) -> Held:
    state = move(row, HeldSignal.BUSY).state
    return Held(row.position, state, not_before, tried.attempt, row.key, reason, tried.first_at, row.replay)


def _parked(row: Held, reason: ParkReason, held_at: Instant, attempts: int | None = None) -> Held:
    state = move(row, HeldSignal.GIVEN_UP).state
    made = row.attempts if attempts is None else attempts
    return Held(row.position, state, row.not_before, made, row.key, reason, held_at, row.replay)
