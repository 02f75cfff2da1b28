"""Hold an access token that expires, and fetch another one at a time.

Workers that are refused together ask for one new token together. If that is refused as well, the
destination stops: asking again would lock the account.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlembed_crm.destinations.endpoint import Answer


_SAME_SECONDS = 2.0


class Token(NamedTuple):
    """An access token, and the service to use it at where the login tells.

    Attributes:
        secret: What is sent.
        url: Base URL of the service; empty where it is known.
    """

    secret: str
    url: str = ""

    def __repr__(self) -> str:
        return "Token(...)"


class Tokens:
    """The token of this process; may be used from any thread.

    Args:
        fetch: Logs in; raises `DeliveryError`, with `stops` if the credentials are refused.
    """

    def __init__(self, fetch: Callable[[], Token]) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._failure: tuple[float, DeliveryError] | None = None

    def call(
        self, request: Callable[[Token], Answer], is_expired: Callable[[Answer], bool]
    ) -> Answer:
        """Make a request with the token, once more with a new one if it has expired.

        Raises:
            DeliveryError: As *request* and the login raise; one that `stops` where the new token
                is refused as well.
        """
        token = self._current(None)
        answer = request(token)
        if is_expired(answer):
            answer = request(self._current(token))
            if is_expired(answer):
                raise DeliveryError(
                    f"HTTP {answer.status}: a new access token is refused as well",
                    status=answer.status,
                    stops=True,
                )
        return answer

    def _current(self, refused: Token | None) -> Token:
        with self._lock:
            if self._token is not None and self._token != refused:
                return self._token
            # Those that waited for this login learn what it came to, and do not log in each.
            if self._failure and time.monotonic() - self._failure[0] < _SAME_SECONDS:
                raise self._failure[1]
            self._token = None
            try:
                self._token = self._fetch()
            except DeliveryError as error:
                self._failure = time.monotonic(), error
                raise
            self._failure = None
            return self._token
