"""Which addresses notifications may go to."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modabatchd.notifications.addresses import allowed

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "93.184.216.34", "192.0.1.1", "100.63.255.255", "100.128.0.1"])
def test_public_ipv4_is_allowed(address: str) -> None:
    assert allowed(address, ())


@pytest.mark.parametrize("address", ["2606:4700:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888", "2003::1"])
def test_public_ipv6_is_allowed(address: str) -> None:
    assert allowed(address, ())


REFUSED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.9",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd12::1",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]


@pytest.mark.parametrize("address", REFUSED)
def test_everything_special_is_refused(address: str) -> None:
    assert not allowed(address, ())


@pytest.mark.parametrize(
    "address", ["", "localhost", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.0.0.1 ", "[::1]", "1.1.1.1/32"]
)
def test_what_is_no_usual_text_of_an_address_is_refused(address: str) -> None:
    assert not allowed(address, (ip_network("0.0.0.0/0"), ip_network("::/0")))


def test_listed_networks_are_allowed_and_no_others() -> None:
    assert allowed("127.0.0.1", LOOPBACK)
    assert allowed("::1", LOOPBACK)
    assert not allowed("10.0.0.1", LOOPBACK)
    # The same machine behind another kind of address is not what was listed.
    assert not allowed("::ffff:127.0.0.1", LOOPBACK)
    assert not allowed("64:ff9b::7f00:1", LOOPBACK)
    assert allowed("fd00::5", (ip_network("fd00::/8"),))


@given(st.ip_addresses())
def test_whatever_the_standard_library_calls_special_is_refused(address: object) -> None:
    special = any(
        getattr(address, name) for name in ("is_private", "is_loopback", "is_link_local", "is_multicast", "is_reserved")
    )
    if special or address.is_unspecified or not address.is_global:
        assert not allowed(str(address), ())
