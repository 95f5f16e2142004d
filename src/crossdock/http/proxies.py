"""Whom a request is from when a proxy stands in front: only what a trusted proxy says is believed.

Without this every sender behind the proxy would share one address, and one of them could use up the quota of all.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

HOPS_MAX = 16  # more names than that in X-Forwarded-For are nobody's real way
PEERS_REMEMBERED_MAX = 1_024


class Proxies:
    """`networks` are addresses or CIDR blocks, as text. ValueError for what is neither."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks: tuple[IPv4Network | IPv6Network, ...] = tuple(ip_network(one) for one in networks)
        self.trusts = lru_cache(PEERS_REMEMBERED_MAX)(self._trusts)

    def _trusts(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    def client(self, peer: str, forwarded_for: str | None) -> str:
        """The nearest address that no trusted proxy vouched for as another proxy: `peer` itself where it is not
        trusted. Read from the right, because whatever stands further left may be the sender's own invention."""
        if not self._networks or not forwarded_for or not self.trusts(peer):
            return peer
        found = peer
        for hop in reversed(forwarded_for.split(",")[-HOPS_MAX:]):
            try:
                found = str(ip_address(hop.strip()))
            except ValueError:
                return found
            if not self.trusts(found):
                return found
        return found
