"""A fixed small set of seeds: every promise holds in each of them, and together they reach what can be reached."""

from __future__ import annotations

import pytest

from conftest import SEEDS
from crossdock.delivery.pace import BREAKER_MOVES
from crossdock.model.attempt import AnswerKind, ParkReason
from crossdock.model.lane import MOVES
from crossdock.testing.world.command import Tally
from crossdock.testing.world.manners import Manner
from crossdock.testing.world.trace import Coverage

NOT_REACHED = {
    ("move", "waiting blocked"): "a plan leaves a waiting row as it is: only a retrying one is held anew",
    ("breaker", "open failed"): "the twentieth failure in a row trips, and so does every one after it",
    ("breaker", "probing failed"): "a probe comes after twenty failures in a row: its failure trips",
    ("breaker", "open succeeded"): "needs a success that is still in flight when twenty failures have come after it",
    ("answer", "forbidden"): "what the egress would refuse the desk refuses before it is configured",
    ("park", "forbidden"): "as above",
}
"""What these seeds do not reach, and why."""

FAULTS = (
    "ack_lost", "acked_sent_again", "breaker_trips", "burst", "configure", "crash", "disable", "dns_fails", "dns_lies",
    "down", "drain", "erase", "freeze_in_a_write", "frozen", "ingest_silent", "join", "jump", "mood", "pause",
    "replay", "resume", "rot", "rotate", "same_id_other_body", "thaw", "tls_name_wrong", "up", "weather",
)  # fmt: skip
EXPECTED = {
    "move": {f"{state} {signal}" for state, signal in MOVES},
    "breaker": {f"{state} {signal}" for state, signal in BREAKER_MOVES},
    "answer": {str(kind) for kind in AnswerKind},
    "park": {str(reason) for reason in ParkReason},
    "next": {"settle", "retry", "pause", "park", "expire"},
    "end": {"superseded", "filtered", "expired"},
    "paused": {"credential_refused", "gone", "exhausted"},
    "append": {"Kept", "Duplicate", "Conflicting", "OtherKey"},
    "state": {"enabled", "paused", "disabled", "validated"},
    "turn": {"stale"},
    "act": {"replay_resolved"},
    "manner": {str(manner) for manner in Manner},
    "fault": set(FAULTS),
    "line": {"delivery.settled", "delivery.attempted", "delivery.stale", "delivery.slots", "delivery.lapsed"},
}


@pytest.mark.parametrize("plot", SEEDS)
def test_every_promise_holds_in_every_seed(plot: str, played: dict[str, Tally]) -> None:
    assert played[plot].broken == []
    assert played[plot].seeds == SEEDS[plot]


@pytest.mark.parametrize("kind", EXPECTED)
def test_all_that_can_be_reached_is_reached(kind: str, reached: Coverage) -> None:
    wanted = {name for name in EXPECTED[kind] if (kind, name) not in NOT_REACHED}
    assert sorted(wanted - reached.of(kind).keys()) == []


@pytest.mark.parametrize(("kind", "name"), NOT_REACHED)
def test_what_is_said_not_to_be_reached_is_not(kind: str, name: str, reached: Coverage) -> None:
    assert name in EXPECTED[kind]
    assert name not in reached.of(kind)


def test_something_happens_in_these_worlds(played: dict[str, Tally]) -> None:
    """No promise holds because nothing was asked of it."""
    assert sum(tally.events for tally in played.values()) > 5 * sum(SEEDS.values())
    assert sum(tally.repeats for tally in played.values()) > 50
