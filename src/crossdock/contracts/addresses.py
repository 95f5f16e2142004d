"""Which addresses and host names the egress may call: pure, no look-ups.

An address is public unless a row below says otherwise, and for IPv6 only 2000::/3 is even considered: it is all that
IANA has given out as global unicast. So what is assigned tomorrow for a special purpose is refused today. The rows
are those of the IANA registries "IPv4 Special-Purpose Address Registry" and "IPv6 Special-Purpose Address Registry"
(RFC 6890 and the RFCs beside each row), plus what clouds put on an otherwise ordinary address. Rows that IANA marks as
globally reachable but that no receiver of a store lives on (AS112, AMT, anycast) are refused too.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

SPECIAL_V4: tuple[tuple[IPv4Network, str], ...] = tuple(
    (IPv4Network(net), name)
    for net, name in (
        ("0.0.0.0/8", "this network, RFC 791"),
        ("10.0.0.0/8", "private use, RFC 1918"),
        ("100.64.0.0/10", "shared address space, RFC 6598; 100.100.100.200 is a cloud's metadata"),
        ("127.0.0.0/8", "loopback, RFC 1122"),
        ("168.63.129.16/32", "a cloud's platform services on a public address"),
        ("169.254.0.0/16", "link local, RFC 3927; 169.254.169.254 is metadata"),
        ("172.16.0.0/12", "private use, RFC 1918"),
        ("192.0.0.0/24", "IETF protocol assignments, RFC 6890; 192.0.0.192 is a cloud's metadata"),
        ("192.0.2.0/24", "documentation, RFC 5737"),
        ("192.31.196.0/24", "AS112-v4, RFC 7535"),
        ("192.52.193.0/24", "AMT, RFC 7450"),
        ("192.88.99.0/24", "6to4 relay anycast, deprecated, RFC 7526"),
        ("192.168.0.0/16", "private use, RFC 1918"),
        ("192.175.48.0/24", "direct delegation AS112, RFC 7534"),
        ("198.18.0.0/15", "benchmarking, RFC 2544"),
        ("198.51.100.0/24", "documentation, RFC 5737"),
        ("203.0.113.0/24", "documentation, RFC 5737"),
        ("224.0.0.0/4", "multicast, RFC 5771"),
        ("240.0.0.0/4", "reserved (class E), RFC 1112"),
        ("255.255.255.255/32", "limited broadcast, RFC 8190"),
    )
)

GLOBAL_V6 = IPv6Network("2000::/3")
SPECIAL_V6: tuple[tuple[IPv6Network, str], ...] = tuple(
    (IPv6Network(net), name)
    for net, name in (
        ("::/128", "unspecified, RFC 4291"),
        ("::1/128", "loopback, RFC 4291"),
        ("::ffff:0:0/96", "IPv4-mapped, RFC 4291"),
        ("::/96", "IPv4-compatible, deprecated, RFC 4291"),
        ("64:ff9b::/96", "IPv4-IPv6 translation (NAT64), RFC 6052"),
        ("64:ff9b:1::/48", "local IPv4-IPv6 translation, RFC 8215"),
        ("100::/64", "discard only, RFC 6666"),
        ("100:0:0:1::/64", "dummy prefix, RFC 9780"),
        ("2001::/23", "IETF protocol assignments, RFC 2928: Teredo, benchmarking, AMT, ORCHID and others"),
        ("2001:db8::/32", "documentation, RFC 3849"),
        ("2002::/16", "6to4, RFC 3056"),
        ("2620:4f:8000::/48", "direct delegation AS112, RFC 7534"),
        ("3fff::/20", "documentation, RFC 9637"),
        ("5f00::/16", "segment routing SIDs, RFC 9602"),
        ("fc00::/7", "unique local, RFC 4193; fd00:ec2::254 is a cloud's metadata"),
        ("fe80::/10", "link local, RFC 4291"),
        ("fec0::/10", "site local, deprecated, RFC 3879"),
        ("ff00::/8", "multicast, RFC 4291"),
    )
)
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})  # RFC 5214: the upper half of the interface identifier

HOST_CHARS_MAX = 253  # RFC 1035
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_TOP = re.compile(r"[a-z]{2,63}|xn--[a-z0-9-]{1,59}")
"""No top-level domain holds a digit (RFC 3696 section 2), so no spelling of an address ends in one of these."""
_INSIDE = frozenset(
    {"localhost", "local", "internal", "intranet", "lan", "corp", "home", "localdomain", "onion", "alt"}
)
_INSIDE_PAIRS = frozenset({"home.arpa", "in-addr.arpa", "ip6.arpa"})


def special(address: str | IPv4Address | IPv6Address) -> str | None:
    """Why an address may not be called, None for a public one. What is not an address, or has a zone, is refused."""
    try:
        ip = ip_address(address)
    except (ValueError, AddressValueError):
        return "not an address"
    if isinstance(ip, IPv4Address):
        return next((name for net, name in SPECIAL_V4 if ip in net), None)
    if ip.scope_id is not None:
        return "a zone belongs to one machine, RFC 4007"
    row = next((name for net, name in SPECIAL_V6 if ip in net), None)
    if row is None and ip not in GLOBAL_V6:
        row = "outside global unicast"
    if row is None and (int(ip) >> 32) & 0xFFFF_FFFF in _ISATAP:
        row = "ISATAP, RFC 5214"
    return row


HTTPS_PORTS = frozenset({443, 8443})
"""The ports of a receiver that nobody vouched for: where https is served in public."""


def public(address: str | IPv4Address | IPv6Address) -> bool:
    """Whether an address may be called."""
    return special(address) is None


def host_name(host: str) -> str | None:
    """The lower-case ASCII form of a public host name; None for whatever is not one.

    Refused: addresses in any spelling, user information, ports, backslashes, percent signs, control and white space,
    a trailing dot, a single label, names that belong to a machine or a site, and non-ASCII names that do not come back
    unchanged from IDNA (look-alike digits and dots fold into others)."""
    if host.isascii():
        name = host.lower()
    else:
        try:
            name = host.encode("idna").decode("ascii")
            if name.encode("ascii").decode("idna") != host:
                return None
        except UnicodeError:
            return None
    labels = name.split(".")
    if len(name) > HOST_CHARS_MAX or len(labels) < 2 or not _TOP.fullmatch(labels[-1]):
        return None
    if not all(_LABEL.fullmatch(label) for label in labels):
        return None
    if labels[-1] in _INSIDE or ".".join(labels[-2:]) in _INSIDE_PAIRS:
        return None
    return name
