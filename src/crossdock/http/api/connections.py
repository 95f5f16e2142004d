"""Connections: an integration of one store, from draft to enabled and back."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from crossdock.http.api.asked import (
    VERSION_PATTERN,
    Ask,
    Asked,
    Body,
    ConnectionPath,
    IfVersion,
    Shown,
    StorePath,
    doing,
)
from crossdock.model.connection import Connection, ConnectionState, Revision
from crossdock.model.contract import Direction
from crossdock.model.ids import CONTRACT_ID, ConnectionId, ContractId, StoreId
from crossdock.stores.authority import Action
from crossdock.stores.connection_desk import ConnectWish

router = APIRouter(prefix="/stores/{store}/connections", tags=["connections"])
VersionField = Annotated[str | None, Field(pattern=VERSION_PATTERN)]


class ConnectBody(Body):
    integration: str = Field(pattern=f"^(?:{CONTRACT_ID.pattern})$", max_length=128)
    version: VersionField = Field(None, description="The contract's version; without it, the newest.")
    label: str = Field("", max_length=200)
    config: dict[str, Any] | None = Field(None, description="Without it, the contract's defaults if they are enough.")


class ConfigBody(Body):
    config: dict[str, Any]
    contract_version: VersionField = Field(None, description="Moves to another version of the contract.")


class PauseBody(Body):
    reason: str = Field("", max_length=200)


class RollbackBody(Body):
    revision: int = Field(ge=1, le=2**31, strict=True)


class NothingBody(Body):
    """Takes nothing."""


class ConnectionShown(Shown):
    id: str
    store: str
    integration: str
    contract_version: str
    state: ConnectionState
    reason: str = Field(description="Why it is paused.")
    revision: int = Field(description="The revision in force, 0 before the first.")
    version: int = Field(description="Counts changes of the connection.")
    label: str
    created_at: int
    config: dict[str, Any]
    inbound: dict[str, str] = Field(description="Where senders post, by route.")


class ConnectionItem(Shown):
    id: str
    integration: str
    state: ConnectionState
    reason: str
    revision: int
    label: str
    created_at: int


class ConnectionPage(Shown):
    items: list[ConnectionItem]
    next: None = None


class NeedShown(Shown):
    name: str
    met: bool
    why: str


class NeedsShown(Shown):
    items: list[NeedShown]
    ready: bool


class RevisionShown(Shown):
    number: int
    in_force: bool
    contract_version: str
    config: dict[str, Any]
    author: str
    at: int


class RevisionPage(Shown):
    items: list[RevisionShown]
    next: None = None


def item(connection: Connection) -> ConnectionItem:
    return ConnectionItem(
        id=connection.id,
        integration=connection.contract,
        state=connection.state,
        reason=connection.reason,
        revision=connection.revision,
        label=connection.label,
        created_at=connection.created_at,
    )


async def _shown(asked: Ask, store: StoreId, connection: ConnectionId) -> ConnectionShown:
    standing = await asked.parts.desk.connections.read(store, connection)
    row = standing.connection
    routes = standing.contract.going(Direction.INBOUND)
    base = f"{asked.parts.address}/in/{row.id}"
    return ConnectionShown(
        **item(row).model_dump(),
        store=row.store,
        contract_version=standing.contract.version,
        version=row.version,
        config=standing.config,
        inbound={route.name: base if len(routes) == 1 else f"{base}/{route.name}" for route in routes},
    )


def _revision(revision: Revision, in_force: int) -> RevisionShown:
    return RevisionShown(
        number=revision.number,
        in_force=revision.number == in_force,
        contract_version=revision.contract_version,
        config=revision.config,
        author=revision.author,
        at=revision.at,
    )


@router.post("", status_code=201, **doing(Action.CONNECTION_CREATE))
async def connect(asked: Asked, store: StorePath, body: ConnectBody) -> ConnectionShown:
    """Connect an integration. The connection is a draft: nothing moves until it is enabled."""
    wish = ConnectWish(ContractId(body.integration), body.version, body.label, body.config)
    made = await asked.parts.desk.connections.connect(asked.act, store, wish)
    return await _shown(asked, store, made.id)


@router.get("", **doing(Action.CONNECTION_READ))
async def list_connections(asked: Asked, store: StorePath) -> ConnectionPage:
    """The store's connections."""
    return ConnectionPage(items=[item(one) for one in await asked.parts.desk.connections.listed(store)])


