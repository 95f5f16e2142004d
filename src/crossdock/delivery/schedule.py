"""The plan of one turn of a lane: what becomes of each entry, before anything is sent. Pure.

Order: an entry whose ordering key has an earlier unresolved one (retrying or waiting) waits; parked ones block nothing;
other keys go on. Entries of one key that can all be sent in this turn form a chain: one after the other, each after the
one before it succeeded.

Collapse (`latest_per_key`): an entry is superseded by a newer one of its key in the window, and so is a held row that
is retrying or waiting. The newer one is tried at once; what must not be called yet is the connection's matter (see
`fairness`), not the entry's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from crossdock.model.attempt import ParkReason
from crossdock.model.ids import Instant, Position
from crossdock.model.lane import Held, HeldState, Skip


@dataclass(frozen=True, slots=True)
class Facts:
    """What the route makes of an entry. `trouble`: it can be neither read nor judged, and is set aside. `erased`: its
    person was erased and the route needs what is gone. `key` is the ordering key, '' without one."""

    wanted: bool
    key: str = ""
    expires_at: Instant | None = None
    erased: bool = False
    trouble: ParkReason | None = None


UNWANTED = Facts(wanted=False)


@dataclass(frozen=True, slots=True)
class Scene:
    """A lane as a turn reads it. `held`: every retrying or waiting row, by position. `ready`: those of them that may be
    tried now and whose entries were read. `window`: the positions after the cursor that were read, by position."""

    held: tuple[Held, ...]
    ready: frozenset[Position]
    window: tuple[Position, ...]
    skips: tuple[Skip, ...] = ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """`sends_max`: what this turn may send. `held_max`: how many retrying and waiting rows the lane may hold.
    `retries_max`: how many of the sends may be retries, None for any."""

    sends_max: int
    held_max: int
    collapse: bool = False
    retries_max: int | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Not this route's: passed over."""

    position: Position


@dataclass(frozen=True, slots=True)
class Supersede:
    position: Position
    by: Position


@dataclass(frozen=True, slots=True)
class LetExpire:
    position: Position


@dataclass(frozen=True, slots=True)
class LetErased:
    position: Position


@dataclass(frozen=True, slots=True)
class SetAside:
    position: Position
    reason: ParkReason


@dataclass(frozen=True, slots=True)
class Hold:
    """It waits behind an earlier one of its key."""

    position: Position
    key: str


@dataclass(frozen=True, slots=True)
class Send:
    position: Position
    key: str


Action = Filter | Supersede | LetExpire | LetErased | SetAside | Hold | Send


@dataclass(frozen=True, slots=True)
class Plan:
    """`held` acts on rows at or below the cursor, `window` on entries after it without a gap; both by position. What
    of the window is not named stays after the cursor. `stopped`: more could be done, but for the bounds. `unfunded`:
    retries that are due and have to wait for the budget."""

    held: tuple[Action, ...]
    window: tuple[Action, ...]
    stopped: bool = False
    unfunded: frozenset[Position] = frozenset()

    def chains(self) -> tuple[tuple[Position, ...], ...]:
        """What to send: each chain in its order, the chains by their first position. Without a key each is alone."""
        chains: list[list[Position]] = []
        by_key: dict[str, list[Position]] = {}
        for action in (*self.held, *self.window):
            if not isinstance(action, Send):
                continue
            if action.key and action.key in by_key:
                by_key[action.key].append(action.position)
                continue
            chain = [action.position]
            chains.append(chain)
            if action.key:
                by_key[action.key] = chain
        return tuple(tuple(chain) for chain in chains)


def plan(scene: Scene, facts: Mapping[Position, Facts], bounds: Bounds, now: Instant) -> Plan:
    """What becomes of each entry. `facts` knows every ready position and every window position outside the skips."""
    draft = _Draft(facts, bounds, now, held_rows=len(scene.held))
    if bounds.collapse:
        draft.latest = _latest(scene, facts, now)
    for row in scene.held:
        draft.take_held(row, row.position in scene.ready)
    for position in scene.window:
        if not draft.take_new(position, skipped(scene.skips, position)):
            break
    return Plan(tuple(draft.held), tuple(draft.window), draft.stopped, frozenset(draft.unfunded))


