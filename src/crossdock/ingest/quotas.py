"""Who has had too much: meters by listener, address, path, route and store, in the order in which they are asked."""

from __future__ import annotations

from dataclasses import dataclass

from crossdock.ingest.gcra import Meters, address_key
from crossdock.model.contract import Rate
from crossdock.model.errors import TooFast
from crossdock.model.ids import Instant, StoreId
from crossdock.model.limits import (
    ADDRESS_PER_SECOND_MAX,
    FAILURES_PER_ADDRESS_PER_MINUTE_MAX,
    FAILURES_PER_PATH_PER_MINUTE_MAX,
    LISTENER_PER_SECOND_MAX,
    MINUTE_MS,
    SECOND_MS,
    STORE_PER_SECOND_MAX,
)

_LISTENER = Rate(LISTENER_PER_SECOND_MAX, SECOND_MS, LISTENER_PER_SECOND_MAX)
_ADDRESS = Rate(ADDRESS_PER_SECOND_MAX, SECOND_MS, ADDRESS_PER_SECOND_MAX)
_STORE = Rate(STORE_PER_SECOND_MAX, SECOND_MS, STORE_PER_SECOND_MAX)
_PATH_FAILURES = Rate(FAILURES_PER_PATH_PER_MINUTE_MAX, MINUTE_MS, FAILURES_PER_PATH_PER_MINUTE_MAX)
_ADDRESS_FAILURES = Rate(FAILURES_PER_ADDRESS_PER_MINUTE_MAX, MINUTE_MS, FAILURES_PER_ADDRESS_PER_MINUTE_MAX)


@dataclass(frozen=True, slots=True)
class Rates:
    """`route` holds for a route whose contract says none, and for the core's requests to one store."""

    listener: Rate = _LISTENER
    address: Rate = _ADDRESS
    route: Rate = _STORE
    store: Rate = _STORE
    path_failures: Rate = _PATH_FAILURES
    address_failures: Rate = _ADDRESS_FAILURES


class Quotas:
    """Each call raises TooFast (CD1007) with the time after which it can succeed."""

    def __init__(self, rates: Rates) -> None:
        self._listener = Meters(rates.listener)
        self._addresses = Meters(rates.address)
        self._routes = Meters(rates.route)
        self._stores = Meters(rates.store)
        self._path_failures = Meters(rates.path_failures)
        self._address_failures = Meters(rates.address_failures)

    def admit(self, address: str, path: str, now: Instant) -> None:
        """Before anything is known of the sender. Failures are looked at first: they charge nothing."""
        who = address_key(address)
        _refuse(self._path_failures.wait_ms(f"{who} {path}", now))
        _refuse(self._address_failures.wait_ms(who, now))
        _refuse(self._addresses.charge(who, now))
        _refuse(self._listener.charge("", now))

    def blame(self, address: str, path: str, now: Instant) -> None:
        """A request that could not show who sent it. Never raises."""
        who = address_key(address)
        self._path_failures.charge(f"{who} {path}", now)
        self._address_failures.charge(who, now)

    def charge_route(self, route: str, rate: Rate | None, now: Instant) -> None:
        _refuse(self._routes.charge(route, now, rate=rate))

    def charge_store(self, store: StoreId, events: int, now: Instant) -> None:
        _refuse(self._stores.charge(store, now, events))


def _refuse(wait_ms: int) -> None:
    if wait_ms > 0:
        raise TooFast(
            "CD1007", "Too many requests.", retry_after_ms=wait_ms, remedy="Wait as long as Retry-After says."
        )
