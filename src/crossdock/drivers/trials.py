"""Proof before enabling: the contract's harmless call with the credentials as they are, and a sample event of each
outbound route rendered by its driver and sent nowhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from crossdock.contracts.project import minimise
from crossdock.delivery.driver import Parcel
from crossdock.drivers import http_json, smtp, webhook
from crossdock.drivers.egress import Egress, HttpAnswer
from crossdock.model.attempt import Answer
from crossdock.model.contract import Check, Contract, Direction, IdempotencyRule, Request, Route
from crossdock.model.errors import Refused
from crossdock.model.ids import CorrelationId, EventId, Instant, Json, JsonObject, LaneId, Position
from crossdock.model.limits import JSON_DEPTH_MAX
from crossdock.stores.office import Prospect
from crossdock.stores.ways import Way, Ways

CANDIDATES = ("sample", "1", "EUR", "12.00", "2026-01-01", "2026-01-01T00:00:00Z", "sample@mail.example", "0" * 8)
FORMATS = {
    "email": "sample@mail.example",
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "uri": "https://a.example/",
}


class DriverTrials:
    """`stores.office.Trials` over the real drivers and the guarded egress."""

    def __init__(self, ways: Ways, egress: Egress, clock: Callable[[], Instant]) -> None:
        self._ways = ways
        self._egress = egress
        self._clock = clock

    async def check(self, prospect: Prospect) -> str:
        check = prospect.contract.check
        way = await self._way(prospect, _any_outbound(prospect.contract))
        if check is None or way is None:
            return ""
        request = http_json.render(_checking(way, check), (self._parcel(way.route, {}),))
        if isinstance(request, Answer):
            return f"the check cannot be made: {request.code}"
        outcome = await self._egress.request(request)
        if not isinstance(outcome, HttpAnswer):
            return f"the check got no answer: {outcome.code}"
        return "" if outcome.status == check.expect else f"the check was answered with {outcome.status}"

    async def dry_run(self, prospect: Prospect) -> str:
        for route in prospect.contract.going(Direction.OUTBOUND):
            way = await self._way(prospect, route)
            trouble = "it leads nowhere" if way is None else self._rendered(way)
            if trouble:
                return f"{route.name}: {trouble}"
        return ""

    async def _way(self, prospect: Prospect, route: Route | None) -> Way | None:
        row = prospect.connection
        return None if route is None else await self._ways.way(LaneId(row.store, row.id, route.name))

    def _rendered(self, way: Way) -> str:
        made = sample(way.route.event.document)
        try:
            data = minimise(made if isinstance(made, dict) else {}, way.route.fields, lambda value: "0" * 64)
        except Refused as error:
            return error.message
        parcel = self._parcel(way.route, data)
        match way.route.driver:
            case "http-json/1":
                outcome: object = http_json.render(way, (parcel,))
            case "webhook/1":
                outcome = webhook.render(way, parcel, self._clock())
            case "smtp/1":
                outcome = smtp.render(way, parcel)
            case driver:
                return f"there is no driver {driver}"
        return f"a sample event cannot be rendered: {outcome.code}" if isinstance(outcome, Answer) else ""

    def _parcel(self, route: Route, data: JsonObject) -> Parcel:
        return Parcel(
            position=Position(1),
            event_id=EventId("evt-sample"),
            type=route.event.type,
            source="/sample",
            occurred_at=self._clock(),
            data=data,
            idempotency_key="sample",
            key="sample",
            correlation_id=CorrelationId("sample"),
            attempt=1,
        )


def _any_outbound(contract: Contract) -> Route | None:
    return next(iter(contract.going(Direction.OUTBOUND)), None)


def _checking(way: Way, check: Check) -> Way:
    """The way, with the check in place of its request."""
    request = Request(check.method, check.to, check.path)
    route = replace(way.route, request=request, batch=None, idempotency=IdempotencyRule(("event.id",)))
    return replace(way, route=route)


def sample(schema: JsonObject, depth: int = 0) -> Json:
    """A value that has the schema's shape: every property is there, so that a mapping finds what it names."""
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    for name in ("examples", "enum"):
        values = schema.get(name)
        if isinstance(values, list) and values:
            return values[0]
    if depth > JSON_DEPTH_MAX:
        return None
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties")
        found = properties.items() if isinstance(properties, dict) else ()
        return {name: sample(inner, depth + 1) for name, inner in found if isinstance(inner, dict)}
    if kind == "array":
        items = schema.get("items")
        return [sample(items, depth + 1)] if isinstance(items, dict) else []
    return _plain(kind, schema)


def _plain(kind: Json, schema: JsonObject) -> Json:
    if kind in {"integer", "number"}:
        least = schema.get("minimum", 1)
        return least if isinstance(least, int | float) else 1
    if kind == "boolean":
        return True
    return _text(schema) if kind == "string" else None


def _text(schema: JsonObject) -> str:
    known = FORMATS.get(str(schema.get("format", "")))
    if known is not None:
        return known
    pattern = schema.get("pattern")
    try:
        fitting = re.compile(pattern if isinstance(pattern, str) else "")
    except re.error:  # the pattern is of another dialect (ECMA-262)
        fitting = re.compile("")
    found = next((one for one in CANDIDATES if fitting.search(one)), "sample")
    most = schema.get("maxLength")
    return found[:most] if isinstance(most, int) else found
