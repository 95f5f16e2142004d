"""Who changed what, when."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from crossdock.http.api.asked import After, Ask, Asked, Limit, Shown, StorePath, doing
from crossdock.model.connection import AuditEntry
from crossdock.model.ids import StoreId
from crossdock.stores.authority import Action

router = APIRouter(tags=["audit"])


class AuditShown(Shown):
    seq: int
    at: int
    actor: str
    action: str
    store: str | None
    object: str
    outcome: str
    correlation_id: str
    detail: dict[str, Any]


class AuditPage(Shown):
    items: list[AuditShown]
    next: int | None


def shown(entry: AuditEntry) -> AuditShown:
    return AuditShown(
        seq=entry.seq,
        at=entry.at,
        actor=entry.actor,
        action=entry.action,
        store=entry.store,
        object=entry.object,
        outcome=entry.outcome,
        correlation_id=entry.correlation_id,
        detail=entry.detail,
    )


async def _page(asked: Ask, store: StoreId | None, after: int, limit: int) -> AuditPage:
    found = await asked.parts.engine.registry.audit(store, after, limit)
    return AuditPage(items=[shown(one) for one in found], next=found[-1].seq if len(found) == limit else None)


@router.get("/audit", **doing(Action.AUDIT_READ))
async def read_audit(asked: Asked, after: After = 0, limit: Limit = 100) -> AuditPage:
    """The whole installation's record, the oldest first."""
    return await _page(asked, None, after, limit)


@router.get("/stores/{store}/audit", **doing(Action.AUDIT_READ))
async def read_store_audit(asked: Asked, store: StorePath, after: After = 0, limit: Limit = 100) -> AuditPage:
    """One store's record, the oldest first."""
    await asked.parts.desk.stores.read(store)
    return await _page(asked, store, after, limit)
