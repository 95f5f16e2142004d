"""What the management API is built over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from crossdock.contracts.catalogue import Catalogue
from crossdock.delivery.inbox import Inbox
from crossdock.delivery.replaying import Replays
from crossdock.model.contract import Environment
from crossdock.model.ids import CorrelationId, Instant
from crossdock.stores.authority import Gatekeeper
from crossdock.stores.desk import Desk
from crossdock.stores.port import Engine, Finding
from crossdock.stores.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Parts:
    """`findings` are the installation's own, beside the engine's. `address` is how senders reach this installation."""

    desk: Desk
    gatekeeper: Gatekeeper
    tokens: Tokens
    engine: Engine
    inbox: Inbox
    replays: Replays
    catalogue: Catalogue
    environment: Environment
    address: str
    version: str
    clock: Callable[[], Instant]
    new_correlation: Callable[[], CorrelationId]
    findings: Callable[[], tuple[Finding, ...]]
