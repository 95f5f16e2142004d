"""The agenda: every lane that is queued gets its turn, one at a time, and what has nothing to do is forgotten."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from crossdock.delivery.agenda import Agenda, LaneWork
from crossdock.delivery.fairness import Latency
from crossdock.journal.slots import slot_of
from crossdock.model.ids import ConnectionId, Instant, LaneId, RouteName, StoreId

LANES = [
    LaneId(StoreId(store), ConnectionId(f"con_{store}{number}"), RouteName(route))
    for store in ("a", "b")
    for number in range(2)
    for route in ("in", "out")
]
lanes = st.sampled_from(LANES)
times = st.integers(0, 50)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("queue"), lanes),
        st.tuples(st.just("at"), lanes, times),
        st.tuples(st.just("ripen"), times),
        st.tuples(st.just("take")),
        st.tuples(st.just("begin"), lanes),
        st.tuples(st.just("done"), st.integers(0, 7), st.one_of(st.none(), times), st.booleans()),
        st.tuples(st.just("drop"), lanes),
        st.tuples(st.just("lose"), lanes),
        st.tuples(st.just("gain"), lanes),
    ),
    max_size=60,
)


class Story:
    """An agenda, and beside it what must be true of it."""

    def __init__(self) -> None:
        self.foreign: set[int] = set()
        self.agenda = Agenda(lambda slot: slot not in self.foreign)
        self.running: list[LaneWork] = []
        self.owed: set[LaneId] = set()

    def do(self, step: tuple[Any, ...]) -> None:
        getattr(self, step[0])(*step[1:])

    def own(self, lane: LaneId) -> bool:
        return slot_of(lane.store, lane.connection) not in self.foreign

    def queue(self, lane: LaneId) -> None:
        self.agenda.queue(lane)
        if self.own(lane):
            self.owed.add(lane)

    def at(self, lane: LaneId, at: int) -> None:
        self.agenda.at(lane, Instant(at))

    def ripen(self, now: int) -> None:
        self.agenda.ripen(Instant(now))

    def take(self) -> None:
        found = self.agenda.take(Latency.FAST, lambda _: True, self.agenda.waits)
        assert found is not None or not (self.owed - {work.lane for work in self.running})
        if found is not None:
            self.begun(found[0])

    def begin(self, lane: LaneId) -> None:
        work = self.agenda.begin(lane)
        if work is not None:
            self.begun(work)

    def begun(self, work: LaneWork) -> None:
        assert work.lane not in [other.lane for other in self.running]
        assert self.own(work.lane)
        self.running.append(work)
        self.owed.discard(work.lane)

    def done(self, which: int, next_at: int | None, more: bool) -> None:
        if self.running:
            work = self.running.pop(which % len(self.running))
            self.agenda.done(work, 1, None if next_at is None else Instant(next_at), more)

    def drop(self, lane: LaneId) -> None:
        self.agenda.drop([lane])
        self.owed.discard(lane)

    def lose(self, lane: LaneId) -> None:
        slot = slot_of(lane.store, lane.connection)
        self.foreign.add(slot)
        gone = self.agenda.of_slots({slot})
        self.agenda.drop(gone)
        self.owed.difference_update(gone)

    def gain(self, lane: LaneId) -> None:
        self.foreign.discard(slot_of(lane.store, lane.connection))


@given(steps)
def test_each_lane_that_is_owed_a_turn_gets_one_and_never_two_at_once(steps: list[tuple[Any, ...]]) -> None:
    story = Story()
    for step in steps:
        story.do(step)
    for _ in range(200):
        while story.running:
            story.done(0, None, False)
        story.ripen(99)
        story.take()
        if not story.running:
            break
    assert not story.owed
    assert story.agenda.lanes == {}
    assert story.agenda.next_at() is None


def test_a_turn_of_a_lane_that_was_dropped_has_no_next_and_one_that_was_queued_again_has() -> None:
    agenda = Agenda(lambda slot: True)
    work = agenda.begin(LANES[0])
    assert work is not None
    agenda.drop([LANES[0]])
    agenda.done(work, 1, Instant(5), more=True)
    assert agenda.lanes == {}
    work = agenda.begin(LANES[0])
    assert work is not None
    agenda.drop([LANES[0]])
    agenda.queue(LANES[0])
    agenda.done(work, 1, None, more=False)
    assert agenda.take(Latency.FAST, lambda _: True, agenda.waits) is not None
