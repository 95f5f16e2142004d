"""What an operation is given: who asks, the parts, and ids that have the right form. Authority is asked here, once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict

from crossdock.http.api.parts import Parts
from crossdock.model.ids import (
    CONNECTION_ID,
    CONTRACT_ID,
    ROUTE_NAME,
    STORE_ID,
    ConnectionId,
    ContractId,
    RouteName,
    StoreId,
)
from crossdock.model.limits import ID_CHARS_MAX, PAGE_ITEMS_MAX
from crossdock.stores.authority import Action
from crossdock.stores.office import Act

SLOT_PATTERN = r"^[a-z][a-z0-9_]{0,63}$"
TOKEN_ID_PATTERN = r"^[0-9a-hjkmnp-tv-z]{26}$"  # noqa: S105  the form of an id
VERSION_PATTERN = r"^[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}$"


class Body(BaseModel):
    """A request's body: what it does not name is refused."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Shown(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True)


@dataclass(frozen=True, slots=True)
class Ask:
    parts: Parts
    act: Act


def ask(request: Request) -> Ask:
    return Ask(request.app.state.parts, request.state.act)


class Allowed:
    """The dependency that asks the authority table: for the store that the path names, for the caller's own scope
    (`own`), or for the installation."""

    def __init__(self, action: Action, own: bool = False) -> None:
        self.action = action
        self._own = own

    async def __call__(self, request: Request) -> None:
        asked = ask(request)
        named = request.path_params.get("store")
        store = asked.act.principal.store if self._own else None if named is None else StoreId(named)
        await asked.parts.gatekeeper.require(asked.act.principal, self.action, store, asked.act.correlation)


ACTION = "x-crossdock-action"


def doing(action: Action, own: bool = False) -> dict[str, Any]:
    """What every operation says beside its path: the action that authority is asked for."""
    return {"dependencies": [Depends(Allowed(action, own))], "openapi_extra": {ACTION: str(action)}}


def _pattern(form: str) -> str:
    return f"^(?:{form})$"


Asked = Annotated[Ask, Depends(ask)]
StorePath = Annotated[StoreId, Path(pattern=_pattern(STORE_ID.pattern), description="The store's id.")]
ConnectionPath = Annotated[
    ConnectionId, Path(pattern=_pattern(CONNECTION_ID.pattern), description="The connection's id.")
]
ContractPath = Annotated[ContractId, Path(pattern=_pattern(CONTRACT_ID.pattern), max_length=128)]
RoutePath = Annotated[RouteName, Path(pattern=_pattern(ROUTE_NAME.pattern), description="A route of its contract.")]
SlotPath = Annotated[str, Path(pattern=SLOT_PATTERN, description="A credential slot of its contract.")]
TokenPath = Annotated[str, Path(pattern=TOKEN_ID_PATTERN, description="The token's id: cdt_<id>_...")]
EventPath = Annotated[str, Path(min_length=1, max_length=ID_CHARS_MAX, description="The event's id.")]
Limit = Annotated[int, Query(ge=1, le=PAGE_ITEMS_MAX, description="How many items at most.")]
After = Annotated[int, Query(ge=0, le=2**53, description="Items after this one: `next` of the page before.")]
IfVersion = Annotated[
    int | None, Query(ge=1, le=2**53, description="Refuse (409) unless the connection is at this version.")
]
