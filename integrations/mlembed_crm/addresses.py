"""Refuse to send to the private network.

A URL may come from a user of the host, and a name may resolve to anything. So the name is resolved
here, every address is judged, and the connection is made to a judged address, never to the name.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TypeAlias

from mlembed_crm.errors import DeliveryError

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_TUNNELS_AND_EXAMPLES = tuple(
    ipaddress.ip_network(network)
    for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)


def is_public(address: Address) -> bool:
    """Return whether *address* is an ordinary host of the public internet."""
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not (address.is_multicast or address.is_reserved)
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    if address in _NAT64:
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    return address in _GLOBAL_UNICAST and not any(
        address in network for network in _TUNNELS_AND_EXAMPLES
    )


def is_private_literal(host: str) -> bool:
    """Return whether *host* is a private address written out, in any form the system reads."""
    try:
        found = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return False
    return not all(is_public(_parse(entry[4][0])) for entry in found)


def resolve(host: str, port: int, *, allow_private: bool) -> tuple[str, ...]:
    """Return the addresses of *host*, in the order to try them.

    Args:
        host: A name, or an address in any form the system reads.
        port: Of the service.
        allow_private: Whether private, loopback and link-local addresses will do.

    Raises:
        DeliveryError: If it does not resolve, or any address is not public; a name that has one
            public and one private address is not trusted.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no host name"
        raise DeliveryError(f"{host} does not resolve: {reason}", reached=False) from error
    addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not allow_private:
        for address in addresses:
            if not is_public(_parse(address)):
                raise DeliveryError(
                    f"{host} is at a private address, which is refused. Name a public host, or "
                    "set allow_private for a receiver of your own",
                    reached=False,
                )
    return addresses


def _parse(text: str | int) -> Address:
    return ipaddress.ip_address(text)
