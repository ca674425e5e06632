"""Which addresses notifications may go to.  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network

#: Of IPv6 only this is handed out for the public; all else is loopback, link-local, site-local, unique local, multicast,
#: mapped or translated IPv4 (NAT64), or not used.
_PUBLIC: Final = IPv6Network("2000::/3")

#: What the IANA registries of special purposes take out of the rest.  C{is_global} lets several of them through.
_SPECIAL: Final[Sequence[Network]] = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers (CGNAT)
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, the metadata of clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarking
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)


def allowed(address: str, private: Sequence[Network]) -> bool:
    """
    Whether a notification may go to this address.

    @param address: an IPv4 or IPv6 address in its usual text form; anything else is not allowed.
    @param private: networks that are allowed though they are not public.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if any(parsed in network for network in private):
        return True
    if isinstance(parsed, IPv6Address) and (parsed.scope_id or parsed not in _PUBLIC):
        return False
    return not any(parsed in network for network in _SPECIAL)
