"""The world's judge: sees every commit, every call and everything that far ends take, and says what must not be."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

from crossdock.journal.slots import Standing, slot_of
from crossdock.model.attempt import ParkReason
from crossdock.model.connection import ConnectionState
from crossdock.model.contract import Direction
from crossdock.model.entry import Appended, Draft, Kept
from crossdock.model.ids import ConnectionId, LaneId, Position, RouteName, StoreId
from crossdock.model.lane import Held, HeldState, LaneChange
from crossdock.model.limits import TURN_MS_MAX
from crossdock.observe.lines import Value
from crossdock.stores.port import (
    Change,
    CloseLane,
    MoveConnection,
    OpenLane,
    ReplayHeld,
    ReplayResolved,
    Write,
)
from crossdock.testing.world.calls import Calls
from crossdock.testing.world.facts import Fact, LaneBook, Violation
from crossdock.testing.world.process import Process, Reply
from crossdock.testing.world.stage import SECOND_VERSION_ATTEMPTS_MAX, Stage

CANARY = re.compile(rb"canary-(\w+?)-(\w+)")
ALLOWED = frozenset({b"open"})
"""Canaries are planted in fields that contracts list (`open`) and in fields that none does."""
EARLY_SECONDS = 0.002  # clocks count whole milliseconds
STALE_MS = TURN_MS_MAX + 2_000  # a turn looks at its events once, when it begins, and its engine may be slow
PAUSED_SECONDS = 12.0  # a process hears of another's change at its next poll, and ends its turn first

Flow = tuple[str, StoreId, str, Direction]


class Books(Calls):
    """And everything that is committed."""

    def open_books(self, stage: Stage) -> None:
        """Before anything has happened."""
        self.audited = stage.audited
        for site in stage.sites():
            for route, lane in zip(site.contract.routes, site.lanes(), strict=True):
                self.lanes[lane] = LaneBook(lane, site, route, Position(0), Position(0))

    # What is committed

    def rotten(self, draft: Draft) -> None:
        self.coverage.saw("fault", "rot")
        self.by_id[draft.store, draft.event_id].rotten = True

    def erase(self, store: StoreId, dice: random.Random, erased: set[tuple[StoreId, bytes]]) -> None:
        refs = sorted({fact.person for fact in self.facts.get(store, {}).values() if fact.person})
        if refs:
            ref = dice.choice(refs)
            erased.add((store, ref))
            for fact in self.facts[store].values():
                fact.erased = fact.erased or fact.person == ref
            self.erased.add((store, ref))

    async def appended(self, process: Process, drafts: Sequence[Draft], answers: Sequence[Appended]) -> None:
        for draft, answer in zip(drafts, answers, strict=True):
            fact = self.by_correlation.get(draft.correlation_id) or self.by_id.get((draft.store, draft.event_id))
            self.tell(process, "append", draft.store, "?" if fact is None else fact.number, type(answer).__name__)
            self.coverage.saw("append", type(answer).__name__)
            if isinstance(answer, Kept) and fact is not None:
                if fact.position:
                    self.broken(f"Event {fact.number} is kept twice, at {fact.position} and {answer.position}")
                fact.position, fact.event_id = answer.position, draft.event_id
                fact.person = draft.subject_ref or b""
                fact.erased = (draft.store, fact.person) in self.erased
                self.by_id[draft.store, draft.event_id] = fact
                self.facts.setdefault(draft.store, {})[answer.position] = fact

    async def settled(self, process: Process, change: LaneChange, counted: bool) -> None:
        lane, book = change.lane, self.lanes[change.lane]
        due = self._due(process, change)
        self.done.pop((process, lane), None)
        self.tell(process, "settle", lane.store, lane.route, change.cursor_from, change.cursor_to, counted)
        if not counted:
            self.coverage.saw("turn", "stale")
            return
        self._check_fence(process, change)
        self._note(change)
        try:
            book.settle(change, self.facts.get(lane.store, {}), due, process)
        except Violation as found:
            self.broken(str(found))
        await self._check_ledgers(lane.store)

    def _note(self, change: LaneChange) -> None:
        """What it says happened; and whether that can be."""
        for attempt in change.attempts:
            self.coverage.saw("next", attempt.next)
            self.coverage.saw("answer", attempt.answer.kind)
            if attempt.next == "settle" and not self.taken.get((change.lane, attempt.event_id)):
                self.broken(f"{change.lane} settles event {attempt.event_id}, which its far end has never taken")
        for row in change.hold:
            if row.state is HeldState.PARKED:
                self.coverage.saw("park", row.reason)
                self._check_park(change.lane, row)
        for name in ("superseded", "filtered", "expired", "erased"):
            if getattr(change.counts, name):
                self.coverage.saw("end", name)

    def _check_park(self, lane: LaneId, row: Held) -> None:
        """Nobody is asked to look at what could go on by itself."""
        fact = self.facts[lane.store][row.position]
        if (row.reason == ParkReason.UNREADABLE) != fact.rotten:
            self.broken(f"{lane} parks event {fact.number} as {row.reason}; rotten: {fact.rotten}")
        exhausted = row.reason == ParkReason.EXHAUSTED
        if exhausted and row.attempts < SECOND_VERSION_ATTEMPTS_MAX and not self.told_to_wait.get(fact.event_id):
            self.broken(f"{lane} gives event {fact.number} up after {row.attempts} tries")

    def _due(self, process: Process, change: LaneChange) -> dict[Position, float]:
        """When what is to be tried again may be, on the one clock that does not lie."""
        due: dict[Position, float] = {}
        for attempt in change.attempts:
            ended = self.ends.pop((process, change.lane, attempt.position), None)
            if ended is not None and attempt.not_before is not None:
                due[attempt.position] = ended[0] + (attempt.not_before - ended[1]) / 1_000
        return due

    def _check_fence(self, process: Process, change: LaneChange) -> None:
        fence = change.fence
        if fence is None or fence.slot != slot_of(change.lane.store, change.lane.connection):
            self.broken(f"{process} settles {change.lane} without a lease")
            return
        standing = self.owners.get(fence.slot)
        if standing is not None and standing[1] != fence.epoch:
            self.broken(f"{process} settles {change.lane} at epoch {fence.epoch}; {standing} has the slot")

    async def _check_ledgers(self, store: StoreId) -> None:
        for ledger in await self.engine.lanes.ledgers(store):
            if not ledger.closes:
                self.broken(f"The ledger of {ledger.lane} does not close: {ledger.gap} missing")
            elif ledger.replayed != self.lanes[ledger.lane].replayed and not self.asked:
                self.broken(f"{ledger.lane} counts {ledger.replayed} replayed")

    async def committed(self, process: Process, change: Change) -> None:
        self.audited += len(change.audit)
        self.tell(process, "change", *(type(write).__name__ for write in change.writes))
        for write in change.writes:
            self._write(process, write)
        for store in sorted({entry.store for entry in change.audit if entry.store is not None}):
            self._forget(process, store)
            await self._check_ledgers(store)

    def _write(self, process: Process, write: Write) -> None:
        match write:
            case CloseLane(lane, queued):
                self.lanes[lane].close(self.head(lane.store), queued)
            case OpenLane(lane):
                self.lanes[lane].reopen(self.head(lane.store))
            case ReplayHeld(lane, positions, not_before):
                self.lanes[lane].replay(positions, not_before, process)
                self.coverage.saw("move", "parked replayed")
            case ReplayResolved(lane, positions, _, not_before):
                self.lanes[lane].replay(positions, not_before, process)
                self.coverage.saw("act", "replay_resolved")
            case MoveConnection(connection, _):
                self.coverage.saw("state", connection.state)
                if connection.state is ConnectionState.ENABLED:
                    self.paused.pop(connection.id, None)
                else:
                    self.paused.setdefault(connection.id, self.loop.time())
            case _:
                return

    def _forget(self, process: Process, store: StoreId) -> None:
        """A change of the store lets its own process begin anew with the far ends of it, and others try again."""
        for flow in [one for one in self.failures if one[1] == store]:
            del self.failures[flow]
        for flow in [one for one in self.rests if one[:2] == (process.name, store)]:
            del self.rests[flow]

    def beaten(self, process: Process, standing: Standing) -> None:
        self.coverage.saw("lease", "beat")

    def claimed(self, process: Process, slots: Mapping[int, int]) -> None:
        if slots:
            self.tell(process, "claims", len(slots))
        for slot, epoch in slots.items():
            self.owners[slot] = (process.name, epoch)

    # The product's own lines

    def line(self, process: Process, name: str, fields: Mapping[str, Value]) -> None:
        match name:
            case "delivery.attempted" if fields["items"] == 1:
                lane = LaneId(StoreId(str(fields["store"])), _con(fields["connection"]), _route(fields["route"]))
                self.attempted(process, lane, _position(fields["position"]), str(fields["next"]))
                wait = fields["retry_in_ms"]
                self.tries.append((int(str(fields["attempt"])), None if wait is None else int(str(wait))))
            case "delivery.failed" if fields["store"] is None and fields["error"] == "TimeoutError":
                self.coverage.saw("lease", "a beat took too long")
            case "delivery.failed" | "engine.failed":
                self.broken(f"{process} says {name} {fields}")
            case "delivery.paused":
                self.coverage.saw("paused", fields["reason"])
            case _:
                self.coverage.saw("line", name)

    # The end

    def owing(self) -> list[LaneId]:
        """Lanes that have not come to the end of what was kept."""
        return [
            lane
            for lane, book in self.lanes.items()
            if not book.open or book.unresolved(self.facts.get(lane.store, {}))
        ]

    def owed(self, lane: LaneId) -> list[Fact]:
        return self.lanes[lane].unresolved(self.facts.get(lane.store, {}))

    def close(self) -> None:
        """Nothing has vanished."""
        for fact in self.by_id.values():
            if fact.acked and not fact.position:
                self.broken(f"Event {fact.number} was acknowledged, and is nowhere")
        self.loop.fail_if_broken()

    # What senders are told

    def replied(self, process: Process, facts: Sequence[Fact], reply: Reply) -> None:
        """The moment at which a process answers."""
        status = reply.status
        self.tell(process, "replies", status, *(fact.number for fact in facts))
        self.coverage.saw("ingest", status)
        for fact in facts if 200 <= status < 300 else ():
            fact.acked = True
            if not fact.position:
                self.broken(f"{process} answers {status} for event {fact.number}, which is not in the journal")


def _position(value: Value) -> Position:
    return Position(int(str(value)))


def _con(value: Value) -> ConnectionId:
    return ConnectionId(str(value))


def _route(value: Value) -> RouteName:
    return RouteName(str(value))
