"""Rules S, C, L and T: a contract's shape, its configuration, its life and the files beside it."""

from __future__ import annotations

from collections.abc import Iterator

from crossdock.contracts.cases import CaseKind, Cases
from crossdock.contracts.finding import Finding
from crossdock.contracts.judged import Judged, Rule, properties
from crossdock.contracts.schemas import compiled
from crossdock.model.contract import Direction, Route, Status
from crossdock.model.errors import Invalid
from crossdock.model.ids import Json, JsonObject

ENABLING_WORDS = ("enabled", "publish", "send", "active", "live", "forward", "notify")
"""A switch so named moves data when it is on: its default must be off (C003)."""


def direction_is_the_routes(judged: Judged) -> Iterator[Finding]:
    """S010"""
    going = {route.direction for _, route in judged.routes()}
    said = judged.contract.direction
    true = Direction.BIDIRECTIONAL if len(going) == 2 else next(iter(going))
    if said is not true:
        yield judged.say("S010", ("direction",), f"The routes go {true}, not {said}.", f"Write {true}.")


def coupling_belongs_to_bidirectional(judged: Judged) -> Iterator[Finding]:
    """S011"""
    both = judged.contract.direction is Direction.BIDIRECTIONAL
    if both and judged.contract.coupling is None:
        yield judged.say("S011", ("direction",), "A bidirectional contract lacks coupling.", "Write how its ways meet.")
    if not both and judged.contract.coupling is not None:
        yield judged.at_key("S011", ("coupling",), "Only a bidirectional contract has coupling.", "Remove it.")


def parts_fit_the_direction(judged: Judged) -> Iterator[Finding]:
    """S020"""
    for index, route in judged.routes(Direction.INBOUND):
        if route.source is None:
            yield judged.say("S020", ("routes", index), "An inbound route lacks source.", "Say who may send and how.")
        for part in ("request", "mail", "webhook", "batch", "driver"):
            if judged.root.has("routes", index, part):
                yield judged.at_key("S020", ("routes", index, part), f"An inbound route has no {part}.", "Remove it.")


NEEDS = {"http-json/1": "request", "smtp/1": "mail", "webhook/1": "webhook"}


def outbound_parts_fit_the_driver(judged: Judged) -> Iterator[Finding]:
    """S020"""
    for index, route in judged.routes(Direction.OUTBOUND):
        for part in ("source", "limits", "map"):
            if judged.root.has("routes", index, part):
                yield judged.at_key("S020", ("routes", index, part), f"An outbound route has no {part}.", "Remove it.")
        need = NEEDS.get(route.driver)
        if need is not None and not judged.root.has("routes", index, need):
            yield judged.say("S020", ("routes", index), f"The driver {route.driver} needs {need}.", f"Add `{need}:`.")


def config_is_a_closed_schema(judged: Judged) -> Iterator[Finding]:
    """S001"""
    schema = judged.contract.config
    try:
        compiled(schema)
    except Invalid as error:
        yield judged.at_key("S001", ("config",), f"config: {error.message}", error.remedy)
        return
    if schema.get("type") != "object" or not _closed(schema):
        remedy = "Set type: object and additionalProperties: false, on inner objects too."
        yield judged.at_key("S001", ("config",), "config must be a closed object schema.", remedy)
    for index, route in judged.routes():
        if route.source is not None and route.source.payload_schema is not None:
            try:
                compiled(route.source.payload_schema)
            except Invalid as error:
                yield judged.say("S001", ("routes", index, "source", "payload_schema"), error.message, error.remedy)


def _closed(schema: JsonObject) -> bool:
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        return False
    return all(_closed(inner) for inner in properties(schema).values())


