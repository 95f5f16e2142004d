"""Rules D and R: which data moves under which class, and bounds of time, rate and repetition that fit together."""

from __future__ import annotations

import re
from collections.abc import Iterator

from crossdock.contracts.events import class_of, has_pointer
from crossdock.contracts.finding import Finding
from crossdock.contracts.judged import Judged, Rule, Step, properties
from crossdock.contracts.pointers import tokens_of
from crossdock.model.contract import Collapse, DataClass, Direction, Protect, Route
from crossdock.model.errors import Invalid
from crossdock.model.limits import (
    ANSWER_SECONDS_MAX,
    BODY_BYTES_MAX,
    LANE_IN_FLIGHT_MAX,
    PERSONAL_RETENTION_MS_MAX,
    SECOND_MS,
)

ADR = re.compile(r"ADR-[0-9]{1,5}")
WHY_CHARS_MIN = 8


def _at(index: int, pointer: str) -> tuple[Step, ...]:
    return ("routes", index, "fields", pointer)


def fields_exist_in_the_schema(judged: Judged) -> Iterator[Finding]:
    """D001"""
    for index, route in judged.routes():
        if not route.fields:
            yield judged.say("D001", ("routes", index, "fields"), "The route lists no field.", "List what it needs.")
        for rule in route.fields:
            if not _pointer(rule.pointer) or not has_pointer(route.event, rule.pointer):
                message = f"{route.event.name} has no field {rule.pointer[:80]}."
                yield judged.at_key("D001", _at(index, rule.pointer), message, "Use * for the items of a list.")


def _pointer(text: str) -> bool:
    try:
        return bool(tokens_of(text))
    except Invalid:
        return False


def classes_are_high_enough(judged: Judged) -> Iterator[Finding]:
    """D002"""
    for index, route in judged.routes():
        for rule in route.fields:
            highest = class_of(route.event, rule.pointer)
            if highest is not None and rule.data_class < highest:
                said, true = rule.data_class.name.lower(), highest.name.lower()
                message = f"The field {rule.pointer} is classed {said}, but {route.event.name} holds {true} there."
                remedy = f"Raise the class to {true}, or list only the parts that you need."
                yield judged.say("D002", _at(index, rule.pointer), message, remedy)


def personal_fields_are_protected(judged: Judged) -> Iterator[Finding]:
    """D003 protect is said, D004 plain leaves with a reason"""
    for index, route in judged.routes():
        outbound = route.direction is Direction.OUTBOUND
        for rule in route.fields:
            at = _at(index, rule.pointer)
            if rule.data_class.personal and rule.protect is None:
                kinds = "hmac, or plain with why" if outbound else "encrypt"
                message = f"The personal field {rule.pointer} has no protect."
                yield judged.say("D003", at, message, f"Add protect: {kinds}.")
            elif outbound and rule.protect is Protect.ENCRYPT:
                yield judged.say("D003", at, "encrypt is for what comes in.", "Use hmac, or plain with why.")
            elif not outbound and rule.protect not in (None, Protect.ENCRYPT):
                yield judged.say("D003", at, "What comes in is kept encrypted.", "Use encrypt.")
            if (
                outbound
                and rule.data_class.personal
                and rule.protect is Protect.PLAIN
                and len(rule.why) < WHY_CHARS_MIN
            ):
                message = f"The personal field {rule.pointer} leaves as it is, without a reason."
                yield judged.say("D004", at, message, f"Add why: (at least {WHY_CHARS_MIN} characters), or use hmac.")


def personal_retention_is_short(judged: Judged) -> Iterator[Finding]:
    """D005 set, D006 at most 90 days"""
    for index, route in judged.routes():
        at: tuple[Step, ...] = ("routes", index, "retention")
        kept = route.retention.personal_ms
        if kept is None and any(rule.data_class.personal for rule in route.fields):
            yield judged.say(
                "D005", at, "The route moves personal data and sets no retention of it.", "Add personal: P30D."
            )
        if kept is not None and kept > PERSONAL_RETENTION_MS_MAX:
            yield judged.say("D006", (*at, "personal"), "Personal data is kept longer than 90 days.", "Shorten it.")


def secrets_of_the_business_need_a_decision(judged: Judged) -> Iterator[Finding]:
    """D007"""
    for index, route in judged.routes(Direction.OUTBOUND):
        for rule in route.fields:
            close = rule.data_class in (DataClass.CONFIDENTIAL, DataClass.SENSITIVE)
            if close and ADR.search(rule.why) is None:
                message = f"The field {rule.pointer} is {rule.data_class.name.lower()} and leaves without a decision."
                yield judged.say("D007", _at(index, rule.pointer), message, "Name the decision in why: ADR-12 ...")


def fields_do_not_overlap(judged: Judged) -> Iterator[Finding]:
    """D008"""
    for index, route in judged.routes():
        pointers = [rule.pointer for rule in route.fields]
        for pointer in pointers:
            if any(other != pointer and pointer.startswith(other + "/") for other in pointers):
                message = f"The field {pointer} lies inside another listed field."
                yield judged.at_key("D008", _at(index, pointer), message, "List the parts, not the whole.")


def keys_hold_no_personal_value(judged: Judged) -> Iterator[Finding]:
    """D009: keys stand in indexes, headers and log lines"""
    for index, route in judged.routes():
        for pointer in route.ordering:
            yield from _key(judged, route, ("routes", index, "ordering_key"), pointer)
        if route.direction is Direction.OUTBOUND:
            for pointer in route.idempotency.sources:
                if pointer.startswith("/"):
                    yield from _key(judged, route, ("routes", index, "idempotency_key"), pointer)