@router.get("/{connection}", **doing(Action.CONNECTION_READ))
async def read_connection(asked: Asked, store: StorePath, connection: ConnectionPath) -> ConnectionShown:
    """One connection, with the configuration in force."""
    return await _shown(asked, store, connection)


@router.get("/{connection}/revisions", **doing(Action.CONNECTION_READ))
async def list_revisions(asked: Asked, store: StorePath, connection: ConnectionPath) -> RevisionPage:
    """Every configuration that it ever had: numbered, immutable."""
    row = (await asked.parts.desk.connections.read(store, connection)).connection
    revisions = await asked.parts.desk.connections.revisions(store, connection)
    return RevisionPage(items=[_revision(one, row.revision) for one in revisions])


@router.get("/{connection}/needs", **doing(Action.CONNECTION_VALIDATE))
async def read_needs(asked: Asked, store: StorePath, connection: ConnectionPath) -> NeedsShown:
    """What must hold before it can be enabled, and whether it does. May call the contract's check."""
    needs = await asked.parts.desk.connections.needs(store, connection)
    items = [NeedShown(name=need.name, met=need.met, why=need.why) for need in needs]
    return NeedsShown(items=items, ready=all(need.met for need in needs))


@router.put("/{connection}/config", **doing(Action.CONNECTION_CONFIGURE))
async def configure(
    asked: Asked, store: StorePath, connection: ConnectionPath, body: ConfigBody, if_version: IfVersion = None
) -> ConnectionShown:
    """A new revision, in force at once. While enabled it is refused (409) unless everything that it needs is there."""
    desk = asked.parts.desk.connections
    row = (await desk.read(store, connection)).connection
    await desk.configure(asked.act, row, body.config, body.contract_version, if_version)
    return await _shown(asked, store, connection)


@router.post("/{connection}/validate", **doing(Action.CONNECTION_VALIDATE))
async def validate(
    asked: Asked, store: StorePath, connection: ConnectionPath, body: NothingBody | None = None
) -> ConnectionShown:
    """Check configuration and credentials. 409 lists all that is missing."""
    desk = asked.parts.desk.connections
    await desk.validate(asked.act, (await desk.read(store, connection)).connection)
    return await _shown(asked, store, connection)


@router.post("/{connection}/enable", **doing(Action.CONNECTION_ENABLE))
async def enable(
    asked: Asked, store: StorePath, connection: ConnectionPath, body: NothingBody | None = None
) -> ConnectionShown:
    """Start to move data: what comes from now on."""
    desk = asked.parts.desk.connections
    await desk.enable(asked.act, (await desk.read(store, connection)).connection)
    return await _shown(asked, store, connection)


@router.post("/{connection}/pause", **doing(Action.CONNECTION_PAUSE))
async def pause(
    asked: Asked, store: StorePath, connection: ConnectionPath, body: PauseBody | None = None
) -> ConnectionShown:
    """Hold deliveries; events gather meanwhile."""
    desk = asked.parts.desk.connections
    row = (await desk.read(store, connection)).connection
    await desk.pause(asked.act, row, "" if body is None else body.reason)
    return await _shown(asked, store, connection)


@router.post("/{connection}/resume", **doing(Action.CONNECTION_RESUME))
async def resume(
    asked: Asked, store: StorePath, connection: ConnectionPath, body: NothingBody | None = None
) -> ConnectionShown:
    """Go on where it was paused."""
    desk = asked.parts.desk.connections
    await desk.resume(asked.act, (await desk.read(store, connection)).connection)
    return await _shown(asked, store, connection)


@router.post("/{connection}/disable", **doing(Action.CONNECTION_DISABLE))
async def disable(
    asked: Asked, store: StorePath, connection: ConnectionPath, body: NothingBody | None = None
) -> ConnectionShown:
    """Stop. The contract says whether what is queued is held or discarded."""
    desk = asked.parts.desk.connections
    await desk.disable(asked.act, (await desk.read(store, connection)).connection)
    return await _shown(asked, store, connection)


@router.post("/{connection}/rollback", **doing(Action.CONNECTION_ROLLBACK))
async def rollback(
    asked: Asked, store: StorePath, connection: ConnectionPath, body: RollbackBody, if_version: IfVersion = None
) -> ConnectionShown:
    """Put an earlier revision in force again, byte for byte."""
    desk = asked.parts.desk.connections
    row = (await desk.read(store, connection)).connection
    await desk.rollback(asked.act, row, body.revision, if_version)
    return await _shown(asked, store, connection)