def _optional(schema: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    required = schema.get("required")
    names = required if isinstance(required, list) else []
    yield from ((name, inner) for name, inner in properties(schema).items() if name not in names)


def optional_config_has_a_default(judged: Judged) -> Iterator[Finding]:
    """C001"""
    for name, inner in _optional(judged.contract.config):
        if "default" not in inner:
            yield judged.at_key(
                "C001",
                ("config", "properties", name),
                f"The optional setting {name} has no default.",
                "Give it a safe default, or require it.",
            )


def defaults_fit_their_schema(judged: Judged) -> Iterator[Finding]:
    """C002"""
    for name, inner in properties(judged.contract.config).items():
        if "default" in inner and not _fits(inner, inner["default"]):
            yield judged.say(
                "C002",
                ("config", "properties", name, "default"),
                f"The default of {name} does not fit its own schema.",
                "Correct one of them.",
            )


def _fits(schema: JsonObject, value: Json) -> bool:
    try:
        return compiled(schema).valid(value)
    except Invalid:
        return True  # S001 says it


def defaults_are_safe(judged: Judged) -> Iterator[Finding]:
    """C003"""
    for name, inner in properties(judged.contract.config).items():
        if inner.get("default") is True and any(word in name for word in ENABLING_WORDS):
            yield judged.say(
                "C003",
                ("config", "properties", name, "default"),
                f"By default {name} moves data that nobody asked to move.",
                "Set the default to false.",
            )


def starts_disabled_and_can_go_back(judged: Judged) -> Iterator[Finding]:
    """L001"""
    if judged.root.at("lifecycle").has("default") and judged.root.at("lifecycle", "default").value != "disabled":
        yield judged.say("L001", ("lifecycle", "default"), "An integration starts disabled.", "Write disabled.")
    if judged.contract.lifecycle.keep_versions < 1:
        yield judged.say("L001", ("lifecycle", "rollback"), "No earlier version is kept to go back to.", "Keep 1.")
    if "config_valid" not in judged.contract.lifecycle.enable_needs:
        yield judged.say(
            "L001", ("lifecycle", "enable_needs"), "Enabling does not need a valid configuration.", "Add config_valid."
        )


def files_stand_beside_it(judged: Judged) -> Iterator[Finding]:
    """T001"""
    if judged.contract.status is Status.DRAFT:
        return
    texts = judged.reading.folder.texts
    for key, file in (("page", judged.contract.page), ("tests", str(judged.root.at("tests").value))):
        if not judged.root.has(key):
            yield judged.say("T001", (), f"The contract names no {key}.", f"Add `{key}:` and the file.")
        elif not texts.get(file, "").strip():
            yield judged.say("T001", (key,), f"There is no file {file} beside the contract.", "Write it.")
    used = judged.reading.mappings
    for name in sorted(texts):
        if name.endswith(".jmespath") and name not in used:
            yield judged.say("T001", (), f"No route uses the mapping {name}.", "Remove the file, or name it.")


def cases_name_routes(judged: Judged) -> Iterator[Finding]:
    """T002"""
    names = {route.name for _, route in judged.routes()}
    for case in judged.cases.cases if judged.cases else ():
        if case.route not in names:
            yield judged.say("T002", ("tests",), f"The case {case.name!r} names no route.", "Correct its route.")


def mandatory_cases_are_there(judged: Judged) -> Iterator[Finding]:
    """T002"""
    if judged.cases is None:
        return
    for index, route in judged.routes():
        for what, there in _mandatory(judged.cases, route).items():
            if not there:
                yield judged.say("T002", ("routes", index, "name"), f"There is no case of a {what}.", "Add it.")


def _mandatory(cases: Cases, route: Route) -> dict[str, bool]:
    if route.direction is Direction.INBOUND:
        kinds = (CaseKind.INBOUND, CaseKind.SIGNATURE)
        return {f"{kind} kind": bool(cases.of(kind, route.name)) for kind in kinds}
    answers = [one.answer for one in cases.of(CaseKind.ANSWER, route.name) if one.answer]
    if route.driver == "smtp/1":
        busy = {"temporary refusal (4yz)": any(400 <= one.status <= 499 for one in answers)}
    else:
        busy = {"429 with Retry-After": any(one.status == 429 and one.retry_after_seconds for one in answers)}
    return {
        **busy,
        "timeout after send": any(one.timeout_after_send for one in answers),
        "request kind": bool(cases.of(CaseKind.REQUEST, route.name)),
    }


RULES: tuple[Rule, ...] = (
    direction_is_the_routes,
    coupling_belongs_to_bidirectional,
    parts_fit_the_direction,
    outbound_parts_fit_the_driver,
    config_is_a_closed_schema,
    optional_config_has_a_default,
    defaults_fit_their_schema,
    defaults_are_safe,
    starts_disabled_and_can_go_back,
    files_stand_beside_it,
    cases_name_routes,
    mandatory_cases_are_there,
)
