"""Who may do what, and where: one table, asked in one place.

Platform roles administer every store and never see a payload. Store roles see one store. The core publishes and
consumes. What is not in the table is refused. A store that is not the caller's is answered exactly as one that does
not exist, so that nobody learns which stores there are.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from crossdock.audit.entry import entry
from crossdock.model.connection import Principal, Role
from crossdock.model.errors import Forbidden, NotFound
from crossdock.model.ids import CorrelationId, Instant, Json, StoreId
from crossdock.model.limits import MINUTE_MS
from crossdock.stores.port import Change, Registry


class Action(StrEnum):
    STORE_CREATE = "store.create"
    STORE_LIST = "store.list"
    STORE_READ = "store.read"
    STORE_GATE = "store.gate"
    STORE_WEIGH = "store.weigh"
    CORE_READ = "core.read"
    CORE_SET = "core.set"
    INTEGRATION_READ = "integration.read"
    CONNECTION_CREATE = "connection.create"
    CONNECTION_READ = "connection.read"
    CONNECTION_CONFIGURE = "connection.configure"
    CONNECTION_VALIDATE = "connection.validate"
    CONNECTION_ENABLE = "connection.enable"
    CONNECTION_PAUSE = "connection.pause"
    CONNECTION_RESUME = "connection.resume"
    CONNECTION_DISABLE = "connection.disable"
    CONNECTION_ROLLBACK = "connection.rollback"
    CREDENTIAL_READ = "credential.read"
    CREDENTIAL_SET = "credential.set"
    CREDENTIAL_DROP = "credential.drop"
    LANE_READ = "lane.read"
    LANE_REPLAY = "lane.replay"
    EVENT_PUBLISH = "event.publish"
    EVENT_READ = "event.read"
    EVENT_VIEW = "event.view"
    INBOX_CONSUME = "inbox.consume"
    TOKEN_READ = "token.read"  # noqa: S105  the name of an action
    TOKEN_ISSUE = "token.issue"  # noqa: S105
    TOKEN_REVOKE = "token.revoke"  # noqa: S105
    AUDIT_READ = "audit.read"
    DOCTOR_READ = "doctor.read"


_A = Action
_SEES = {
    _A.STORE_READ,
    _A.CORE_READ,
    _A.INTEGRATION_READ,
    _A.CONNECTION_READ,
    _A.CREDENTIAL_READ,
    _A.LANE_READ,
    _A.EVENT_READ,
    _A.DOCTOR_READ,
}
_RUNS = {
    _A.CORE_SET,
    _A.CONNECTION_CREATE,
    _A.CONNECTION_CONFIGURE,
    _A.CONNECTION_VALIDATE,
    _A.CONNECTION_ENABLE,
    _A.CONNECTION_PAUSE,
    _A.CONNECTION_RESUME,
    _A.CONNECTION_DISABLE,
    _A.CONNECTION_ROLLBACK,
    _A.CREDENTIAL_SET,
    _A.CREDENTIAL_DROP,
    _A.LANE_REPLAY,
    _A.TOKEN_READ,
    _A.TOKEN_ISSUE,
    _A.TOKEN_REVOKE,
    _A.AUDIT_READ,
}
RIGHTS: dict[Role, frozenset[Action]] = {
    Role.PLATFORM_ADMIN: frozenset(_SEES | _RUNS | {_A.STORE_CREATE, _A.STORE_LIST, _A.STORE_GATE, _A.STORE_WEIGH}),
    Role.PLATFORM_AUDITOR: frozenset(_SEES | {_A.STORE_LIST, _A.TOKEN_READ, _A.AUDIT_READ}),
    Role.STORE_ADMIN: frozenset(_SEES | _RUNS | {_A.EVENT_PUBLISH, _A.EVENT_VIEW, _A.INBOX_CONSUME}),
    Role.STORE_VIEWER: frozenset(_SEES | {_A.EVENT_VIEW}),
    Role.CORE: frozenset({_A.INTEGRATION_READ, _A.EVENT_PUBLISH, _A.EVENT_READ, _A.INBOX_CONSUME}),
}
"""The table. The scope is the principal's: one store, or all stores where `Principal.store` is None."""

