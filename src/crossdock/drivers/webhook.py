"""`webhook/1` and `core-push/1`: a signed POST of one event (Standard Webhooks 1.0 around CloudEvents 1.0).

The body is the event in CloudEvents' structured JSON form. It holds nothing of the attempt, so it is byte-identical at
every try; the time of the attempt and the mark of a replay are headers. The signature covers the exact bytes sent, and
is given for each secret that is accepted now, so that a rotation overlaps.
"""

from __future__ import annotations

import hashlib
import re

import msgspec

from crossdock.delivery.driver import Parcel
from crossdock.drivers.answers import answer_of
from crossdock.drivers.egress import Egress, HttpRequest
from crossdock.drivers.http_json import TRACEPARENT, USER_AGENT
from crossdock.drivers.moments import rfc3339
from crossdock.model.attempt import Answer, AnswerKind
from crossdock.model.contract import Verify
from crossdock.model.errors import Refused
from crossdock.model.ids import Instant, JsonObject
from crossdock.signing import SCHEMES
from crossdock.stores.ways import Way

CORE = "core"
SIGNATURE = "webhook-signature"
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
_MESSAGE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_EXTENSION = re.compile(r"[a-z0-9]{1,20}")  # CloudEvents 1.0, section 3.1.2


class Webhook:
    """One driver under two names: what differs is only whose endpoint it is, and the way says that."""

    def __init__(self, egress: Egress, name: str = "webhook/1") -> None:
        self.name = name
        self._egress = egress

    async def deliver(self, way: Way, parcels: tuple[Parcel, ...], now: Instant) -> tuple[Answer, ...]:
        return tuple([await self._one(way, parcel, now) for parcel in parcels])

    async def _one(self, way: Way, parcel: Parcel, now: Instant) -> Answer:
        request = render(way, parcel, now)
        if isinstance(request, Answer):
            return request
        return answer_of(await self._egress.request(request), way.route.retry, now)


def render(way: Way, parcel: Parcel, now: Instant) -> HttpRequest | Answer:
    """The signed request at `now`, or the answer that stands for not having one."""
    to, slot = (CORE, CORE) if way.core is not None else (way.route.webhook_to, way.route.webhook_secret)
    target = way.targets.get(to)
    if target is None or not target.paths:
        return Answer(AnswerKind.FORBIDDEN, "destination_unknown", 0)
    secrets = way.secrets.get(slot, ())
    if not secrets:
        return Answer(AnswerKind.UNAUTHORISED, "credential_missing", 0)
    try:
        body = body_of(parcel)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError):
        return Answer(AnswerKind.UNRENDERABLE, "mapping", 0)
    scheme = SCHEMES[Verify.STANDARD_WEBHOOKS]
    try:
        signed = [scheme.sign(body, secret, message_id(parcel), now, {}) for secret in secrets]
    except Refused:
        return Answer(AnswerKind.UNAUTHORISED, "credential_unusable", 0)
    headers = {"user-agent": USER_AGENT, "content-type": CONTENT_TYPE}
    headers.update({name.lower(): value for name, value in signed[0].items()})
    headers[SIGNATURE] = " ".join(value for one in signed for name, value in one.items() if name.lower() == SIGNATURE)
    if parcel.traceparent and TRACEPARENT.fullmatch(parcel.traceparent):
        headers["traceparent"] = parcel.traceparent
    if parcel.replay:
        headers["crossdock-replay"] = "1"
    return HttpRequest(
        store=way.lane.store,
        connection=way.lane.connection,
        target=target,
        method="POST",
        path=target.paths[0],
        headers=tuple(headers.items()),
        body=body,
        timeout_ms=way.route.delivery.timeout_ms,
    )


def body_of(parcel: Parcel) -> bytes:
    """The event as CloudEvents structured JSON, keys in a fixed order. An extension never replaces an attribute."""
    event: JsonObject = {name: value for name, value in parcel.extensions if _EXTENSION.fullmatch(name)}
    event.update(
        {
            "specversion": "1.0",
            "id": parcel.event_id,
            "source": parcel.source,
            "type": parcel.type,
            "time": rfc3339(parcel.occurred_at),
            "datacontenttype": "application/json",
            "data": parcel.data,
        }
    )
    return msgspec.json.encode(event, order="deterministic")


def message_id(parcel: Parcel) -> str:
    """The `webhook-id`: the event's id, or its digest where the id has a dot or cannot stand in a header."""
    if _MESSAGE_ID.fullmatch(parcel.event_id):
        return parcel.event_id
    return f"evt_{hashlib.sha256(parcel.event_id.encode()).hexdigest()}"
