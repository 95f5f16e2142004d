"""What an append wrote is found by the poll however long its commit waited."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from crossdock.engines.postgres.marks import OVERLAP_SECONDS, Look, Marks

STARTED = 1_000


@dataclass
class Server:
    """Transactions as a server has them: each stamps what it writes when it begins, and shows it when it has ended."""

    second: int = 100_000
    next: int = 7
    open: dict[int, int] = field(default_factory=dict)
    shown: list[tuple[int, int]] = field(default_factory=list)

    def begin(self) -> None:
        self.open[self.next] = self.second
        self.next += 1

    def end(self, nth: int) -> None:
        if self.open:
            number = sorted(self.open)[nth % len(self.open)]
            self.shown.append((number, self.open.pop(number)))

    def look(self) -> Look:
        oldest, own = min(self.open, default=self.next), self.next
        self.next += 1
        return Look(STARTED, self.second, oldest, own)


Step = st.one_of(
    st.tuples(st.just("begin"), st.just(0)),
    st.tuples(st.just("end"), st.integers(0, 5)),
    st.tuples(st.just("pass"), st.integers(1, 3 * OVERLAP_SECONDS)),
    st.tuples(st.just("look"), st.just(0)),
)


@given(st.lists(Step, max_size=80))
def test_a_poll_names_all_that_has_ended_since_or_says_that_it_cannot(steps: list[tuple[str, int]]) -> None:
    server, marks, mark, seen = Server(), Marks(), None, set[int]()
    for what, value in [*steps, ("look", 0)]:
        match what:
            case "begin":
                server.begin()
            case "end":
                server.end(value)
            case "pass":
                server.second += value
            case _:
                named = {number for number, stamp in server.shown if mark is not None and stamp >= mark}
                asked_with, (mark, whole) = mark, marks.next(server.look())
                # A look that is not whole is made up for by one at every lane.
                seen |= named if whole and asked_with is not None else {number for number, _ in server.shown}
                assert seen == {number for number, _ in server.shown}


def test_a_mark_goes_on_while_nothing_is_open_and_only_as_far_as_all_has_ended() -> None:
    server, marks = Server(), Marks()
    assert marks.next(server.look()) == (100_000 - OVERLAP_SECONDS, False)
    server.begin()
    for _ in range(3):
        server.second += 100
        mark, whole = marks.next(server.look())
        assert whole
        assert mark <= 100_100 - OVERLAP_SECONDS
    server.end(0)
    for _ in range(2):
        server.second += 100
        mark, whole = marks.next(server.look())
    assert (mark, whole) == (100_400 - OVERLAP_SECONDS, True)


def test_another_server_knows_nothing_of_the_marks_of_the_one_before() -> None:
    server, marks = Server(), Marks()
    marks.next(server.look())
    other = Look(STARTED + 1, server.second, server.next, server.next)
    assert marks.next(other) == (server.second - OVERLAP_SECONDS, False)
    assert marks.next(other) == (server.second - OVERLAP_SECONDS, True)
