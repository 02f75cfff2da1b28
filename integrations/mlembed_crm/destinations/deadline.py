"""End a call to a destination by a deadline, as a registry's: httpx bounds one read each.

A receiver that sends a byte at a time could hold a delivery for hours, past its lease.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from mlembed.errors import RegistryError
from mlembed.registry.http import deadline
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    import socket


class Deadline(deadline.Deadline):
    """A time by which the connections seen by `trace` are cut.

    Args:
        seconds: From now.

    Raises:
        DeliveryError: If it is entered where no thread can be had.
    """

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Watch a new connection; give this to httpx as the `trace` extension."""
        if event == "connection.connect_tcp.complete":
            connection: socket.socket = info["return_value"].get_extra_info("socket")
            self.watch(connection)

    def __enter__(self) -> Self:
        try:
            return super().__enter__()
        except RegistryError as error:
            why = "this process can start no thread; raise its limit, or deliver before it ends"
            raise DeliveryError(why, reached=False) from error
