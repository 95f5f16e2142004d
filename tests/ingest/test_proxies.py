"""Whom a request is from, behind proxies: a pure function."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.http.proxies import Proxies

TRUSTED = Proxies(["10.0.0.0/8", "fd00::/8"])


@pytest.mark.parametrize(
    ("peer", "said", "client"),
    [
        ("198.51.100.1", "203.0.113.5", "198.51.100.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "192.0.2.9, 203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "192.0.2.9, 203.0.113.5, 10.2.2.2", "203.0.113.5"),
        ("fd00::1", "2001:db8::7", "2001:db8::7"),
        ("10.0.0.1", "203.0.113.5, nonsense", "10.0.0.1"),
        ("10.0.0.1", "10.3.3.3", "10.3.3.3"),
        ("", "203.0.113.5", ""),
    ],
)
def test_the_nearest_address_that_is_no_trusted_proxy_is_the_client(peer: str, said: str | None, client: str) -> None:
    assert TRUSTED.client(peer, said) == client


@given(st.ip_addresses().map(str), st.text())
def test_nothing_that_is_said_moves_an_untrusted_peer(peer: str, said: str) -> None:
    assert TRUSTED.trusts(peer) or TRUSTED.client(peer, said) == peer


@given(st.text())
def test_what_comes_out_is_an_address_whatever_was_said(said: str) -> None:
    client = TRUSTED.client("10.0.0.1", said + ", 203.0.113.5")
    assert client == "203.0.113.5"
