"""Which addresses and names are public. The corpus is data: five groups of what must never be called."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.contracts.addresses import SPECIAL_V4, SPECIAL_V6, host_name, public, special


def words(text: str) -> list[str]:
    return text.split()


LOOPBACK = words(
    "127.0.0.1 127.0.0.0 127.0.0.2 127.0.1.1 127.1.2.3 127.127.127.127 127.255.255.254 127.255.255.255 0.0.0.0 "
    "0.0.0.1 0.255.255.255 ::1 0:0:0:0:0:0:0:1 0000:0000:0000:0000:0000:0000:0000:0001 :: 0:0:0:0:0:0:0:0 "
    "::ffff:127.0.0.1 ::ffff:7f00:1 ::ffff:0.0.0.0 ::127.0.0.1 ::7f00:1 64:ff9b::127.0.0.1 2002:7f00:1:: "
    "::ffff:127.255.255.255"
)
METADATA = words(
    "169.254.169.254 169.254.169.253 169.254.169.123 169.254.170.2 169.254.170.23 169.254.0.1 169.254.255.255 "
    "192.0.0.192 100.100.100.200 168.63.129.16 fd00:ec2::254 fd00:ec2::23 fd20:ce::254 ::ffff:169.254.169.254 "
    "::ffff:a9fe:a9fe 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe:: ::169.254.169.254 64:ff9b:1::a9fe:a9fe fe80::a9fe:a9fe "
    "::ffff:100.100.100.200 ::ffff:168.63.129.16"
)
PRIVATE = words(
    "10.0.0.0 10.0.0.1 10.255.255.255 172.16.0.1 172.20.10.1 172.31.255.255 192.168.0.1 192.168.255.255 100.64.0.1 "
    "100.127.255.255 192.0.0.1 192.0.0.8 192.0.0.170 192.0.0.255 192.0.2.1 192.88.99.1 192.31.196.1 192.52.193.1 "
    "192.175.48.1 198.18.0.1 198.19.255.255 198.51.100.7 203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1 250.1.2.3 "
    "255.255.255.254 255.255.255.255 233.252.0.1"
)
V6 = words(
    "::ffff:8.8.8.8 ::ffff:10.0.0.1 ::8.8.8.8 ::2 64:ff9b::1 64:ff9b::8.8.8.8 64:ff9b:1::1 64:ff9b:1:ffff::8.8.8.8 "
    "100::1 100::ffff 100:0:0:1::1 200::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:2::1 2001:3::1 "
    "2001:4:112::1 2001:10::1 2001:20::1 2001:30::1 2001:db8::1 2001:db8:ffff::1 2002::1 2002:808:808::1 "
    "2620:4f:8000::1 3fff::1 3fff:fff:ffff::1 4000::1 5f00::1 5f00:ffff::1 6000::1 8000::1 c000::1 e000::1 fc00::1 "
    "fd00::1 fdff:ffff::1 fe00::1 fe80::1 fe80::1%eth0 fe80::5efe:10.0.0.1 febf::1 fec0::1 feff::1 ff00::1 ff02::1 "
    "ff0e::1 2a00:1450::5efe:a00:1 2a00:1450::200:5efe:a00:1 2606:4700::1%1 0:0:0:0:0:ffff:7f00:1 ::ffff:0:127.0.0.1"
)
NAMES = [
    "localhost", "LOCALHOST", "a.localhost", "printer.local", "db.internal", "metadata.google.internal",
    "x.home.arpa", "1.0.0.127.in-addr.arpa", "single", "rancher-metadata", "api.acme.example.", "localhost.",
    "127.0.0.1.", "2130706433", "0x7f000001", "0x7f.1", "0x7f.0.0.1", "127.1", "127.0.1", "0177.0.0.1",
    "017700000001", "0", "0.0", "00", "1.2.3.0x4", "127.0.0.1", "8.8.8.8", "[::1]", "::1", "[::ffff:7f00:1]",
    "fe80::1%25eth0", "user@acme.example", "a:b@acme.example", "acme.example:80", "acme.example\\@127.0.0.1",
    "acme.example\\evil.example", "acme.example/x", "acme.example#x", "acme.example?x",
    "acme.example%2eevil.example", "%6c%6fcalhost", "127.0.0.1%00.acme.example", "acme.example\x00",
    "acme.example\n", "\tacme.example", "acme .example", "acme.example\r\nHost: x", "", ".", "..", ".acme.example",
    "acme..example", "-acme.example", "acme-.example", "a" * 64 + ".example", ("a" * 60 + ".") * 5 + "example",
    "acme_x.example", "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460", "127\u30020\u30020\u30021",
    "\uff11\uff12\uff17.0.0.1", "acme\u3002example", "\u2139.example", "l\u212acalhost.example", "fa\u00df.example",
    "acme.ex\u00adample", "\u200bacme.example", "acme.example\u202e", "acme\ufe52example", "acme.\u217dom",
    "127.0.0.1.1", "1e100", "acme.123", "acme.0x7f", "*.acme.example", "acme.example,evil.example",
    "acme.example;x", "http://acme.example", "//acme.example", "\ud800.example", "corp", "wiki.corp", "router.lan",
    "hidden.onion",
]  # fmt: skip
PUBLIC = words(
    "8.8.8.8 1.1.1.1 93.184.216.34 100.63.255.255 100.128.0.0 172.15.255.255 172.32.0.0 192.0.1.0 198.17.255.255 "
    "198.20.0.0 223.255.255.255 168.63.129.15 168.63.129.17 11.0.0.0 126.255.255.255 128.0.0.0 169.253.255.255 "
    "169.255.0.0 2606:4700:4700::1111 2001:4860:4860::8888 2a00:1450:4001:81b::200e 2001:200::1 2003::1 3ffe:ffff::1"
)


def test_the_corpus_is_not_thin() -> None:
    assert len(set(LOOPBACK + METADATA + PRIVATE + V6 + NAMES)) >= 135


@pytest.mark.parametrize("address", sorted(set(LOOPBACK + METADATA + PRIVATE + V6)))
def test_an_address_with_a_special_purpose_is_not_public(address: str) -> None:
    assert not public(address)


@pytest.mark.parametrize("host", NAMES, ids=ascii)
def test_a_name_that_is_not_plainly_public_is_refused(host: str) -> None:
    assert host_name(host) is None


@pytest.mark.parametrize("address", PUBLIC)
def test_an_ordinary_address_is_public_also_beside_a_special_row(address: str) -> None:
    assert special(address) is None


@pytest.mark.parametrize(
    ("host", "name"),
    [("API.Acme.Example", "api.acme.example"), ("xn--bcher-kva.example", "xn--bcher-kva.example"),
     ("b\u00fccher.example", "xn--bcher-kva.example"), ("a1.b-2.co", "a1.b-2.co"), ("local.example", "local.example"),
     ("x.xn--p1ai", "x.xn--p1ai")],
)  # fmt: skip
def test_a_public_name_comes_back_in_ascii(host: str, name: str) -> None:
    assert host_name(host) == name


@pytest.mark.parametrize("row", [*SPECIAL_V4, *SPECIAL_V6], ids=lambda row: str(row[0]))
def test_every_special_row_is_refused_at_its_first_middle_and_last_address(row: tuple[object, str]) -> None:
    net = row[0]
    assert isinstance(net, ipaddress.IPv4Network | ipaddress.IPv6Network)
    first, last = int(net.network_address), int(net.broadcast_address)
    for number in (first, (first + last) // 2, last):
        assert not public(str(type(net.network_address)(number)))


@given(st.integers(0, 2**32 - 1))
def test_no_ipv4_address_is_public_in_an_ipv6_dress(number: int) -> None:
    for high in (0, 0xFFFF << 32, 0x64FF9B << 96, 0x64FF9B0001 << 80, 0xFFFF << 48):
        assert not public(IPv6Address(high | number))
    assert not public(IPv6Address(0x2002 << 112 | number << 80))
    assert not public(IPv6Address((0x2A00_1450 << 96) | (0x5EFE << 32) | number))


@given(st.integers(0, 2**32 - 1))
def test_what_the_standard_library_calls_not_global_is_never_public(number: int) -> None:
    ip = IPv4Address(number)
    assert not (public(ip) and not ip.is_global)


@given(st.integers(0, 2**128 - 1) | st.integers(0x2 << 124, (0x4 << 124) - 1))
def test_no_ipv6_address_outside_global_unicast_is_public(number: int) -> None:
    ip = IPv6Address(number)
    assert not (public(ip) and (not ip.is_global or number >> 125 != 1))


@given(st.text(max_size=60))
def test_a_name_that_passes_is_lower_case_ascii_and_no_address(text: str) -> None:
    name = host_name(text)
    if name is not None:
        assert name.isascii()
        assert name == name.lower()
        assert host_name(name) == name
        with pytest.raises(ValueError, match="does not appear"):
            ipaddress.ip_address(name)
