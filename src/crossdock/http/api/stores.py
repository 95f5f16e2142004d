"""Stores, and how their inbound events reach the core."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field, SecretStr

from crossdock.credentials.secret import Secret
from crossdock.http.api.asked import Asked, Body, Limit, Shown, StorePath, doing
from crossdock.model.connection import CoreEndpoint, CoreMode, Store
from crossdock.model.ids import STORE_ID, StoreId
from crossdock.model.lane import Gate
from crossdock.model.limits import SECRET_BYTES_MAX, STORE_WEIGHT_MAX
from crossdock.stores.authority import Action
from crossdock.stores.store_desk import CoreWish

router = APIRouter(tags=["stores"])
LABEL_CHARS_MAX = 200


class StoreBody(Body):
    id: str = Field(pattern=f"^(?:{STORE_ID.pattern})$", description="A DNS label; it cannot be changed.")
    name: str = Field("", max_length=LABEL_CHARS_MAX)


class StoreShown(Shown):
    id: str
    name: str
    created_at: int = Field(description="Milliseconds since the Unix epoch, as every time here.")
    weight: int = Field(description="Its share of senders when they are scarce, beside stores with weight 1.")


class StorePage(Shown):
    items: list[StoreShown]
    next: str | None = Field(description="`after` of the next page; null at the end.")


class WeightBody(Body):
    weight: int = Field(strict=True, ge=1, le=STORE_WEIGHT_MAX, description="1 is a plain share; 4 is four times that.")


class GateBody(Body):
    state: Gate = Field(
        description="`closing`: no more events, no new deliveries. `shut`: nothing of the store changes. Or `open`."
    )


class GateShown(Shown):
    id: str
    state: Gate


class CoreBody(Body):
    mode: CoreMode
    url: str = Field("", max_length=2048, description="Where pushes go: https.")
    secret: SecretStr | None = Field(
        None, max_length=SECRET_BYTES_MAX, description="Signs pushes (Standard Webhooks). Write-only; absent keeps it."
    )


class CoreShown(Shown):
    mode: CoreMode
    url: str
    secret_set: bool
    version: int


def shown(store: Store) -> StoreShown:
    return StoreShown(id=store.id, name=store.name, created_at=store.created_at, weight=store.weight)


def core_shown(endpoint: CoreEndpoint) -> CoreShown:
    return CoreShown(
        mode=endpoint.mode, url=endpoint.url, secret_set=bool(endpoint.sealed_secret), version=endpoint.version
    )


@router.post("/stores", status_code=201, **doing(Action.STORE_CREATE))
async def create_store(asked: Asked, body: StoreBody) -> StoreShown:
    """Create a store. Its own key is made with it. 409 if the id is taken."""
    return shown(await asked.parts.desk.stores.create(asked.act, StoreId(body.id), body.name or body.id))


@router.get("/stores", **doing(Action.STORE_LIST))
async def list_stores(asked: Asked, after: Annotated[str, Query(max_length=63)] = "", limit: Limit = 100) -> StorePage:
    """Every store, by id."""
    items = await asked.parts.desk.stores.listed(after, limit)
    return StorePage(items=[shown(one) for one in items], next=items[-1].id if len(items) == limit else None)


@router.get("/stores/{store}", **doing(Action.STORE_READ))
async def read_store(asked: Asked, store: StorePath) -> StoreShown:
    """One store."""
    return shown(await asked.parts.desk.stores.read(store))


@router.put("/stores/{store}/weight", **doing(Action.STORE_WEIGH))
async def set_weight(asked: Asked, store: StorePath, body: WeightBody) -> StoreShown:
    """Set the store's share of senders, by which the platform's plans differ. It counts when senders are scarce."""
    return shown(await asked.parts.desk.stores.set_weight(asked.act, store, body.weight))


@router.put("/stores/{store}/gate", **doing(Action.STORE_GATE))
async def set_gate(asked: Asked, store: StorePath, body: GateBody) -> GateShown:
    """Stop a store that moves to another database, or let it go on. Its senders get 503 with Retry-After meanwhile."""
    found = await asked.parts.desk.stores.set_gate(asked.act, store, body.state)
    return GateShown(id=found.id, state=body.state)


@router.get("/stores/{store}/core", **doing(Action.CORE_READ))
async def read_core(asked: Asked, store: StorePath) -> CoreShown:
    """How the store's inbound events reach the core. Pull, unless something was set."""
    return core_shown(await asked.parts.desk.stores.core_endpoint(store))


@router.put("/stores/{store}/core", **doing(Action.CORE_SET))
async def set_core(asked: Asked, store: StorePath, body: CoreBody) -> CoreShown:
    """Set pull, or push to a URL with a signing secret."""
    secret = None if body.secret is None else Secret(body.secret.get_secret_value().encode())
    wish = CoreWish(body.mode, body.url, secret)
    return core_shown(await asked.parts.desk.stores.set_core_endpoint(asked.act, store, wish))
