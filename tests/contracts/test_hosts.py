"""Where the shipped contracts lead: to a host's usual port, unless they name another."""

from __future__ import annotations

import pytest

from crossdock.contracts.addresses import HTTPS_PORTS
from crossdock.contracts.catalogue import Catalogue
from crossdock.model.contract import Contract, Environment
from crossdock.stores.targets import Hosts, targets_of

CONTRACTS = Catalogue.shipped().contracts()
ABROAD = [one for one in CONTRACTS if any(destination.live for destination in one.destinations)]


@pytest.mark.parametrize("environment", [Environment.STAGING, Environment.PRODUCTION])
@pytest.mark.parametrize("contract", ABROAD, ids=lambda one: one.id)
def test_a_host_without_a_port_is_called_at_a_port_that_the_egress_allows(
    contract: Contract, environment: Environment
) -> None:
    targets = targets_of(contract, {}, Hosts(environment))
    assert targets
    assert {target.port for target in targets.values()} <= HTTPS_PORTS
