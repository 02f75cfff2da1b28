"""Private addresses: refused in every form, and never reached by a name that changes."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Any

import pytest

from mlembed_crm.addresses import is_public, resolve
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "192.0.0.1", "198.18.0.1", "224.0.0.1", "240.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "fd12::1", "fec0::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1",
        "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001::1", "2001:db8::1",
    ],
)  # fmt: skip
def test_address_that_is_not_of_the_internet_is_not_public(address: str) -> None:
    """Loopback, private, link-local, shared, reserved and tunnelled addresses are refused."""
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_address_of_the_internet_is_public(address: str) -> None:
    """Ordinary hosts, also by way of IPv4 in IPv6, are allowed."""
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "host", ["localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "0", "::1"]
)
def test_resolve_refuses_every_spelling_of_the_local_machine(host: str) -> None:
    """What counts is the address a name leads to, not how it is written."""
    with pytest.raises(DeliveryError, match="private address") as caught:
        resolve(host, 443, allow_private=False)

    assert not caught.value.permanent


def test_resolve_allows_the_local_machine_when_told() -> None:
    """A host's own receiver can be reached if the host says so."""
    assert resolve("127.1", 80, allow_private=True) == ("127.0.0.1",)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".test", "\u2024.test"])
def test_resolve_says_that_a_name_leads_nowhere(host: str) -> None:
    """An unknown or impossible name is a failure to be tried again."""
    with pytest.raises(DeliveryError, match="does not resolve") as caught:
        resolve(host, 443, allow_private=False)

    assert not caught.value.reached


def test_resolve_distrusts_a_name_with_one_private_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that leads inside and outside is refused, in whatever order it says so."""
    monkeypatch.setattr(socket, "getaddrinfo", answers("93.184.216.34", "10.0.0.1"))

    with pytest.raises(DeliveryError, match="private address"):
        resolve("two-faced.test", 443, allow_private=False)


def answers(*addresses: str) -> Callable[..., list[Any]]:
    """Return a resolver that leads every name to *addresses*."""

    def getaddrinfo(_host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in addresses]

    return getaddrinfo


def test_resolve_returns_public_addresses_once_and_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The addresses of a name are tried as the system orders them."""
    monkeypatch.setattr(socket, "getaddrinfo", answers("93.184.216.34", "8.8.8.8", "93.184.216.34"))

    found = resolve("public.test", 443, allow_private=False)

    assert found == ("93.184.216.34", "8.8.8.8")
