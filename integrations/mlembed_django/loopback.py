"""Tell what a test run may reach: this machine, and nothing else."""

from __future__ import annotations

import contextlib
import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlembed_crm.destinations import Destination

_OURS = "mlembed_crm.destinations."


def is_loopback(url: str) -> bool:
    """Tell whether *url* names this machine; a name is not looked up, but for `localhost`."""
    host = ""
    with contextlib.suppress(ValueError):
        host = urlsplit(url).hostname or ""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def require_loopback(destinations: Mapping[str, Destination]) -> None:
    """See that nothing is sent away from this machine, as far as destinations say where they are.

    One of the host's own whose name is no URL is the host's own affair, as a fake is.

    Raises:
        ImproperlyConfigured: Naming each that is elsewhere.
    """
    away = [name for name, each in destinations.items() if _is_away(each)]
    if away:
        raise ImproperlyConfigured(
            f"tests deliver to this machine alone, and {', '.join(away)} is elsewhere. Put "
            "mlembed_django.testing.capture_actions around the test, or override "
            "MLEMBED['DESTINATIONS'] with one on 127.0.0.1"
        )


def _is_away(destination: Destination) -> bool:
    if "://" in destination.name:
        return not is_loopback(destination.name)
    return type(destination).__module__.startswith(_OURS)
