"""A connection as it stands: its row, its revision in force, its contract and its credentials, read together."""

from __future__ import annotations

from dataclasses import dataclass

from crossdock.contracts.config import check_config
from crossdock.model.connection import Connection, Credential, Revision
from crossdock.model.contract import Contract, Environment
from crossdock.model.errors import Invalid
from crossdock.model.ids import ConnectionId, JsonObject, StoreId
from crossdock.stores.office import Office
from crossdock.stores.revision import Need, credentials_need, usable
from crossdock.stores.targets import Hosts, destinations_need, hosts_of


@dataclass(frozen=True, slots=True)
class Standing:
    """`config` is what the revision in force says, {} before the first."""

    connection: Connection
    revision: Revision | None
    contract: Contract
    credentials: tuple[Credential, ...]

    @property
    def config(self) -> JsonObject:
        return self.revision.config if self.revision is not None else {}

    def credential(self, name: str) -> Credential | None:
        return next((one for one in self.credentials if one.name == name), None)


async def read_standing(office: Office, store: StoreId, connection: ConnectionId) -> Standing:
    """NotFound (CD3004) for an unknown connection or another store's."""
    row = await office.connection(store, connection)
    revision = await office.registry.revision(store, connection, row.revision) if row.revision else None
    credentials = await office.registry.credentials(store, connection)
    version = revision.contract_version if revision is not None else None
    return Standing(row, revision, contract_of(office, row.contract, version), tuple(credentials))


def contract_of(office: Office, contract: str, version: str | None) -> Contract:
    """Invalid (CD3006) for a contract, or a version of it, that the catalogue has not; None means the newest."""
    found = office.catalogue.get(contract, version)
    if found is None:
        raise Invalid(
            "CD3006",
            "The catalogue has no such contract." if version is None else "The catalogue has no such version of it.",
            where="/contract",
            remedy="`crossdock contracts list` shows what there is.",
        )
    return found


def still_needs(
    contract: Contract, config: JsonObject, credentials: tuple[Credential, ...], environment: Environment, hosts: Hosts
) -> tuple[Need, ...]:
    """What can be told without a call: contract, config, credentials and their hosts, destinations."""
    held = {
        one.name: ""
        if one.hosts == hosts_of(contract, one.name, config, hosts)
        else "was entered for another host: enter it again"
        for one in credentials
        if contract.slot(one.name) is not None
    }
    return (
        usable(contract, environment),
        config_need(contract, config),
        credentials_need(contract, held),
        destinations_need(contract, config, hosts),
    )


def config_need(contract: Contract, config: JsonObject) -> Need:
    try:
        check_config(contract, config)
    except Invalid as error:
        return Need("config", False, error.message)
    return Need("config", True)
