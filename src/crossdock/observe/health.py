"""Whether the process lives, whether it can serve, and what the doctor says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crossdock.model.errors import CrossdockError
from crossdock.model.ids import StoreId
from crossdock.model.lane import Ledger
from crossdock.stores.port import Engine, Finding


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    ok: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Examination:
    """`well` when no finding is bad and every ledger closes."""

    findings: tuple[Finding, ...]
    ledgers: tuple[Ledger, ...]

    @property
    def well(self) -> bool:
        return all(finding.ok or not finding.fatal for finding in self.findings) and all(
            ledger.closes for ledger in self.ledgers
        )


async def examine(engine: Engine, own: Sequence[Finding] = (), store: StoreId | None = None) -> Examination:
    """The engine's findings, the installation's own, and the ledger of every lane (of one store, or of all)."""
    findings = (*own, *await engine.findings())
    return Examination(findings, tuple(await engine.lanes.ledgers(store)))


class Health:
    """`serving` is False before the start and while draining. `delivery_fault` says what is wrong with delivery, ''
    where nothing is; None for a process that does not deliver. `works` is False where what runs beside the listener
    has ended."""

    def __init__(self, engine: Engine, delivery_fault: Callable[[], str] | None, works: Callable[[], bool]) -> None:
        self._engine = engine
        self._delivery_fault = delivery_fault
        self._works = works
        self.serving = False

    def alive(self) -> bool:
        """False where only a new start helps."""
        return self._works() or not self.serving

    async def ready(self) -> tuple[Check, ...]:
        checks = [
            Check("serving", self.serving, "" if self.serving else "starting or draining"),
            await self._engine_answers(),
        ]
        if self._delivery_fault is not None:
            why = self._delivery_fault()
            checks.append(Check("delivering", not why, why))
        return tuple(checks)

    async def _engine_answers(self) -> Check:
        # Not `findings`: they may read the whole file, and anybody may ask this.
        try:
            await self._engine.writable()
        except CrossdockError as error:
            return Check("engine", False, error.code)
        return Check("engine", True)
