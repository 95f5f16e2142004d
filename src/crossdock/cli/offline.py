"""What the command line does on a data directory itself, while no server runs on it: the first token."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from crossdock.engines.sqlite.engine import SqliteEngine
from crossdock.model.connection import AuditEntry, Role
from crossdock.model.errors import NotFound
from crossdock.model.ids import CorrelationId, Instant, StoreId, base32
from crossdock.settings import Settings, read_settings
from crossdock.stores.port import AddToken, Change
from crossdock.stores.tokens import TokenWish, mint

ACTOR = "command-line"


def now() -> Instant:
    return Instant(time.time_ns() // 1_000_000)  # noqa: TID251 - an entry point


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[SqliteEngine]:
    """The embedded engine of a data directory. Unavailable (CD5005) while another process has it."""
    engine = SqliteEngine(settings.database_path, now)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


def first_token(directory: Path, *, role: Role, store: str | None, label: str, days: int) -> dict[str, Any]:
    """A token written into the data directory, with its audit entry; the text is in the answer alone."""
    settings = read_settings(data_dir=directory)
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return asyncio.run(_issue(settings, TokenWish(role, StoreId(store) if store else None, label, days)))


async def _issue(settings: Settings, wish: TokenWish) -> dict[str, Any]:
    minted = mint(wish, now(), secrets.token_bytes)
    token = minted.token
    entry = AuditEntry(
        at=token.created_at,
        actor=ACTOR,
        action="token.issued",
        store=token.store,
        object=f"token:{token.id}",
        outcome="done",
        correlation_id=CorrelationId(base32(secrets.token_bytes(17), 26)),
        detail={"role": str(token.role), "label": token.label, "expires_at": token.expires_at},
    )
    async with opened(settings) as engine:
        if token.store is not None and await engine.registry.store(token.store) is None:
            raise NotFound("CD3004", "There is no such store.", remedy="Create it first: crossdock store create.")
        await engine.registry.commit(Change((AddToken(token),), (entry,)))
    return {
        "id": token.id,
        "role": str(token.role),
        "store": token.store,
        "label": token.label,
        "expires_at": token.expires_at,
        "token": minted.text,
    }
