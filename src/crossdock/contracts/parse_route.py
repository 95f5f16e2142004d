"""A route of a contract, from its section."""

from __future__ import annotations

import re

from crossdock.contracts.files import Files
from crossdock.contracts.section import Section
from crossdock.model.contract import (
    Batch,
    Collapse,
    DataClass,
    DeliveryRule,
    Direction,
    EventSchema,
    FieldRule,
    IdempotencyRule,
    InboundLimits,
    Mail,
    Protect,
    Rate,
    Request,
    Retention,
    RetryRule,
    Route,
    Source,
    Verify,
)
from crossdock.model.ids import ROUTE_NAME, RouteName
from crossdock.model.limits import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS

CORE_DRIVER = "core-push/1"
"""What carries an inbound route's events on to the commerce core; a contract cannot choose another."""
STORE = "store"
PER_MS = {"second": SECOND_MS, "minute": MINUTE_MS, "hour": HOUR_MS}
DRIVER_NAME = re.compile(r"[a-z][a-z0-9-]*/[1-9][0-9]*")
METHOD = re.compile(r"GET|POST|PUT|PATCH|DELETE")
ON_UNKNOWN = re.compile(r"drop|reject")
REPLAY = re.compile(r"allow|refuse")
EXHAUSTED = re.compile(r"park|pause")
NOTHING = EventSchema("", 0, {}, {})


def parse_route(section: Section, files: Files) -> Route:
    direction = section.choice("direction", Direction)
    if direction is Direction.BIDIRECTIONAL:
        section.wrong(section.node.at("direction"), "A route goes one way.", "Write inbound or outbound.")
    webhook, idempotency = section.section("webhook"), section.section("idempotency_key")
    batch, source, limits = section.section("batch"), section.section("source"), section.section("limits")
    mail, request = section.section("mail"), section.section("request")
    inbound = CORE_DRIVER if direction is Direction.INBOUND else None
    route = Route(
        name=RouteName(section.text("name", pattern=ROUTE_NAME)),
        direction=direction,
        driver=section.text("driver", inbound, DRIVER_NAME),
        event=_event(section.needed("event"), files),
        fields=tuple(_field(pointer, rule) for pointer, rule in section.named("fields", required=True)),
        delivery=_delivery(section.section("delivery")),
        retry=_retry(section.needed("retry")),
        retention=_retention(section.needed("retention")),
        scopes=section.texts("scopes"),
        when=section.text("when", "") or None,
        mapping=files.mapping(section, "map"),
        ordering=_ordering(section),
        idempotency=_idempotency(idempotency) if idempotency else IdempotencyRule(("event.id",)),
        collapse=section.choice("collapse", Collapse, Collapse.NONE),
        expires_after_ms=section.optional_duration("expires_after"),
        refuses_replay=section.text("replay", "allow", REPLAY) == "refuse",
        request=_request(request, files) if request else None,
        mail=_mail(mail) if mail else None,
        webhook_to=webhook.text("to") if webhook else "",
        webhook_secret=webhook.text("secret") if webhook else "",
        batch=_batch(batch) if batch else None,
        source=_source(source) if source else None,
        limits=_limits(limits) if limits else None,
        reject_unknown_fields=section.text("on_unknown_fields", "drop", ON_UNKNOWN) == "reject",
    )
    if webhook:
        webhook.end()
    section.end()
    return route


def _event(section: Section, files: Files) -> EventSchema:
    type_ = section.text("type")
    schema = files.schema(section, "schema")
    if schema is not None and schema.type != type_:
        section.wrong(section.node.at("type"), "The schema's file is of another event type.", f"Write {schema.type}.")
    section.end()
    return schema or NOTHING


def _field(pointer: str, section: Section) -> FieldRule:
    protect = section.choice("protect", Protect, Protect.PLAIN) if section.has("protect") else None
    rule = FieldRule(pointer, section.choice("class", DataClass), protect, section.text("why", ""))
    if protect is None:
        section.take("protect", required=False)
    section.end()
    return rule


