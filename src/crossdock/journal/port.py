"""The journal and the lanes, as ports. Every sentence under a guarantee is a test in `crossdock.testing.journal`.

Guarantees of a journal:
    Durable.   When `append` returns, the entry survives kill -9 and power loss (the in-memory reference excepted).
    Once.      The same (store, origin, dedupe key) again returns the first position; the same key with another
               fingerprint is a conflict, recorded, never silently dropped.
    In order.  A reader that saw position n never later meets an unseen entry at or below n; positions have no gaps.
    Apart.     No call with one store's id can see or change another store's entry.

Guarantees of lanes:
    Whole.     A change settles whole or not at all; a stale epoch, cursor or fence changes nothing and answers False.
    Balanced.  A change whose books do not balance raises Bug (CD5001) and changes nothing.
    Closed.    After any sequence of calls every ledger closes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from crossdock.model.attempt import Attempt
from crossdock.model.entry import Appended, Draft, Entry
from crossdock.model.ids import EventId, Instant, LaneId, Position, StoreId
from crossdock.model.lane import Gate, Held, HeldState, Lane, LaneChange, Ledger


@dataclass(frozen=True, slots=True)
class ConflictRecord:
    """The same dedupe key came with another body. `at` is when."""

    store: StoreId
    origin: str
    position: Position
    event_id: EventId
    at: Instant


@dataclass(frozen=True, slots=True)
class LaneWish:
    """What one turn wants to read: at most `window` entries after the cursor (0 reads held rows only)."""

    lane: LaneId
    window: int


@dataclass(frozen=True, slots=True)
class LaneRead:
    """A lane, its unresolved exceptions and what comes next.

    `held`: every retrying or waiting row, by position. `due`: those of them that may be tried at `now` with their
    entries, by position: retrying ones whose time has come, and waiting ones with no earlier retrying or waiting row of
    the same key. `window`: entries after the cursor, by position; those inside a skip are among them, and the turn
    passes over them. `head`: the store's last position.
    """

    lane: Lane
    held: tuple[Held, ...]
    due: tuple[tuple[Held, Entry], ...]
    window: tuple[Entry, ...]
    head: Position


@dataclass(frozen=True, slots=True)
class Moved:
    """What the slow poll reads. `heads`: the last position of each store that got entries since the mark that was
    asked with; a store may be named again although nothing came since. `mark`: what to ask with next time.

    `whole` is False where the engine cannot say what moved since that mark (there was none, or another server answers
    now): then every lane has to be looked at once."""

    heads: Mapping[StoreId, Position]
    mark: int
    whole: bool


class Journal(Protocol):
    async def append(self, drafts: Sequence[Draft]) -> list[Appended]:
        """One answer per draft, in order, after the commit that holds them all. Concurrent calls share commits.

        Raises Unavailable (CD5002) when the engine cannot keep them now, (CD5024) when the gate of one of the stores is
        not open; then nothing of the call was kept. Calls beside it are not harmed."""
        ...

    async def read(self, store: StoreId, after: Position, limit: int) -> list[Entry]:
        """Entries after `after`, in order, at most `limit`."""
        ...

    async def entry(self, store: StoreId, position: Position) -> Entry | None: ...

    async def find(self, store: StoreId, event_id: EventId) -> list[Entry]:
        """Entries with this event id, in order: one per origin that sent it."""
        ...

    async def head(self, store: StoreId) -> Position:
        """The last position of the store, START for none."""
        ...

    async def moved(self, mark: int | None) -> Moved:
        """The stores that got entries since `mark`. What it costs does not grow with the stores that did not."""
        ...

    async def gate(self, store: StoreId, state: Gate, epoch: int | None = None) -> None:
        """Sets the gate of the store's journal, and the epoch of its place where one is given. Durable when it returns.

        A gate that is opened counts as moved: the store is named by the next `moved`, and in the news."""
        ...

    def known_subject_key(self, store: StoreId, ref: bytes) -> bytes | None:
        """The standing key as far as this process remembers, without asking the disk. None says nothing: whoever then
        proposes a new key is told the standing one by `OtherKey`."""
        ...

    async def subject_key(self, store: StoreId, ref: bytes) -> bytes | None:
        """The standing wrapped key of a data subject, if there is one."""
        ...

    async def conflicts(self, store: StoreId, limit: int) -> list[ConflictRecord]:
        """The newest first."""
        ...

    def on_news(self, listener: Callable[[frozenset[StoreId]], None]) -> None:
        """`listener` is called on the event loop after commits that appended, also those of other processes. A hint: it
        may be lost."""
        ...


class Lanes(Protocol):
    async def open_lanes(self, stores: Collection[StoreId] | None = None) -> list[Lane]:
        """The open lanes of these stores, or every open lane, by id."""
        ...

    async def stirring(self, slots: Collection[int]) -> list[LaneId]:
        """The open lanes of these slots (`journal.slots.slot_of`) that have something to do, now or later: entries
        after the cursor, or rows that are retrying or waiting."""
        ...

    async def lane(self, lane: LaneId) -> Lane | None: ...

    async def read(self, wishes: Sequence[LaneWish], now: Instant) -> list[LaneRead]:
        """One read per wish whose lane exists and whose store's gate is open, in order, in one round trip."""
        ...

    async def settle(self, changes: Sequence[LaneChange]) -> list[bool]:
        """Each change whole or not at all; False for a stale one, and for one of a store whose gate is shut. Durable
        when it returns."""
        ...

    async def ledgers(self, store: StoreId | None = None) -> list[Ledger]:
        """Read in one snapshot, so that it closes even while lanes move."""
        ...

    async def held(
        self, lane: LaneId, state: HeldState | None, after: Position, limit: int
    ) -> list[tuple[Held, Entry]]: ...

    async def attempts(self, lane: LaneId, limit: int, position: Position | None = None) -> list[Attempt]:
        """The newest first."""
        ...
