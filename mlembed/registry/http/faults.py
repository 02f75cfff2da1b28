"""What can go wrong between a host and a registry, each in a sentence with its remedy.

No sentence shows what a server said or what a URL holds besides host and path: a server may echo
a request, credentials and all, and signed URLs carry their secret in the query.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Literal

from mlembed.errors import RegistryError

if TYPE_CHECKING:
    import httpx

    from mlembed.registry.http.deadline import Deadline

Kind = Literal["busy", "failing", "cut", "silent"]
_MAX_PATH = 200  # characters
_MAX_REASON = 120


class TransientError(RegistryError):
    """A failure that may be gone at the next try.

    Attributes:
        kind: `busy` if the server did nothing, `failing` if it may have done something, `cut` if
            an answer did not come whole, `silent` if no connection or nothing more came in time.
        pause_seconds: How long the server asks to be left alone; None if it does not say.
    """

    def __init__(
        self, text: str, kind: Kind = "failing", pause_seconds: float | None = None
    ) -> None:
        super().__init__(text)  # more would be read as errno; attributes are pickled besides
        self.kind = kind
        self.pause_seconds = pause_seconds


def place(url: httpx.URL) -> str:
    """Return where *url* is, without its user, query and fragment."""
    bare = url.copy_with(userinfo=b"", query=None, fragment=None)
    return str(bare)[:_MAX_PATH]


def explain(
    error: Exception, url: httpx.URL, deadline: Deadline, timeout_seconds: float, *, proxied: bool
) -> RegistryError:
    """Return what the foreign *error* on the way to *url* means; raise it from None.

    Args:
        error: Whatever httpx, the protocol's parser, TLS or the system raised.
        url: Where the request went.
        deadline: The call's; a cut connection means something else once it has passed.
        timeout_seconds: Longest wait for one step.
        proxied: Whether a proxy stood between.
    """
    import httpx

    where = place(url) + (" (through this environment's proxy)" if proxied else "")
    if deadline.passed:
        return overdue(where, deadline)
    if isinstance(error, (httpx.ConnectError, UnicodeError)):
        return _unreachable(_cause(error), where)
    if isinstance(error, httpx.TimeoutException):
        return TransientError(
            f"{where} does not answer: nothing came for {timeout_seconds:g} s; check the network "
            "and the registry's load",
            "silent",
        )
    if isinstance(error, httpx.ProxyError):
        return RegistryError(
            f"the proxy refuses the way to {where}; check HTTPS_PROXY and NO_PROXY"
        )
    if isinstance(error, (httpx.NetworkError, httpx.RemoteProtocolError)):
        return TransientError(
            f"{where} broke off or does not speak HTTP; check the registry's URL and port", "cut"
        )
    return RegistryError(f"cannot ask {where}: {type(error).__name__}; check the registry's URL")


def overdue(where: str, deadline: Deadline) -> RegistryError:
    """Return the error of a call that was cut by its deadline."""
    return RegistryError(
        f"{where} is too slow: no whole answer within {deadline.seconds:g} s; check the network "
        "and the registry's load"
    )


def _unreachable(cause: BaseException, where: str) -> RegistryError:
    if isinstance(cause, (socket.gaierror, UnicodeError)):
        return RegistryError(
            f"cannot find the host of {where}: its name is unknown; check the registry's URL and "
            "this machine's DNS"
        )
    if isinstance(cause, ssl.SSLError):
        reason = getattr(cause, "verify_message", "") or cause.reason or type(cause).__name__
        return RegistryError(
            f"no TLS with {where}: {reason[:_MAX_REASON]}; for a certificate authority of your "
            "own set ca_file or SSL_CERT_FILE"
        )
    if isinstance(cause, ConnectionRefusedError):
        return TransientError(
            f"{where} refuses the connection: nothing listens there; is the registry running?",
            "silent",
        )
    reason = (cause.strerror if isinstance(cause, OSError) else None) or type(cause).__name__
    reached = isinstance(cause, ConnectionResetError)  # taken, and broken off at once
    return TransientError(
        f"cannot connect to {where}: {reason}; check the network", "cut" if reached else "silent"
    )


def _cause(error: BaseException) -> BaseException:
    """Return the system's own error beneath *error*, as far as httpx keeps it."""
    beneath = error.__cause__ or error.__context__
    if isinstance(error, (OSError, UnicodeError)) or beneath is None:
        return error
    return _cause(beneath)
