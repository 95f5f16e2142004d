"""The doctor: settings of the engine and the installation, and whether every ledger closes."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field

from crossdock.http.api.asked import Asked, Shown, doing
from crossdock.http.api.lanes import LedgerShown, ledger_shown
from crossdock.observe.health import examine
from crossdock.stores.authority import Action
from crossdock.stores.port import Finding

router = APIRouter(tags=["doctor"])


class FindingShown(Shown):
    code: str
    ok: bool
    fatal: bool
    what: str
    remedy: str


class DoctorShown(Shown):
    well: bool
    findings: list[FindingShown]
    ledgers: list[LedgerShown] = Field(description="Of the caller's store, or of all.")


def shown(finding: Finding) -> FindingShown:
    return FindingShown(code=finding.code, ok=finding.ok, fatal=finding.fatal, what=finding.what, remedy=finding.remedy)


@router.get("/doctor", **doing(Action.DOCTOR_READ, own=True))
async def doctor(asked: Asked) -> DoctorShown:
    """Looks the installation over."""
    found = await examine(asked.parts.engine, asked.parts.findings(), asked.act.principal.store)
    return DoctorShown(
        well=found.well,
        findings=[shown(one) for one in found.findings],
        ledgers=[ledger_shown(one) for one in found.ledgers],
    )
