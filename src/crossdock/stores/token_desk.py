"""Use cases on API tokens."""

from __future__ import annotations

from crossdock.model.connection import Token
from crossdock.model.errors import Forbidden
from crossdock.model.ids import StoreId, TokenId
from crossdock.stores.authority import grants, nothing_here
from crossdock.stores.office import Act, Office
from crossdock.stores.port import AddToken, RevokeToken
from crossdock.stores.tokens import Minted, TokenWish, mint


class TokenDesk:
    def __init__(self, office: Office) -> None:
        self._office = office

    async def issue(self, act: Act, wish: TokenWish) -> Minted:
        """The text is in the answer and nowhere else. Forbidden (CD3021) for more than the caller has."""
        if not grants(act.principal, wish.role, wish.store):
            raise Forbidden(
                "CD3021", f"The role {act.principal.role} may not issue a token of the role {wish.role} there."
            )
        if wish.store is not None:
            await self._office.store(wish.store)
        minted = mint(wish, self._office.clock(), self._office.random)
        await self._office.commit(
            act,
            "token.issued",
            (wish.store, f"token:{minted.token.id}"),
            (AddToken(minted.token),),
            role=str(wish.role),
            label=wish.label,
            expires_at=minted.token.expires_at,
        )
        return minted

    async def listed(self, store: StoreId | None) -> list[Token]:
        """All tokens, or those of one store. They hold no secret."""
        if store is not None:
            await self._office.store(store)
        return await self._office.registry.tokens(store)

    async def revoke(self, act: Act, token: TokenId, store: StoreId | None) -> Token:
        """Idempotent. With `store`, NotFound (CD3004) for a token that is not that store's."""
        found = await self._office.registry.token(token)
        if found is None or (store is not None and found.store != store):
            raise nothing_here()
        if found.revoked_at is None:
            await self._office.commit(
                act,
                "token.revoked",
                (found.store, f"token:{token}"),
                (RevokeToken(token, self._office.clock()),),
                role=str(found.role),
            )
        return await self._office.registry.token(token) or found
