"""Where a destination leads in this installation: pure, from the contract, the config and the operator's settings.

Only `production` uses a contract's live hosts; everything else uses its sandbox hosts, and refuses a URL that names a
live one. Loopback is for `local` alone, and only as far as the operator's settings say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from crossdock.contracts.addresses import HTTPS_PORTS, host_name
from crossdock.model.contract import Contract, Destination, Environment
from crossdock.model.errors import Invalid
from crossdock.model.ids import JsonObject
from crossdock.stores.revision import Need
from crossdock.stores.ways import Target

URL_CHARS_MAX = 2_048
PORTS = {"https": 443, "http": 80, "smtp": 587}
SMTP = "smtp"


@dataclass(frozen=True, slots=True)
class Hosts:
    """The operator's part. `mapped` sends a host to a loopback address; `loopback` lists the `address:port` that a
    store's or the core's URL may name (both empty outside `local`); `operator` gives the hosts, as `host` or
    `host:port`, that contracts leave to the operator; `live` is every contract's production host."""

    environment: Environment
    mapped: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    loopback: frozenset[str] = frozenset()
    operator: Mapping[str, str] = field(default_factory=dict)
    live: frozenset[str] = frozenset()


def url_target(url: str, where: str, hosts: Hosts, methods: tuple[str, ...] = ("POST",)) -> Target:
    """The target of a URL that a store or the core's operator set; Invalid (CD3009) for one that may not be called.

    https, a host name, no user information, no fragment; plain http only to a listed loopback address in `local`.
    Whether the name resolves to a public address is checked when it is called, each time."""
    if not url or len(url) > URL_CHARS_MAX or not url.isascii() or any(char <= " " or char == "\x7f" for char in url):
        raise _refused(where, f"a URL is 1 to {URL_CHARS_MAX} printable ASCII characters without spaces")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _refused(where, "it cannot be read as a URL") from None
    if parts.scheme not in {"https", "http"} or not host:
        raise _refused(where, "it must be an absolute https URL")
    if "@" in parts.netloc or "#" in url or "\\" in url:
        raise _refused(where, "it must not hold a user name, a password, a fragment or a backslash")
    port = port or PORTS[parts.scheme]
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if f"{host}:{port}" in hosts.loopback:
        return Target(parts.scheme, host, port, methods, (path,), (host, port))
    mapped = hosts.mapped.get(host)
    if mapped is None:
        _public_only(parts.scheme, host, port, where, hosts)
    return Target("https", host, port, methods, (path,), mapped)


def _public_only(scheme: str, host: str, port: int, where: str, hosts: Hosts) -> None:
    """What the egress would refuse without asking anybody is said here already."""
    if scheme != "https":
        raise _refused(where, "only https is allowed")
    if host_name(host) is None:
        raise _refused(where, "it must name a public host, not an address and not a name of this machine or site")
    if port not in HTTPS_PORTS:
        raise _refused(where, f"the port must be one of {', '.join(str(one) for one in sorted(HTTPS_PORTS))}")
    if hosts.environment is not Environment.PRODUCTION and host in hosts.live:
        raise _refused(where, f"{host} is a production host, and this installation is {hosts.environment}")


def _refused(where: str, why: str) -> Invalid:
    return Invalid("CD3009", f"This URL may not be called: {why}.", where=where, remedy="Give another URL.")


def target_of(contract: Contract, destination: Destination, config: JsonObject, hosts: Hosts) -> Target | None:
    """Where `destination` leads; None where the operator or the store has not said so yet. Invalid (CD3009) for a
    store's URL that may not be called."""
    if destination.store_url:
        url = config.get(destination.store_url)
        where = f"/config/{destination.store_url}"
        return url_target(url, where, hosts, destination.methods) if isinstance(url, str) and url else None
    mails = {route.mail.to_destination for route in contract.routes if route.mail is not None}
    scheme = SMTP if destination.name in mails else "https"
    host, _, port = _named(destination, hosts).partition(":")
    if not host:
        return None
    number = int(port) if port.isdigit() else destination.port or PORTS[scheme]
    listed = (host, number) if f"{host}:{number}" in hosts.loopback else None
    mapped = hosts.mapped.get(host, listed)
    return Target(
        # A stand-in on this machine has no certificate of the real one.
        "http" if mapped is not None and scheme == "https" else scheme,
        host,
        number,
        destination.methods,
        destination.paths,
        mapped,
    )


def _named(destination: Destination, hosts: Hosts) -> str:
    if destination.operator:
        return hosts.operator.get(destination.operator, "")
    return destination.live if hosts.environment is Environment.PRODUCTION else destination.sandbox


def targets_of(contract: Contract, config: JsonObject, hosts: Hosts) -> dict[str, Target]:
    """Every destination that leads somewhere. A store's URL that may not be called leads nowhere."""
    found: dict[str, Target] = {}
    for destination in contract.destinations:
        try:
            target = target_of(contract, destination, config, hosts)
        except Invalid:
            continue
        if target is not None:
            found[destination.name] = target
    return found


def destinations_need(contract: Contract, config: JsonObject, hosts: Hosts) -> Need:
    troubles = []
    for destination in contract.destinations:
        try:
            if target_of(contract, destination, config, hosts) is None:
                what = f"the operator has not set {destination.operator}" if destination.operator else "it has no host"
                troubles.append(f"{destination.name}: {what}")
        except Invalid as error:
            troubles.append(f"{destination.name}: {error.message.rstrip('.')}")
    return Need("destinations", not troubles, ", ".join(troubles))


def hosts_of(contract: Contract, slot: str, config: JsonObject, hosts: Hosts) -> tuple[str, ...]:
    """The hosts that a slot's credential may be used with, as it is bound when sealed: `host:port`, sorted. Empty for
    one that only verifies what comes in."""
    names: set[str] = set()
    if slot in {contract.auth.secret, contract.auth.username}:
        names.update(destination.name for destination in contract.destinations)
    names.update(route.webhook_to for route in contract.routes if route.webhook_secret == slot and route.webhook_to)
    targets = targets_of(contract, config, hosts)
    return tuple(sorted({f"{targets[name].host}:{targets[name].port}" for name in names if name in targets}))
