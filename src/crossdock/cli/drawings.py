"""The pictures and tables of `docs/guides/how-delivery-decides.md`, drawn from what the program runs: each stands in
the page between `<!-- drawn: NAME -->` and `<!-- end -->`, and a test compares."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

from crossdock.cli.reference import table
from crossdock.delivery.decide import decide
from crossdock.delivery.pace import BREAKER_MOVES, BreakerState
from crossdock.model import limits
from crossdock.model.attempt import Answer, AnswerKind, Decision, Park, Retry
from crossdock.model.connection import CONNECTION_MOVES, ConnectionState
from crossdock.model.contract import RetryRule
from crossdock.model.ids import Instant
from crossdock.model.lane import MOVES, HeldState

State = TypeVar("State", bound=StrEnum)
Signal = TypeVar("Signal", bound=StrEnum)
MARKED = re.compile(r"(<!-- drawn: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
RULE = RetryRule(first_ms=1_000, max_ms=limits.HOUR_MS, attempts_max=8, for_ms=limits.DAY_MS)
BOUNDS = (
    "LANE_IN_FLIGHT_MAX",
    "STORE_IN_FLIGHT_MAX",
    "FAST_IN_FLIGHT_MAX",
    "SLOW_IN_FLIGHT_MAX",
    "SLOW_MS",
    "FAST_AGAIN_MS",
    "CONCURRENCY_FIRST",
    "QUANTUM_COST",
    "WINDOW_ENTRIES_MAX",
    "LANE_HELD_MAX",
    "TURN_MS_MAX",
    "BREAKER_FAILURES",
    "BREAKER_OPEN_MS_MIN",
    "BREAKER_OPEN_MS_MAX",
    "RETRY_AFTER_MS_MAX",
    "RETRY_TRUST",
    "RETRIES_SAVED_MAX",
    "RETRIES_GRANTED_MAX",
    "RETRIES_GRANTED_PER_MINUTE",
    "STORE_RETRIES_PER_SECOND",
    "PROCESS_RETRIES_PER_SECOND",
)


def states(moves: Mapping[tuple[State, Signal], State], begins: Sequence[State] = ()) -> str:
    """A state diagram (Mermaid) of a table of moves; signals that lead the same way share an arrow, and those that
    change nothing are left out."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (before, signal), after in moves.items():
        if before != after:
            arrows.setdefault((str(before), str(after)), []).append(str(signal).replace("_", " "))
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f"    [*] --> {state}" for state in begins]
    lines += [f"    {before} --> {after}: {', '.join(signals)}" for (before, after), signals in arrows.items()]
    return "\n".join([*lines, "```"]) + "\n"


def word_of(decision: Decision) -> str:
    if isinstance(decision, Retry):
        return f"kept, and the connection pauses: {decision.pause}" if decision.pause else "retry"
    if isinstance(decision, Park):
        return f"park: {decision.reason}"
    return type(decision).__name__.lower()


def decisions() -> str:
    """What follows from each answer: at the first attempt, and at the last that the contract allows."""

    def after(kind: AnswerKind, attempt: int) -> str:
        answer = Answer(kind, str(kind), 1)
        made = decide(answer, attempt=attempt, first_at=Instant(0), now=Instant(0), rule=RULE, dice=lambda: 0.5)
        return word_of(made)

    rows = [
        (f"`{kind}`", after(kind, 1), after(kind, RULE.attempts_max))
        for kind in AnswerKind
        if kind is not AnswerKind.UNSENT
    ]
    return table(("The far end's answer", "At first", "At the last attempt"), rows)


def bounds() -> str:
    return table(("Bound", "Value"), [(f"`{name}`", f"{getattr(limits, name):,}") for name in BOUNDS])


DRAWINGS: Mapping[str, Callable[[], str]] = {
    "held": lambda: states(MOVES, [HeldState.RETRYING, HeldState.WAITING, HeldState.PARKED]),
    "breaker": lambda: states(BREAKER_MOVES, [BreakerState.CLOSED]),
    "connection": lambda: states(CONNECTION_MOVES, [ConnectionState.DRAFT]),
    "decisions": decisions,
    "bounds": bounds,
}


def drawn(text: str) -> str:
    """The page with each drawing as it is now. KeyError for one that is not known."""
    return MARKED.sub(lambda found: found[1] + DRAWINGS[found[2]]() + found[3], text)
