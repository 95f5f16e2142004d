"""`http-json/1`: one JSON request per event, or per batch of events, as the contract's `request` says.

`render` is pure: the same parcels give the same bytes at every try, so a receiver that keeps idempotency keys sees a
repetition as one. A batch is `{"items": [...]}`, one mapped item per event, in order.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace

import msgspec

from crossdock.contracts.expressions import evaluate, fill, fill_path
from crossdock.delivery.driver import Parcel
from crossdock.drivers.answers import answer_of, item_answer
from crossdock.drivers.egress import Egress, EgressFailure, HttpAnswer, HttpRequest
from crossdock.drivers.moments import rfc3339
from crossdock.model.attempt import Answer, AnswerKind
from crossdock.model.contract import Auth, AuthScheme, Batch, Request
from crossdock.model.errors import Refused
from crossdock.model.ids import Instant, Json, JsonObject
from crossdock.model.limits import ANSWER_BYTES_MAX, BATCH_ANSWER_BYTES_MAX
from crossdock.stores.ways import Way

USER_AGENT = "Crossdock/1"
BODYLESS = frozenset({"GET", "DELETE"})
TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class HttpJson:
    name = "http-json/1"

    def __init__(self, egress: Egress) -> None:
        self._egress = egress

    async def deliver(self, way: Way, parcels: tuple[Parcel, ...], now: Instant) -> tuple[Answer, ...]:
        request = render(way, parcels)
        if isinstance(request, Answer):
            return (request,) * len(parcels)
        return interpret(way, parcels, await self._egress.request(request), now)


def render(way: Way, parcels: tuple[Parcel, ...]) -> HttpRequest | Answer:
    """The request, or the answer that stands for not having one: the event cannot be rendered, the destination is not
    known, a credential is missing."""
    rule = way.route.request
    target = way.targets.get(rule.to) if rule is not None else None
    if rule is None or target is None or not parcels:
        return Answer(AnswerKind.FORBIDDEN, "destination_unknown", 0)
    auth = _auth_headers(way, way.contract.auth)
    if auth is None:
        return Answer(AnswerKind.UNAUTHORISED, "credential_missing", 0)
    try:
        names = _names(way, parcels[0])
        body = b"" if rule.method in BODYLESS else _body(way, rule, parcels)
        path = fill_path(rule.path, names)
        listed = [(name.lower(), fill(value, names)) for name, value in rule.headers.items()]
    except (Refused, msgspec.MsgspecError, TypeError, ValueError, RecursionError):
        return Answer(AnswerKind.UNRENDERABLE, "mapping", 0)
    headers = {"user-agent": USER_AGENT, "accept": "application/json"}
    if body:
        headers["content-type"] = "application/json"
    headers.update(listed)
    headers.update(_tracing(parcels))
    if way.route.idempotency.header:
        headers[way.route.idempotency.header.lower()] = _idempotency_key(parcels)
    headers.update(auth)
    return HttpRequest(
        store=way.lane.store,
        connection=way.lane.connection,
        target=target,
        method=rule.method,
        path=path,
        headers=tuple(headers.items()),
        body=body,
        timeout_ms=way.route.delivery.timeout_ms,
        answer_bytes_max=BATCH_ANSWER_BYTES_MAX if way.route.batch is not None else ANSWER_BYTES_MAX,
    )


def interpret(
    way: Way, parcels: tuple[Parcel, ...], outcome: HttpAnswer | EgressFailure, now: Instant
) -> tuple[Answer, ...]:
    """One answer per parcel, whatever came back."""
    whole = answer_of(outcome, way.route.retry, now)
    batch = way.route.batch
    if batch is None or not batch.per_item or whole.kind is not AnswerKind.TAKEN or isinstance(outcome, EgressFailure):
        return (whole,) * len(parcels)
    results = _results(batch, outcome)
    if results is None:
        return (Answer(AnswerKind.BROKEN, "results_unreadable", whole.took_ms, whole.status),) * len(parcels)
    item_id = way.route.request.item_id if way.route.request is not None else ""
    found = _by_id(results, item_id, parcels) if item_id else results
    statuses = [one.get(batch.status) if isinstance(one, dict) else None for one in found[: len(parcels)]]
    statuses += [None] * (len(parcels) - len(statuses))
    items = (item_answer(status, way.route.retry, whole.took_ms) for status in statuses)
    return tuple(replace(one, left=whole.left, left_ms=whole.left_ms) for one in items)


def document(way: Way, parcel: Parcel) -> JsonObject:
    """What a mapping sees: {event, data, config}."""
    event: JsonObject = {
        "id": parcel.event_id,
        "type": parcel.type,
        "source": parcel.source,
        "time": rfc3339(parcel.occurred_at),
        "key": parcel.key,
        "idempotency_key": parcel.idempotency_key,
        "correlation_id": parcel.correlation_id,
        "replay": parcel.replay,
    }
    return {"event": event, "data": parcel.data, "config": way.config}


def _names(way: Way, parcel: Parcel) -> JsonObject:
    """What a template may name: fields of the data by themselves, and {event.x}, {data.x}, {config.x}."""
    return {**parcel.data, **document(way, parcel)}


def _body(way: Way, rule: Request, parcels: tuple[Parcel, ...]) -> bytes:
    items = [evaluate(rule.mapping, document(way, one)) if rule.mapping else one.data for one in parcels]
    whole: Json = items[0] if way.route.batch is None else {"items": items}
    return msgspec.json.encode(whole, order="deterministic")


def _auth_headers(way: Way, auth: Auth) -> dict[str, str] | None:
    if auth.scheme is AuthScheme.NONE:
        return {}
    secrets = way.secrets.get(auth.secret, ())
    if not secrets:
        return None
    secret = secrets[0].reveal().decode("latin-1")
    if auth.scheme is AuthScheme.BEARER:
        return {"authorization": f"Bearer {secret}"}
    if auth.scheme is AuthScheme.API_KEY_HEADER:
        return {auth.header.lower(): secret}
    users = way.secrets.get(auth.username, ())
    user = users[0].reveal() if users else auth.username.encode()
    if way.contract.slot(auth.username) is not None and not users:
        return None
    return {"authorization": "Basic " + base64.b64encode(user + b":" + secrets[0].reveal()).decode("ascii")}


def _tracing(parcels: tuple[Parcel, ...]) -> dict[str, str]:
    """Trace context goes on (W3C traceparent) where one request is one event."""
    parent = parcels[0].traceparent or ""
    return {"traceparent": parent} if len(parcels) == 1 and TRACEPARENT.fullmatch(parent) else {}


def _idempotency_key(parcels: tuple[Parcel, ...]) -> str:
    """A single event's own key; for several, one that the same events in the same order give again."""
    if len(parcels) == 1:
        return parcels[0].idempotency_key
    return hashlib.sha256("\n".join(one.idempotency_key for one in parcels).encode()).hexdigest()


def _results(batch: Batch, outcome: HttpAnswer) -> list[Json] | None:
    if outcome.cut:
        return None
    try:
        answer: Json = msgspec.json.decode(outcome.body)
        found = evaluate(batch.results, answer) if batch.results else answer
    except (Refused, msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError, ValueError):
        return None
    return found if isinstance(found, list) else None


def _by_id(results: list[Json], item_id: str, parcels: tuple[Parcel, ...]) -> list[Json]:
    """The results in the order of the parcels; each names its event's id or idempotency key."""
    named: dict[Json, Json] = {}
    for one in results:
        try:
            key = evaluate(item_id, one)
        except Refused:
            continue
        if isinstance(key, str):
            named[key] = one
    return [named.get(parcel.idempotency_key, named.get(parcel.event_id)) for parcel in parcels]
