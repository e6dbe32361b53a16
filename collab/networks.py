"""What counts as one where something is limited by address: who can choose among addresses counts as one all the same.

Invariants borne here:

* An IPv6 address counts as its /64, which is the least that a provider gives: whoever has one has 2^64 addresses.
* An IPv4 address counts as itself, also where it is written as IPv6, as a socket for both kinds has it.
"""

from __future__ import annotations

import ipaddress
from typing import Final

PREFIX: Final = 64
"""Bits of an IPv6 address that count."""


def read_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address, as IPv4 where it is one.

    Raises:
        ValueError: it is none.
    """
    address = ipaddress.ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address


def network_of(address: str) -> str:
    """What `address` counts as; what is none, such as the empty one of a Unix socket, counts as itself."""
    try:
        found = read_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ipaddress.IPv6Network((found, PREFIX), strict=False) if found.version == 6 else found)