def _ordering(section: Section) -> tuple[str, ...]:
    """`none` or [store, pointer, ...]. That it starts with the store is rule X020."""
    found = section.take("ordering_key", required=True)
    if found is None or found.value == "none":
        return ()
    if not isinstance(found.value, list):
        section.wrong(found, "ordering_key must be none or a list.", "Write none, or [store, /pointer].")
    names = [str(item.value) for item in found.items]
    return tuple(name for name in names if name != STORE)


def parse_rate(section: Section) -> Rate:
    per = section.text("per", pattern=re.compile("|".join(PER_MS)))
    limit = section.number("limit", low=1, high=100_000)
    burst = section.number("burst", limit, low=1, high=100_000)
    section.end()
    return Rate(limit, PER_MS.get(per, SECOND_MS), burst)


def _delivery(section: Section | None) -> DeliveryRule:
    if section is None:
        return DeliveryRule()
    rate = section.section("rate")
    rule = DeliveryRule(
        timeout_ms=section.duration("timeout", DeliveryRule().timeout_ms),
        concurrency=section.number("concurrency", DeliveryRule().concurrency, low=1, high=10_000),
        rate=parse_rate(rate) if rate else None,
    )
    section.end()
    return rule


def _retry(section: Section) -> RetryRule:
    section.text("jitter", "full")  # rule R003 judges it
    rule = RetryRule(
        first_ms=section.duration("first"),
        max_ms=section.duration("max"),
        attempts_max=section.number("attempts", low=1, high=100),
        for_ms=section.duration("for"),
        permanent=section.numbers("permanent"),
        auth=section.numbers("auth", frozenset({401, 403})),
        pause_when_exhausted=section.text("on_exhausted", "park", EXHAUSTED) == "pause",
    )
    section.end()
    return rule


def _retention(section: Section) -> Retention:
    rule = Retention(
        payload_ms=section.duration("payload"),
        attempts_ms=section.duration("attempts"),
        parked_ms=section.duration("parked"),
        personal_ms=section.optional_duration("personal"),
    )
    section.end()
    return rule


def _idempotency(section: Section) -> IdempotencyRule:
    rule = IdempotencyRule(
        sources=section.texts("from", required=True),
        header=section.text("header", ""),
        window_ms=section.duration("window", 30 * DAY_MS),
    )
    section.end()
    return rule


def _request(section: Section, files: Files) -> Request:
    request = Request(
        method=section.text("method", pattern=METHOD),
        to=section.text("to"),
        path=section.text("path"),
        mapping=files.mapping(section, "map"),
        headers=section.words("headers"),
        item_id=section.text("item_id", ""),
    )
    section.end()
    return request


def _mail(section: Section) -> Mail:
    mail = Mail(
        to_destination=section.text("to"),
        sender=section.text("sender"),
        recipient=section.text("recipient"),
        subject=section.text("subject"),
        text=section.text("text"),
    )
    section.end()
    return mail


def _batch(section: Section) -> Batch:
    batch = Batch(
        items_max=section.number("items_max", low=1, high=10_000),
        body_bytes_max=section.size("body_max"),
        wait_ms_max=section.duration("wait_max"),
        per_item=section.flag("per_item", False),
        results=section.text("results", ""),
        status=section.text("status", "status"),
    )
    section.end()
    return batch


def _source(section: Section) -> Source:
    source = Source(
        verify=section.choice("verify", Verify),
        secret=section.text("secret"),
        tolerance_ms=section.duration("tolerance", 5 * MINUTE_MS),
        knobs=section.words("knobs"),
        topic_header=section.text("topic_header", "").lower(),
        topics=frozenset(section.texts("topics")),
        payload_schema=section.document("payload_schema", required=False) or None,
        accepted_status=section.number("accepted_status", 202, low=200, high=299),
    )
    section.end()
    return source


def _limits(section: Section) -> InboundLimits:
    limits = InboundLimits(
        body_bytes_max=section.size("body_max"),
        rate=parse_rate(section.needed("rate")),
        backlog_max=section.number("backlog_max", 1_000_000, low=1, high=100_000_000),
    )
    section.end()
    return limits
