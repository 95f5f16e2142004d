"""One group of appends in one transaction: who gets which position, what is there already, what is written. The
decisions are pure; `append_group` does the statements around them, as many for one draft as for five hundred."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crossdock.engines.postgres.pool import Unit
from crossdock.engines.rows import entry_row
from crossdock.journal.books import moving
from crossdock.model.entry import Appended, Conflicting, Draft, Duplicate, Kept, OtherKey
from crossdock.model.errors import Unavailable
from crossdock.model.ids import CorrelationId, EventId, Position, StoreId
from crossdock.model.lane import Gate

Place = tuple[str, str, str]
"""(store, origin, dedupe key): what an entry is unique by."""


@dataclass(frozen=True, slots=True)
class Call:
    """One caller's drafts. `epochs` are the homes that it believes in: a store that has another one now is refused."""

    drafts: Sequence[Draft]
    epochs: Mapping[StoreId, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class First:
    """The entry that stands for a dedupe key."""

    fingerprint: bytes
    position: Position
    event_id: EventId
    correlation_id: CorrelationId


@dataclass(slots=True)
class Counter:
    """A store's row in `journals`, as this group moves it on."""

    head: int
    conflicts: int
    gate: Gate
    epoch: int
    moved: bool = False


@dataclass(slots=True)
class Group:
    """What the database knew when the group held the counters, and what the group adds to it."""

    counters: dict[StoreId, Counter]
    firsts: dict[Place, First]
    keys: dict[tuple[StoreId, bytes], bytes]
    entries: list[tuple[Any, ...]] = field(default_factory=list)
    new_keys: list[tuple[Any, ...]] = field(default_factory=list)
    conflicts: list[tuple[Any, ...]] = field(default_factory=list)

    def answer(self, call: Call) -> list[Appended] | Unavailable:
        """The call's answers, and its rows among the group's; or why nothing of it is taken."""
        for store in dict.fromkeys(draft.store for draft in call.drafts):
            counter = self.counters[store]
            if counter.gate is not Gate.OPEN or counter.epoch != call.epochs.get(store, counter.epoch):
                return moving(store)
        return [self._one(draft) for draft in call.drafts]

    def _one(self, draft: Draft) -> Appended:
        place = (draft.store, draft.origin, draft.dedupe_key)
        first = self.firsts.get(place)
        if first is not None:
            return self._seen_before(draft, first)
        other = self._other_key(draft)
        if other is not None:
            return other
        counter = self.counters[draft.store]
        counter.head, counter.moved = counter.head + 1, True
        position = Position(counter.head)
        self.firsts[place] = First(draft.fingerprint, position, draft.event_id, draft.correlation_id)
        self.entries.append(entry_row(draft, position))
        return Kept(position)

    def _seen_before(self, draft: Draft, first: First) -> Appended:
        if first.fingerprint == draft.fingerprint:
            return Duplicate(first.position, first.event_id, first.correlation_id)
        counter = self.counters[draft.store]
        counter.conflicts, counter.moved = counter.conflicts + 1, True
        where = (draft.origin, first.position, first.event_id, draft.received_at)
        self.conflicts.append((draft.store, counter.conflicts, *where))
        return Conflicting(first.position, first.event_id)

    def _other_key(self, draft: Draft) -> OtherKey | None:
        """Keeps the first key of a subject; None if the draft may be appended."""
        if draft.subject_ref is None or draft.subject_key is None:
            return None
        standing = self.keys.get((draft.store, draft.subject_ref))
        if standing is None:
            self.keys[draft.store, draft.subject_ref] = draft.subject_key
            self.new_keys.append((draft.store, draft.subject_ref, draft.subject_key))
            return None
        return None if standing == draft.subject_key else OtherKey(standing)


async def append_group(
    unit: Unit, calls: list[Call], more: Callable[[frozenset[StoreId]], list[Call]] = lambda _: []
) -> list[list[Appended] | Unavailable]:
    """Inside a transaction whose scope is the calls' stores. Holding the stores' counters, nobody else can add a key or
    a position there; what others committed before is seen, since each statement takes its own snapshot.

    The counters may have been waited for: `more` gives the calls for these stores that have come meanwhile, and they
    are added to `calls`."""
    counters = await _lock(unit, sorted(stores_of(calls)))
    calls += more(frozenset(counters))
    group = await _known(unit, counters, [draft for call in calls for draft in call.drafts])
    answers = [group.answer(call) for call in calls]
    await _write(unit, group)
    return answers


def stores_of(calls: Iterable[Call]) -> set[StoreId]:
    return {draft.store for call in calls for draft in call.drafts}


async def _lock(unit: Unit, stores: list[StoreId]) -> dict[StoreId, Counter]:
    rows = await unit.rows("lock_journals", stores)
    if len(rows) < len(stores):
        await unit.run("add_journals", stores)
        rows = await unit.rows("lock_journals", stores)
    return {row[0]: Counter(row[1], row[2], Gate(row[3]), row[4]) for row in rows}


async def _known(unit: Unit, counters: dict[StoreId, Counter], drafts: Sequence[Draft]) -> Group:
    """What is there already of the drafts' dedupe keys and subjects."""
    firsts = columns(((one.store, one.origin, one.dedupe_key) for one in drafts), 3)
    subjects = dict.fromkeys((one.store, one.subject_ref) for one in drafts if one.subject_ref is not None)
    group = Group(counters, {}, {})
    for row in await unit.rows("known", *firsts, *columns(subjects, 2)):
        store, wrapped = row[0], row[8]
        if wrapped is None:
            group.firsts[store, row[1], row[2]] = First(*row[3:7])
        else:
            group.keys[store, row[7]] = wrapped
    return group


async def _write(unit: Unit, group: Group) -> None:
    moved = [(store, one.head, one.conflicts) for store, one in group.counters.items() if one.moved]
    if moved:
        await unit.run("add", *columns(group.entries, 18), *columns(group.new_keys, 3), *columns(moved, 3))
    if group.conflicts:
        await unit.run("add_conflicts", *columns(group.conflicts, 6))


def columns(rows: Iterable[Sequence[Any]], width: int) -> list[tuple[Any, ...]]:
    """Rows as one array per column, as unnest takes them."""
    return list(zip(*rows, strict=True)) or [()] * width
