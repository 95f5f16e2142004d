"""Credentials: they go in sealed, and do not come out."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field, SecretStr

from crossdock.credentials.secret import Secret
from crossdock.http.api.asked import Asked, Body, ConnectionPath, Shown, SlotPath, StorePath, doing
from crossdock.model.connection import Credential
from crossdock.model.contract import CredentialSlot
from crossdock.model.limits import SECRET_BYTES_MAX
from crossdock.stores.authority import Action

router = APIRouter(prefix="/stores/{store}/connections/{connection}/credentials", tags=["credentials"])


class CredentialBody(Body):
    value: SecretStr = Field(min_length=1, max_length=SECRET_BYTES_MAX, description="Write-only.")


class CredentialShown(Shown):
    name: str
    secret: bool
    optional: bool
    set: bool
    version: int
    at: int | None
    hosts: list[str] = Field(description="The hosts that it may be used with; none for one that verifies senders.")
    previous_until: int | None = Field(description="Until then the one before it is good too.")


class CredentialPage(Shown):
    items: list[CredentialShown]
    next: None = None


def shown(slot: CredentialSlot, held: Credential | None) -> CredentialShown:
    return CredentialShown(
        name=slot.name,
        secret=slot.secret,
        optional=slot.optional,
        set=held is not None,
        version=0 if held is None else held.version,
        at=None if held is None else held.at,
        hosts=[] if held is None else list(held.hosts),
        previous_until=None if held is None else held.previous_until,
    )


@router.get("", **doing(Action.CREDENTIAL_READ))
async def list_credentials(asked: Asked, store: StorePath, connection: ConnectionPath) -> CredentialPage:
    """The contract's slots: what is set, since when, for which hosts. Never a value."""
    standing = await asked.parts.desk.credentials.listed(store, connection)
    return CredentialPage(items=[shown(slot, standing.credential(slot.name)) for slot in standing.contract.credentials])


@router.put("/{name}", **doing(Action.CREDENTIAL_SET))
async def set_credential(
    asked: Asked, store: StorePath, connection: ConnectionPath, name: SlotPath, body: CredentialBody
) -> CredentialShown:
    """Set or rotate a credential. The one before it stays good for the overlap that the contract says."""
    desk = asked.parts.desk.credentials
    made = await desk.set(asked.act, store, connection, name, Secret(body.value.get_secret_value().encode()))
    slot = (await desk.listed(store, connection)).contract.slot(name)
    return shown(slot or CredentialSlot(name, True), made)


@router.delete("/{name}", status_code=204, **doing(Action.CREDENTIAL_DROP))
async def drop_credential(asked: Asked, store: StorePath, connection: ConnectionPath, name: SlotPath) -> None:
    """Forget a credential. 409 while the connection is in use."""
    await asked.parts.desk.credentials.drop(asked.act, store, connection, name)
