"""The plan of one turn, and the change that follows from it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crossdock.delivery.schedule import (
    UNWANTED,
    Bounds,
    Facts,
    Filter,
    Hold,
    LetErased,
    LetExpire,
    Plan,
    Scene,
    Send,
    SetAside,
    Supersede,
    plan,
)
from crossdock.delivery.tally import Erased, Told, Tried, tally
from crossdock.journal.books import check_books
from crossdock.model.attempt import Expire, Park, ParkReason, Retry, Settle
from crossdock.model.ids import ConnectionId, Instant, LaneId, Position, RouteName, StoreId
from crossdock.model.lane import Held, HeldState, Lane, Skip

NOW = Instant(1_000_000)
LANE = LaneId(StoreId("one"), ConnectionId("con"), RouteName("push"))
WIDE = Bounds(sends_max=1_000, held_max=1_000)


def at(*positions: int) -> tuple[Position, ...]:
    return tuple(Position(one) for one in positions)


def wanted(**keys: str) -> dict[Position, Facts]:
    return {Position(int(name[1:])): Facts(True, key) for name, key in keys.items()}


def row(position: int, key: str, state: HeldState = HeldState.RETRYING, not_before: int = 0) -> Held:
    return Held(Position(position), state, Instant(not_before), 1, key, "http_503", Instant(5))


def test_each_entry_ends_as_its_facts_say() -> None:
    facts = {
        Position(1): UNWANTED,
        Position(2): Facts(True, "", expires_at=NOW),
        Position(3): Facts(True, "", erased=True),
        Position(4): Facts(True, "", trouble=ParkReason.UNREADABLE),
        Position(5): Facts(True, ""),
    }
    scene = Scene((), frozenset(), at(1, 2, 3, 4, 5, 6, 7), (Skip(Position(5), Position(7)),))
    assert plan(scene, facts, WIDE, NOW).window == (
        Filter(Position(1)),
        LetExpire(Position(2)),
        LetErased(Position(3)),
        SetAside(Position(4), ParkReason.UNREADABLE),
        Send(Position(5), ""),
        Filter(Position(6)),
        Filter(Position(7)),
    )


def test_entries_of_one_key_make_one_chain_and_others_go_beside_it() -> None:
    facts = wanted(p1="a", p2="b", p3="a", p4="", p5="")
    assert plan(Scene((), frozenset(), at(1, 2, 3, 4, 5)), facts, WIDE, NOW).chains() == (
        at(1, 3),
        at(2),
        at(4),
        at(5),
    )


def test_an_entry_waits_behind_a_held_one_of_its_key_and_only_of_its_key() -> None:
    scene = Scene((row(1, "a", not_before=NOW + 1),), frozenset(), at(2, 3))
    made = plan(scene, wanted(p2="a", p3="b"), WIDE, NOW)
    assert made.window == (Hold(Position(2), "a"), Send(Position(3), "b"))


def test_a_due_row_behind_an_earlier_one_of_its_key_waits() -> None:
    held = (row(1, "a", not_before=NOW + 1), row(2, "a"))
    made = plan(Scene(held, frozenset(at(2)), ()), wanted(p2="a"), WIDE, NOW)
    assert made.held == (Hold(Position(2), "a"),)


def test_a_due_row_leads_the_chain_of_those_that_waited_for_it() -> None:
    held = (row(1, "a"), row(2, "a", HeldState.WAITING))
    made = plan(Scene(held, frozenset(at(1, 2)), at(3)), wanted(p1="a", p2="a", p3="a"), WIDE, NOW)
    assert made.chains() == (at(1, 2, 3),)


def test_the_newest_of_a_key_supersedes_what_is_older_held_or_not() -> None:
    held = (row(1, "a", not_before=NOW + 9), row(2, "b"), row(3, "a", HeldState.WAITING))
    facts = wanted(p2="b", p4="a", p5="c", p6="a")
    made = plan(Scene(held, frozenset(at(2)), at(4, 5, 6)), facts, Bounds(99, 99, collapse=True), NOW)
    assert made.held == (
        Supersede(Position(1), Position(6)),
        Send(Position(2), "b"),
        Supersede(Position(3), Position(6)),
    )
    assert made.window == (Supersede(Position(4), Position(6)), Send(Position(5), "c"), Send(Position(6), "a"))


def test_what_will_not_be_sent_supersedes_nothing() -> None:
    facts = wanted(p1="a") | {Position(2): Facts(True, "a", expires_at=NOW), Position(3): UNWANTED}
    made = plan(Scene((), frozenset(), at(1, 2, 3)), facts, Bounds(99, 99, collapse=True), NOW)
    assert made.window[0] == Send(Position(1), "a")


def test_the_cursor_stops_before_what_the_lane_may_not_hold() -> None:
    held = (row(1, "a", not_before=NOW + 9), row(2, "b", not_before=NOW + 9))
    scene = Scene(held, frozenset(), at(3, 4, 5))
    facts = {Position(3): UNWANTED, **wanted(p4="c", p5="d")}
    made = plan(scene, facts, Bounds(sends_max=9, held_max=3), NOW)
    assert made.window == (Filter(Position(3)), Send(Position(4), "c"))
    assert made.stopped


def test_the_cursor_stops_before_what_may_not_be_sent() -> None:
    made = plan(Scene((), frozenset(), at(1, 2)), wanted(p1="", p2=""), Bounds(1, 99), NOW)
    assert made.window == (Send(Position(1), ""),)
    assert made.stopped


KEYS = st.sampled_from(["", "a", "b", "c"])
FACTS = st.builds(
    Facts,
    wanted=st.integers(0, 4).map(bool),
    key=KEYS,
    expires_at=st.sampled_from([None, None, None, NOW, Instant(NOW + 1)]),
    erased=st.integers(0, 9).map(lambda die: die == 0),
    trouble=st.sampled_from([None, None, None, None, ParkReason.UNREADABLE]),
)
OUTCOMES = st.sampled_from(
    [Settle(), Settle(), Retry(Instant(NOW + 9), "http_503"), Park(ParkReason.REJECTED), Expire(), Erased(), None]
)


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Scene, dict[Position, Facts], Bounds]:
    cursor = draw(st.integers(0, 8))
    held = tuple(
        row(position, draw(KEYS), draw(st.sampled_from([HeldState.RETRYING, HeldState.WAITING])))
        for position in range(1, cursor + 1)
        if draw(st.booleans())
    )
    ready = frozenset(one.position for one in held if draw(st.booleans()))
    window = at(*range(cursor + 1, cursor + 1 + draw(st.integers(0, 10))))
    facts = {position: draw(FACTS) for position in window}
    for one in held:
        if one.position in ready:
            facts[one.position] = Facts(draw(st.integers(0, 4).map(bool)), one.key)
    bounds = Bounds(draw(st.integers(0, 12)), draw(st.integers(0, 12)), draw(st.booleans()))
    return Scene(held, ready, window), facts, bounds


def in_order(made: Plan, facts: dict[Position, Facts], scene: Scene) -> None:
    """No send of a key before an earlier unresolved one of that key, unless that one is sent before it."""
    acted = {action.position: action for action in (*made.held, *made.window)}
    unresolved: set[str] = set()
    for one in scene.held:
        action = acted.get(one.position)
        if isinstance(action, Send):
            assert not (one.key and one.key in unresolved)
        elif (action is None or isinstance(action, Hold)) and one.key:
            unresolved.add(one.key)
    for action in made.window:
        if isinstance(action, Send):
            assert not (action.key and action.key in unresolved)
        elif isinstance(action, Hold):
            unresolved.add(action.key)


@given(scenes(), st.data())
def test_whatever_happens_the_plan_keeps_order_and_bounds_and_the_books_balance(
    given_: tuple[Scene, dict[Position, Facts], Bounds], data: st.DataObject
) -> None:
    scene, facts, bounds = given_
    made = plan(scene, facts, bounds, NOW)
    in_order(made, facts, scene)
    sends = [action for action in (*made.held, *made.window) if isinstance(action, Send)]
    assert len(sends) <= bounds.sends_max
    new = [action for action in made.window if isinstance(action, Hold | Send)]
    assert not new or len(scene.held) + len(new) <= bounds.held_max + sum(
        not isinstance(action, Send | Hold) for action in made.held
    )
    assert [action.position for action in made.window] == list(scene.window[: len(made.window)])

    tried: dict[Position, Tried] = {}
    for chain in made.chains():
        for position in chain:
            outcome = data.draw(OUTCOMES)
            if outcome is None:
                break
            tried[position] = Tried(outcome, 2, NOW)
            if isinstance(outcome, Retry):
                break
    cursor = Position(scene.window[0] - 1) if scene.window else Position(8)
    lane = Lane(LANE, Position(0), cursor, True)
    held = {one.position: one for one in scene.held}
    change = tally(lane, made, held, tried, Told(), NOW)
    check_books(change, held, Position(100))
    assert set(tried) <= {one.position for one in change.hold} | set(change.release) | set(
        range(change.cursor_from + 1, change.cursor_to + 1)
    )


def test_what_was_not_tried_stays_after_the_cursor_unless_something_behind_it_was() -> None:
    facts = wanted(p1="a", p2="b", p3="c", p4="c", p5="d", p6="e")
    made = plan(Scene((), frozenset(), at(1, 2, 3, 4, 5, 6)), facts, WIDE, NOW)
    retry = Retry(Instant(NOW + 9), "http_503")
    tried = {
        Position(1): Tried(Settle(), 1, NOW),
        Position(3): Tried(retry, 1, NOW),
        Position(5): Tried(Settle(), 1, NOW),
    }
    change = tally(Lane(LANE, Position(0), Position(0), True), made, {}, tried, Told(), NOW)
    assert change.cursor_to == 5
    assert [(one.position, one.state, one.attempts) for one in change.hold] == [
        (2, HeldState.RETRYING, 0),
        (3, HeldState.RETRYING, 1),
        (4, HeldState.WAITING, 0),
    ]
    assert change.counts.delivered == 2
