"""Replay as a plan: which entries, which writes, how many of each class. Pure; a dry run is the plan, not committed.

Replay is intent: a person names what to send again. It is spread over time, marked as replay, and refused by a route
whose receivers must not hear a thing twice, unless it is forced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from crossdock.model.contract import Route
from crossdock.model.entry import Entry
from crossdock.model.errors import Conflict
from crossdock.model.ids import START, EventId, Instant, LaneId, Position
from crossdock.model.lane import Held
from crossdock.model.limits import REPLAY_EVENTS_MAX, REPLAY_PER_SECOND, SECOND_MS
from crossdock.stores.port import ReplayHeld, ReplayResolved


@dataclass(frozen=True, slots=True)
class Selection:
    """What to send again: everything that fits all that is given. Positions above `after` up to `to` (None: the end).
    `reason` is why it was parked. `parked_only` False takes what has been resolved as well."""

    after: Position = START
    to: Position | None = None
    event_id: EventId | None = None
    type: str | None = None
    key: str | None = None
    reason: str | None = None
    parked_only: bool = True

    def covers(self, position: Position) -> bool:
        return position > self.after and (self.to is None or position <= self.to)

    def fits(self, entry: Entry, key: str) -> bool:
        return (
            self.covers(entry.position)
            and self.event_id in (None, entry.event_id)
            and self.type in (None, entry.type)
            and self.key in (None, key)
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry that may be sent again: parked with its row, or resolved (`held` None)."""

    entry: Entry
    key: str
    held: Held | None = None

    @property
    def name(self) -> str:
        return "resolved" if self.held is None else f"parked.{self.held.reason}"


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """`counts` by class (`parked.rejected`, `resolved`), `left` what fits too but is beyond one replay's bound.
    `spread_ms`: when the last of it comes due."""

    writes: tuple[ReplayHeld | ReplayResolved, ...]
    counts: Mapping[str, int]
    left: int
    spread_ms: int

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def chosen(selection: Selection, candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that fit, by position."""
    fitting = [
        one
        for one in candidates
        if selection.fits(one.entry, one.key)
        and (one.held is not None or not selection.parked_only)
        and (selection.reason is None or (one.held is not None and one.held.reason == selection.reason))
    ]
    return sorted(fitting, key=lambda one: one.entry.position)


def plan_replay(
    lane: LaneId, route: Route, candidates: Sequence[Candidate], now: Instant, *, force: bool = False
) -> ReplayPlan:
    """The replay of `candidates` (see `chosen`), at most REPLAY_EVENTS_MAX of them, REPLAY_PER_SECOND at a time.

    Conflict (CD4011) where the route refuses replay and it is not forced.
    """
    if route.refuses_replay and not force:
        raise Conflict(
            "CD4011",
            "The contract refuses a replay of this route.",
            where=f"route {route.name}",
            remedy="Its receivers must not hear a thing twice. If you mean it all the same, force it.",
        )
    taken = list(candidates[:REPLAY_EVENTS_MAX])
    writes: list[ReplayHeld | ReplayResolved] = []
    for start in range(0, len(taken), REPLAY_PER_SECOND):
        not_before = Instant(now + start // REPLAY_PER_SECOND * SECOND_MS)
        writes += _writes(lane, taken[start : start + REPLAY_PER_SECOND], not_before)
    return ReplayPlan(
        writes=tuple(writes),
        counts=dict(Counter(one.name for one in taken)),
        left=len(candidates) - len(taken),
        spread_ms=max(0, (len(taken) - 1) // REPLAY_PER_SECOND * SECOND_MS),
    )


def _writes(lane: LaneId, taken: Sequence[Candidate], not_before: Instant) -> Iterable[ReplayHeld | ReplayResolved]:
    parked = tuple(one.entry.position for one in taken if one.held is not None)
    if parked:
        yield ReplayHeld(lane, parked, not_before)
    resolved = [one for one in taken if one.held is None]
    if resolved:
        yield ReplayResolved(
            lane, tuple(one.entry.position for one in resolved), tuple(one.key for one in resolved), not_before
        )
