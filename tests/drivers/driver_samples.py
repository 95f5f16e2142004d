"""A contract's way and its parcels, small and complete."""

from __future__ import annotations

from crossdock.credentials.secret import Secret
from crossdock.delivery.driver import Parcel
from crossdock.model.connection import ConnectionState
from crossdock.model.contract import (
    Auth,
    AuthScheme,
    Batch,
    Contract,
    CredentialSlot,
    DeliveryRule,
    Direction,
    EventSchema,
    IdempotencyRule,
    Lifecycle,
    Mail,
    Owner,
    Purpose,
    Queued,
    Request,
    Retention,
    RetryRule,
    Route,
    Status,
    Surface,
)
from crossdock.model.ids import (
    ConnectionId,
    ContractId,
    CorrelationId,
    EventId,
    Instant,
    JsonObject,
    LaneId,
    Position,
    RouteName,
    StoreId,
)
from crossdock.stores.ways import Target, Way

NOW = Instant(1_760_000_000_000)
RULE = RetryRule(first_ms=1_000, max_ms=60_000, attempts_max=10, for_ms=3_600_000, permanent=frozenset({404, 422}))
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def parcel(number: int = 1, data: JsonObject | None = None, **other: object) -> Parcel:
    values: dict[str, object] = {
        "position": Position(number),
        "event_id": EventId(f"evt-{number}"),
        "type": "product.changed",
        "source": "/shop/north",
        "occurred_at": NOW,
        "data": data if data is not None else {"sku": f"A/{number}", "title": "Kettle", "price": {"amount": 1999}},
        "idempotency_key": f"north:evt-{number}",
        "key": f"A/{number}",
        "correlation_id": CorrelationId("cor-1"),
        "attempt": 1,
    }
    return Parcel(**{**values, **other})  # type: ignore[arg-type]


def way(
    *,
    targets: dict[str, Target],
    request: Request | None = None,
    batch: Batch | None = None,
    auth: Auth = Auth(),  # noqa: B008 - frozen
    secrets: dict[str, tuple[Secret, ...]] | None = None,
    mail: Mail | None = None,
    **other: object,
) -> Way:
    values: dict[str, object] = {
        "name": RouteName("out"),
        "direction": Direction.OUTBOUND,
        "driver": "http-json/1",
        "event": EventSchema("product.changed", 2, {}, {}),
        "fields": (),
        "delivery": DeliveryRule(timeout_ms=5_000),
        "retry": RULE,
        "retention": Retention(1, 1, 1),
        "idempotency": IdempotencyRule(("event.id",), header="Idempotency-Key"),
        "request": request,
        "batch": batch,
        "mail": mail,
        "webhook_to": "receiver",
        "webhook_secret": "signing",
    }
    core = other.pop("core", None)
    route = Route(**{**values, **other})  # type: ignore[arg-type]
    contract = Contract(
        id=ContractId("marketplace.acme"), version="1.0.0", status=Status.ACCEPTED, title="", summary="",
        owner=Owner.STORE, owner_contact="", surface=Surface.BACKEND, direction=Direction.OUTBOUND,
        purpose=Purpose.MARKETPLACE, scopes=(),
        credentials=(CredentialSlot("token", True), CredentialSlot("user", False)),
        destinations=(), auth=auth, config={}, routes=(route,), lifecycle=Lifecycle((), Queued.HOLD, 3),
    )  # fmt: skip
    return Way(
        lane=LaneId(StoreId("north"), ConnectionId("con_0123456789abcdefghjkmnpqrs"), route.name),
        contract=contract,
        route=route,
        config={"region": "eu", "from_address": "shop@north.example"},
        state=ConnectionState.ENABLED,
        revision=1,
        secrets=secrets or {},
        targets=targets,
        core=core,  # type: ignore[arg-type]
    )


def bearer(secret: str = "hush") -> tuple[Auth, dict[str, tuple[Secret, ...]]]:
    return Auth(AuthScheme.BEARER, "token"), {"token": (Secret(secret.encode()),)}
