"""The cases beside a contract (`cases.yaml`): what its author promises, in examples that a runner can execute.

cases:
  - name: a product goes out
    kind: request        # event and config -> what the driver renders; outbound
    route: product-push
    event: {...}         # the event's data
    config: {...}
    expect: {...}        # http-json: the body; webhook: the data; smtp: {recipient, subject}
  - name: an order comes in
    kind: inbound        # what came in -> the event's data
    route: order-in
    event: {...}
    expect: {...}
  - name: too fast
    kind: answer         # what the far end says -> how it ends: settle, retry, park
    route: product-push
    answer: {status: 429, retry_after: 30}    # or {timeout_after_send: true}
    expect: retry
  - name: signed as documented
    kind: signature
    route: order-in
    ...
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from crossdock.contracts.finding import Finding, Report
from crossdock.contracts.section import Section
from crossdock.contracts.strict_yaml import read_yaml
from crossdock.model.ids import JsonObject

CASES_FILE = "cases.yaml"


class CaseKind(StrEnum):
    REQUEST = "request"
    INBOUND = "inbound"
    ANSWER = "answer"
    SIGNATURE = "signature"


class Outcome(StrEnum):
    """How a try ends (`attempt.Decision`)."""

    SETTLE = "settle"
    RETRY = "retry"
    PARK = "park"


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """`status` 0 stands for no answer at all."""

    status: int = 0
    retry_after_seconds: int | None = None
    timeout_after_send: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """`expect` is what must come out of a request or inbound case, `outcome` of an answer. A signature case holds the
    exact `body` with its `headers`, the test `secret`, the time `now_ms`, and whether it is `accepted`."""

    name: str
    kind: CaseKind
    route: str
    event: JsonObject
    config: JsonObject
    expect: JsonObject
    answer: GivenAnswer | None = None
    outcome: Outcome | None = None
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    secret: str = ""
    now_ms: int = 0
    accepted: bool = True
    line: int = 1


@dataclass(frozen=True, slots=True)
class Cases:
    cases: tuple[Case, ...]

    def of(self, kind: CaseKind, route: str | None = None) -> tuple[Case, ...]:
        return tuple(one for one in self.cases if one.kind is kind and route in (None, one.route))


def read_cases(text: str, file: str) -> tuple[Cases | None, list[Finding]]:
    """The cases, or None and what is wrong with their form (Y001, S001)."""
    report = Report(file)
    root = read_yaml(text, report)
    if root is None:
        return None, report.findings
    section = Section(root, report, "the case file")
    cases = tuple(_case(one) for one in section.listed("cases"))
    section.end()
    return (Cases(cases) if report.clean else None), report.findings


def _case(section: Section) -> Case:
    kind = section.choice("kind", CaseKind)
    name, route = section.text("name"), section.text("route")
    line = section.node.line
    event = section.document("event", required=kind in (CaseKind.REQUEST, CaseKind.INBOUND))
    config = section.document("config", required=False)
    match kind:
        case CaseKind.REQUEST | CaseKind.INBOUND:
            expect = section.document("expect", required=True)
            case = Case(name, kind, route, event, config, expect, line=line)
        case CaseKind.ANSWER:
            answer = _answer(section.needed("answer"))
            case = Case(
                name, kind, route, event, config, {}, answer, outcome=section.choice("expect", Outcome), line=line
            )
        case CaseKind.SIGNATURE:
            case = Case(
                name,
                kind,
                route,
                event,
                config,
                {},
                body=section.text("body"),
                headers=tuple(sorted(section.words("headers").items())),
                secret=section.text("secret"),
                now_ms=section.number("now_ms", high=2**53),
                accepted=section.flag("accepted", True),
                line=line,
            )
    section.end()
    return case


def _answer(section: Section) -> GivenAnswer:
    answer = GivenAnswer(
        status=section.number("status", 0, high=599),
        retry_after_seconds=section.number("retry_after", 0, high=86_400) or None,
        timeout_after_send=section.flag("timeout_after_send", False),
    )
    if bool(answer.status) == answer.timeout_after_send:
        section.wrong(section.node, "An answer is a status or timeout_after_send: true.", "Keep one of them.")
    section.end()
    return answer
