"""The control plane's use cases, one desk per noun. Authority is asked before (stores/authority.py)."""

from __future__ import annotations

from dataclasses import dataclass

from crossdock.journal.port import Journal, Lanes
from crossdock.stores.connection_desk import ConnectionDesk
from crossdock.stores.credential_desk import CredentialDesk
from crossdock.stores.event_desk import EventDesk
from crossdock.stores.office import Office, Trials
from crossdock.stores.store_desk import StoreDesk
from crossdock.stores.token_desk import TokenDesk


@dataclass(frozen=True, slots=True)
class Desk:
    stores: StoreDesk
    connections: ConnectionDesk
    credentials: CredentialDesk
    tokens: TokenDesk
    events: EventDesk


def build_desk(office: Office, trials: Trials, journal: Journal, lanes: Lanes) -> Desk:
    return Desk(
        StoreDesk(office, journal),
        ConnectionDesk(office, trials),
        CredentialDesk(office),
        TokenDesk(office),
        EventDesk(office, journal, lanes),
    )