def skipped(skips: Sequence[Skip], position: Position) -> bool:
    """Whether the position came while the lane was not open."""
    return any(skip.after < position <= skip.to for skip in skips)


@dataclass(slots=True)
class _Draft:
    """A plan in the making. `blocked`: keys with an unresolved entry that this turn does not send."""

    facts: Mapping[Position, Facts]
    bounds: Bounds
    now: Instant
    held_rows: int
    held: list[Action] = field(default_factory=list)
    window: list[Action] = field(default_factory=list)
    blocked: set[str] = field(default_factory=set)
    latest: Mapping[str, Position] = field(default_factory=dict)
    sends: int = 0
    retries: int = 0
    unfunded: set[Position] = field(default_factory=set)
    stopped: bool = False

    def take_held(self, row: Held, ready: bool) -> None:
        by = self.latest.get(row.key)
        if by is not None and by > row.position:
            self.held.append(Supersede(row.position, by))
            self.held_rows -= 1
        elif not ready or row.key in self.blocked:
            if ready and row.state is HeldState.RETRYING:
                self.held.append(Hold(row.position, row.key))
            self._block(row.key)
        else:
            self._take_ready(row)

    def _take_ready(self, row: Held) -> None:
        end = self._end(row.position)
        if end is not None:
            self.held.append(end)
            self.held_rows -= 1
        elif row.attempts and self.bounds.retries_max is not None and self.retries >= self.bounds.retries_max:
            self.unfunded.add(row.position)
            self._block(row.key)
        elif self.sends < self.bounds.sends_max:
            self.held.append(Send(row.position, row.key))
            self.sends += 1
            self.retries += row.attempts > 0
        else:
            self.stopped = True
            self._block(row.key)

    def take_new(self, position: Position, skip: bool) -> bool:
        """False when the cursor has to stop before this position."""
        action = Filter(position) if skip else self._end(position)
        if action is None:
            action = self._admit(position)
        if action is None:
            self.stopped = True
            return False
        self.window.append(action)
        return True

    def _admit(self, position: Position) -> Action | None:
        key = self.facts[position].key
        by = self.latest.get(key)
        if by is not None and by > position:
            return Supersede(position, by)
        # Whatever is sent may fail and be held: it counts from the start, so that the bound holds in any case.
        if self.held_rows >= self.bounds.held_max:
            return None
        if key in self.blocked:
            self.held_rows += 1
            return Hold(position, key)
        if self.sends >= self.bounds.sends_max:
            return None
        self.held_rows += 1
        self.sends += 1
        return Send(position, key)

    def _end(self, position: Position) -> Action | None:
        return _end(position, self.facts[position], self.now)

    def _block(self, key: str) -> None:
        if key:
            self.blocked.add(key)


def _end(position: Position, facts: Facts, now: Instant) -> Action | None:
    """How an entry ends without being sent, if it does."""
    if not facts.wanted:
        return Filter(position)
    if facts.trouble is not None:
        return SetAside(position, facts.trouble)
    if facts.expires_at is not None and facts.expires_at <= now:
        return LetExpire(position)
    if facts.erased:
        return LetErased(position)
    return None


def _latest(scene: Scene, facts: Mapping[Position, Facts], now: Instant) -> dict[str, Position]:
    """The newest undelivered position of each key, of those that will be sent."""
    latest: dict[str, Position] = {}
    for row in scene.held:
        ends = row.position in scene.ready and _end(row.position, facts[row.position], now) is not None
        if row.key and not ends:
            latest[row.key] = row.position
    for position in scene.window:
        if not skipped(scene.skips, position):
            found = facts[position]
            if found.key and _end(position, found, now) is None:
                latest[found.key] = position
    return latest
