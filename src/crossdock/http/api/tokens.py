"""API tokens."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field

from crossdock.http.api.asked import Asked, Body, Shown, TokenPath, doing
from crossdock.model.connection import Role, Token
from crossdock.model.ids import STORE_ID, StoreId, TokenId
from crossdock.model.limits import TOKEN_DAYS_DEFAULT, TOKEN_DAYS_MAX
from crossdock.stores.authority import Action
from crossdock.stores.tokens import TokenWish

router = APIRouter(prefix="/tokens", tags=["tokens"])


class TokenBody(Body):
    role: Role
    store: str | None = Field(None, pattern=f"^(?:{STORE_ID.pattern})$", description="None for the whole platform.")
    label: str = Field("", max_length=200)
    days: int = Field(TOKEN_DAYS_DEFAULT, ge=1, le=TOKEN_DAYS_MAX, strict=True)


class TokenShown(Shown):
    id: str
    role: Role
    store: str | None
    label: str
    created_at: int
    expires_at: int
    revoked_at: int | None


class TokenMade(TokenShown):
    token: str = Field(description="Shown this once.")


class TokenPage(Shown):
    items: list[TokenShown]
    next: None = None


def shown(token: Token) -> TokenShown:
    return TokenShown(
        id=token.id,
        role=token.role,
        store=token.store,
        label=token.label,
        created_at=token.created_at,
        expires_at=token.expires_at,
        revoked_at=token.revoked_at,
    )


@router.post("", status_code=201, **doing(Action.TOKEN_ISSUE, own=True))
async def create_token(asked: Asked, body: TokenBody) -> TokenMade:
    """Issue a token. The answer is the only place where it stands."""
    store = None if body.store is None else StoreId(body.store)
    await asked.parts.gatekeeper.require(asked.act.principal, Action.TOKEN_ISSUE, store, asked.act.correlation)
    wish = TokenWish(body.role, store, body.label, body.days)
    minted = await asked.parts.desk.tokens.issue(asked.act, wish)
    return TokenMade(**shown(minted.token).model_dump(), token=minted.text)


@router.get("", **doing(Action.TOKEN_READ, own=True))
async def list_tokens(asked: Asked) -> TokenPage:
    """The tokens of the caller's scope: all, or its store's. Never their text."""
    return TokenPage(items=[shown(one) for one in await asked.parts.desk.tokens.listed(asked.act.principal.store)])


@router.delete("/{token}", status_code=204, **doing(Action.TOKEN_REVOKE, own=True))
async def revoke_token(asked: Asked, token: TokenPath) -> None:
    """Revoke a token of the caller's scope, at once."""
    await asked.parts.desk.tokens.revoke(asked.act, TokenId(token), asked.act.principal.store)
