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
    """`serving` is False before the start and while draining."""

    def __init__(self, engine: Engine, delivering: Callable[[], bool]) -> None:
        self._engine = engine
        self._delivering = delivering
        self.serving = False

    async def ready(self) -> tuple[Check, ...]:
        return (
            Check("serving", self.serving, "" if self.serving else "starting or draining"),
            await self._engine_answers(),
            Check("delivering", self._delivering(), "" if self._delivering() else "the deliverer is not running"),
        )

    async def _engine_answers(self) -> Check:
        # Not `findings`: they may read the whole file, and anybody may ask this.
        try:
            await self._engine.writable()
        except CrossdockError as error:
            return Check("engine", False, error.code)
        return Check("engine", True)