PLATFORM_ROLES = frozenset({Role.PLATFORM_ADMIN, Role.PLATFORM_AUDITOR})
STORE_ROLES = frozenset({Role.STORE_ADMIN, Role.STORE_VIEWER})
EVERYWHERE = frozenset({_A.INTEGRATION_READ})
"""What concerns no store: a principal of one store may do it without naming its store."""


def scope_fits(role: Role, store: StoreId | None) -> bool:
    """Platform roles have no store, store roles have one, the core has either."""
    if role in PLATFORM_ROLES:
        return store is None
    return role is Role.CORE or store is not None


def reaches(principal: Principal, store: StoreId | None) -> bool:
    """Whether `store` (None: the installation) lies in the principal's scope."""
    return scope_fits(principal.role, principal.store) and (principal.store is None or principal.store == store)


def allow(principal: Principal, action: Action, store: StoreId | None) -> bool:
    """The answer for one cell: role, action and scope. `store` None means the installation."""
    if action not in RIGHTS[principal.role]:
        return False
    return reaches(principal, store) or (store is None and action in EVERYWHERE)


def grants(principal: Principal, role: Role, store: StoreId | None) -> bool:
    """Whether `principal` may issue a token of `role` for `store`: never more than it can do itself, except that the
    platform's administrators appoint those who may see payloads, which is on the record."""
    if not allow(principal, Action.TOKEN_ISSUE, store) or not scope_fits(role, store):
        return False
    return principal.role is Role.PLATFORM_ADMIN or role in STORE_ROLES or role is Role.CORE


def nothing_here() -> NotFound:
    """The one answer for what is unknown and for what is another store's."""
    return NotFound("CD3004", "There is nothing here that you may see.", remedy="Check the ids and the token's store.")


REFUSALS_PER_MINUTE_MAX = 10  # of one principal: a loop with a wrong token cannot fill the audit log


class Gatekeeper:
    """Enforces the table, and puts its refusals on record, at most `REFUSALS_PER_MINUTE_MAX` a principal and minute."""

    def __init__(self, registry: Registry, clock: Callable[[], Instant]) -> None:
        self._registry = registry
        self._clock = clock
        self._minute = 0
        self._refusals: dict[str, int] = {}

    async def require(
        self, principal: Principal, action: Action, store: StoreId | None, correlation: CorrelationId
    ) -> None:
        """NotFound (CD3004) outside the principal's scope, Forbidden (CD3021) for what its role may not do."""
        if allow(principal, action, store):
            return
        await self._record(principal, action, store, correlation)
        if store is not None and not reaches(principal, store):
            raise nothing_here()
        raise Forbidden(
            "CD3021",
            f"The role {principal.role} may not do {action}"
            f"{'' if store is not None or principal.store is None else ' for the installation'}.",
            remedy="Use a token of a role that may; `crossdock explain CD3021` has the table.",
        )

    async def _record(
        self, principal: Principal, action: Action, store: StoreId | None, correlation: CorrelationId
    ) -> None:
        now = self._clock()
        if now // MINUTE_MS != self._minute:
            self._minute = now // MINUTE_MS
            self._refusals.clear()
        count = self._refusals[principal.name] = self._refusals.get(principal.name, 0) + 1
        if count > REFUSALS_PER_MINUTE_MAX:
            return
        # On the record of the caller's own scope: what it asked for may not exist.
        place = (principal.store, str(action))
        detail: dict[str, Json] = {"role": str(principal.role), "asked_for": store}
        made = entry(now, principal, "authority.refused", place, "refused", correlation, **detail)
        await self._registry.commit(Change((), (made,)))
