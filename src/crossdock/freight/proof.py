"""The proof that a destination holds what the source holds: every row of every table, in the order of their keys.

What only grows is proved as far as it was carried, while the store still serves; when it stands still, the rest. Rows
are compared as values, and summed up on both sides, so that a proof can be written down.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from crossdock.freight.carry import carried, portions, stretches
from crossdock.freight.port import Source
from crossdock.freight.tables import HELD, LANES, PLATFORM, Key, Row, Table, shown
from crossdock.journal.books import reach
from crossdock.model.errors import Conflict
from crossdock.model.ids import START, ConnectionId, LaneId, Position, RouteName, StoreId
from crossdock.model.lane import Counts, HeldState, Lane, Ledger, ledger_of

_encode = msgspec.msgpack.encode


@dataclass(frozen=True, slots=True)
class Proved:
    """`rows` by table; `digest` of all of them, in hex; `head` of the journal; how many `ledgers` are equal."""

    store: str
    rows: dict[str, int]
    digest: str
    head: Position
    ledgers: int


class Sum:
    """A digest over rows in the order in which they come."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.rows = 0

    def add(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._hash.update(_encode(row))
        self.rows += len(rows)

    @property
    def hex(self) -> str:
        return self._hash.hexdigest()


@dataclass
class Part:
    """How far a stretch of rows is proved, and the sums of both sides."""

    after: Key | None
    source: Sum
    destination: Sum


class Proof:
    """Of one store. Whatever it finds unequal raises Conflict (CD5025), with the first difference named."""

    def __init__(self, source: Source, destination: Source, store: str) -> None:
        self._source = source
        self._destination = destination
        self._store = store
        self._parts: dict[tuple[str, Key], Part] = {}

    async def advance(self, *, common: bool = False) -> None:
        """Proves what grows as far as the destination has it; with `common` as far as both have it."""
        for table in carried(self._store):
            if table.grows:
                for stretch in await stretches(self._source, table, self._store):
                    last = await self._destination.last(table, self._store, stretch.prefix)
                    if common:
                        last = min(last, await self._source.last(table, self._store, stretch.prefix))
                    await self._compare(table, stretch.prefix, stretch.after(0), stretch.within(last))

    def so_far(self) -> Proved:
        """Of what grows, as far as it is proved."""
        return self._proved(START, 0)

    async def finish(self) -> Proved:
        """Proves the rest. The source must stand still."""
        heads = await self._heads()
        for table in carried(self._store):
            if table.grows:
                for stretch in await stretches(self._source, table, self._store):
                    await self._compare(table, stretch.prefix, stretch.after(0), stretch.within())
                await self._orphans(table)
            else:
                await self._compare(table, (), None, lambda _: True)
        ledgers = await self._ledgers(heads)
        return self._proved(heads, ledgers)

    async def _heads(self) -> Position:
        if self._store == PLATFORM:
            return START
        here = await self._source.journals(StoreId(self._store))
        there = await self._destination.journals(StoreId(self._store))
        if here.head != there.head:
            raise self._differs("journals", f"the head is {here.head} at the source and {there.head} here")
        return here.head

    async def _compare(self, table: Table, prefix: Key, start: Key | None, within: Callable[[Row], bool]) -> None:
        part = self._parts.setdefault((table.name, prefix), Part(start, Sum(), Sum()))
        beside = portions(self._destination, table, self._store, part.after, within)
        read: list[Row] = []
        nothing: list[Row] = []
        async for rows in portions(self._source, table, self._store, part.after, within):
            while len(read) < len(rows):
                more = await anext(beside, nothing)
                if not more:
                    break
                read += more
            there, read = read[: len(rows)], read[len(rows) :]
            self._equal(table, rows, there)
            part.source.add([table.compared(row) for row in rows])
            part.destination.add([table.compared(row) for row in there])
            part.after = table.key_of(rows[-1]) if table.key else part.after
        extra = read or await anext(beside, nothing)
        if extra:
            raise self._differs(table.name, f"the row {_key(table, extra[0])} is at the destination alone")

    def _equal(self, table: Table, rows: Sequence[Row], there: Sequence[Row]) -> None:
        for at, row in enumerate(rows):
            if at >= len(there):
                raise self._differs(table.name, f"the row {_key(table, row)} is at the source alone")
            if table.compared(row) != table.compared(there[at]):
                names = [
                    column.name
                    for column, one, other in zip(table.columns, row, there[at], strict=True)
                    if one != other and not column.own
                ]
                raise self._differs(table.name, f"at the row {_key(table, row)} differs {', '.join(names)}")

    async def _orphans(self, table: Table) -> None:
        """Rows under a parent that the source does not have."""
        if table.parent:
            ours = {prefix for name, prefix in self._parts if name == table.name}
            for stretch in await stretches(self._destination, table, self._store):
                if stretch.prefix not in ours:
                    raise self._differs(table.parent, f"the row {stretch.prefix} is at the destination alone")

    async def _ledgers(self, head: Position) -> int:
        if self._store == PLATFORM:
            return 0
        here = await ledgers(self._source, StoreId(self._store), head)
        there = await ledgers(self._destination, StoreId(self._store), head)
        for one, other in zip(here, there, strict=True):
            if one != other:
                raise self._differs("lanes", f"the ledger of {one.lane} is another one")
        return len(here)

    def _proved(self, head: Position, count: int) -> Proved:
        rows: Counter[str] = Counter()
        whole = (hashlib.sha256(), hashlib.sha256())
        for (name, prefix), part in sorted(self._parts.items(), key=lambda one: repr(one[0])):
            rows[name] += part.source.rows
            for digest, summed in zip(whole, (part.source, part.destination), strict=True):
                digest.update(_encode((name, repr(prefix), summed.rows, summed.hex)))
        if whole[0].digest() != whole[1].digest():
            raise self._differs("the whole", "the sums of both sides are not equal")
        return Proved(self._store, dict(rows), whole[0].hexdigest(), head, count)

    def _differs(self, table: str, what: str) -> Conflict:
        return Conflict(
            "CD5025",
            f"The copy of {shown(self._store)} is not what the source holds: in {table}, {what}.",
            remedy="The source is as it was. Find out who else writes to the destination; then copy again.",
        )


def _key(table: Table, row: Row) -> str:
    return "/".join(str(value) for value in table.key_of(row)) or "(the only one)"


async def ledgers(place: Source, store: StoreId, head: Position) -> list[Ledger]:
    """The ledger of each lane, from the rows that are there; by lane id."""
    counts: Counter[tuple[Key, bool]] = Counter()
    async for rows in portions(place, HELD, store):
        for row in rows:
            counts[HELD.key_of(row)[:-1], row[HELD.names.index("state")] == HeldState.PARKED] += 1
    found = []
    async for rows in portions(place, LANES, store):
        for row in rows:
            key = LANES.key_of(row)
            lane, closed_head = _lane(store, row)
            end = reach(lane, closed_head, head)
            found.append(ledger_of(lane, head=end, retrying_or_waiting=counts[key, False], parked=counts[key, True]))
    return found


def _lane(store: StoreId, row: Row) -> tuple[Lane, Position]:
    values = dict(zip(LANES.names, row, strict=True))

    def number(name: str) -> int:
        return int(values[name] or 0)

    id = LaneId(store, ConnectionId(str(values["connection_id"])), RouteName(str(values["route"])))
    names = ("delivered", "superseded", "filtered", "expired", "erased")
    lane = Lane(
        id,
        start=Position(number("start")),
        cursor=Position(number("cursor")),
        open=bool(values["open"]),
        counts=Counts(*(number(name) for name in names)),
        replayed=number("replayed"),
    )
    return lane, Position(number("closed_head"))
