"""Who may publish into a store: what ingest asks of the control plane."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from crossdock.model.connection import Principal, Store
from crossdock.model.ids import STORE_ID, CorrelationId, StoreId
from crossdock.stores.authority import Action, Gatekeeper, nothing_here
from crossdock.stores.tokens import Tokens


class Publishers:
    """`ingest.accept.CorePass` over the tokens and the one authority table."""

    def __init__(
        self, tokens: Tokens, gatekeeper: Gatekeeper, store: Callable[[StoreId], Awaitable[Store | None]]
    ) -> None:
        self._tokens = tokens
        self._gatekeeper = gatekeeper
        self._store = store

    async def authorise(self, authorization_header: bytes | None, store: str) -> Principal:
        """Unauthenticated (CD3020), NotFound (CD3004) for an unknown store or one out of reach, Forbidden (CD3021)."""
        principal = await self._tokens.bearer((authorization_header or b"").decode("latin-1"))
        name = StoreId(store)
        await self._gatekeeper.require(principal, Action.EVENT_PUBLISH, name, CorrelationId("ingest"))
        if STORE_ID.fullmatch(store) is None or await self._store(name) is None:
            raise nothing_here()
        return principal