def _key(judged: Judged, route: Route, at: tuple[Step, ...], pointer: str) -> Iterator[Finding]:
    found = class_of(route.event, pointer) if _pointer(pointer) and has_pointer(route.event, pointer) else None
    if found is None:
        yield judged.say("D009", at, f"The key names {pointer[:80]}, which the event has not.", "Name another field.")
    elif found.personal:
        yield judged.say("D009", at, f"The key names the personal field {pointer}.", "Name one that is not personal.")


def retries_fit_what_is_kept(judged: Judged) -> Iterator[Finding]:
    """R001 horizon, R002 first and max, R003 jitter, R005 expiry"""
    for index, route in judged.routes():
        at: tuple[Step, ...] = ("routes", index, "retry")
        retry = route.retry
        if retry.for_ms > route.retention.payload_ms:
            yield judged.say("R001", (*at, "for"), "Retries go on after the payload is gone.", "Keep it as long.")
        personal = route.retention.personal_ms
        if personal is not None and personal < retry.for_ms:
            yield judged.say("R001", (*at, "for"), "Retries go on after the personal data is gone.", "Keep it as long.")
        if not 0 < retry.first_ms <= retry.max_ms <= retry.for_ms:
            yield judged.say("R002", (*at, "first"), "first, max and for do not rise.", "first <= max <= for, above 0.")
        if judged.root.has(*at, "jitter") and judged.root.at(*at, "jitter").value != "full":
            yield judged.say("R003", (*at, "jitter"), "Retries without full jitter come in waves.", "Write full.")
        if route.expires_after_ms is not None and retry.for_ms > route.expires_after_ms:
            yield judged.say("R005", (*at, "for"), "Retries go on after the event has expired.", "Shorten for.")


def answers_come_in_time(judged: Judged) -> Iterator[Finding]:
    """R004"""
    for index, route in judged.routes():
        if not 0 < route.delivery.timeout_ms <= ANSWER_SECONDS_MAX * SECOND_MS:
            at: tuple[Step, ...] = ("routes", index, "delivery", "timeout")
            yield judged.say("R004", at, "The timeout is not 1 s to 2 min.", "Write PT15S.")


def batches_keep_their_order(judged: Judged) -> Iterator[Finding]:
    """R006"""
    for index, route in judged.routes():
        if route.batch is not None and route.ordering and not route.batch.per_item:
            at: tuple[Step, ...] = ("routes", index, "batch")
            yield judged.say(
                "R006", at, "An ordered batch fails as a whole: one item would hold all.", "per_item: true"
            )
        if route.collapse is not Collapse.NONE and not route.ordering:
            at = ("routes", index, "collapse")
            yield judged.say("R006", at, "Collapse needs an ordering key: latest of what?", "Add an ordering key.")


def repeats_are_known(judged: Judged) -> Iterator[Finding]:
    """R010"""
    for index, route in judged.routes():
        window = route.idempotency.window_ms
        if window and window < route.retry.for_ms:
            at: tuple[Step, ...] = ("routes", index, "idempotency_key", "window")
            yield judged.say("R010", at, "Repeats are forgotten while retries still come.", "window >= retry.for")


def flow_is_bounded(judged: Judged) -> Iterator[Finding]:
    """R011 inbound limits, R012 outbound rate, R013 fair share"""
    for index, route in judged.routes():
        at: tuple[Step, ...] = ("routes", index)
        if route.direction is Direction.INBOUND and route.limits is None:
            yield judged.say("R011", at, "The inbound route has no limits.", "Add limits: {body_max, rate}.")
        if route.limits is not None and route.limits.body_bytes_max > BODY_BYTES_MAX:
            yield judged.say("R011", (*at, "limits", "body_max"), "The body limit is above 1MiB.", "Lower it.")
        if route.direction is Direction.OUTBOUND and route.delivery.rate is None:
            yield judged.say("R012", (*at, "delivery"), "The outbound route has no rate.", "Add rate: {per, limit}.")
        if route.delivery.concurrency > LANE_IN_FLIGHT_MAX or (
            route.delivery.concurrency * route.delivery.timeout_ms > LANE_IN_FLIGHT_MAX * 15 * SECOND_MS
        ):
            message = "Concurrency times timeout is more than the lane's fair share of senders."
            yield judged.say("R013", (*at, "delivery"), message, "Keep it at or below 64 x 15 s.")


def accounts_are_what_they_say(judged: Judged) -> Iterator[Finding]:
    """R040 the account's field is there in every config, R041 no route is allowed more than its account"""
    account = judged.contract.account
    if account is None:
        return
    known = properties(judged.contract.config)
    required = judged.contract.config.get("required")
    if account.by and (
        known.get(account.by, {}).get("type") != "string"
        or not isinstance(required, list)
        or account.by not in required
    ):
        message = f"The account is told by {account.by!r}, which is no required string of the config."
        yield judged.say("R040", ("account", "by"), message, "Name a config field that is required and a string.")
    for index, route in judged.routes():
        rate = route.delivery.rate
        ours = account.rate.limit * rate.per_ms if rate else 0
        if rate and route.direction is Direction.OUTBOUND and rate.limit * account.rate.per_ms > ours:
            message = f"The route {route.name} may call more often than its account."
            yield judged.say("R041", ("routes", index, "delivery", "rate"), message, "Lower it to the account's.")


RULES: tuple[Rule, ...] = (
    fields_exist_in_the_schema,
    classes_are_high_enough,
    personal_fields_are_protected,
    personal_retention_is_short,
    secrets_of_the_business_need_a_decision,
    fields_do_not_overlap,
    keys_hold_no_personal_value,
    retries_fit_what_is_kept,
    answers_come_in_time,
    batches_keep_their_order,
    repeats_are_known,
    flow_is_bounded,
    accounts_are_what_they_say,
)
