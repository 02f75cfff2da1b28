"""Post an action to a URL as a signed CloudEvent.

The receiver knows an action that it has seen by its id, so one whose fate is unknown is sent again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mlembed_crm import signing
from mlembed_crm.destinations import Limits, Receipt
from mlembed_crm.destinations.answers import require_accepted
from mlembed_crm.destinations.endpoint import Behind, Endpoint

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    import httpx

    from mlembed_crm.action import Action

_MAX_RESPONSE_BYTES = 64 * 1024


class Webhook(Behind):
    """A receiver of signed webhooks (Standard Webhooks 1.0, CloudEvents 1.0).

    Args:
        url: Where to post; `https` unless *allow_private*.
        secret: `whsec_` and base64, or several while they are being rotated: each signs.
        allow_private: Allow private addresses and plain `http`, for a receiver of your own.
        timeout_seconds: Longest time of one attempt, once its name is resolved.
        tls: TLS settings, for a receiver with a private certificate authority.
        transport: What carries requests instead, for tests.

    Raises:
        SettingsError: If the URL or a secret is malformed.
    """

    def __init__(
        self,
        url: str,
        secret: str | Sequence[str],
        *,
        allow_private: bool = False,
        timeout_seconds: float = 10.0,
        tls: ssl.SSLContext | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._endpoint = Endpoint(
            url,
            allow_private=allow_private,
            timeout_seconds=timeout_seconds,
            tls=tls,
            transport=transport,
            owner="Webhook",
        )
        self._keys = signing.read_secrets(secret)
        self.limits = Limits(call_seconds=timeout_seconds)

    def send(self, actions: Sequence[Action], /) -> list[Receipt]:
        """Post the one action of *actions*.

        Raises:
            DeliveryError: If the answer is not 2xx or does not come in time.
        """
        (action,) = actions
        body, timestamp = action.event(), int(time.time())
        headers = {
            "Content-Type": "application/cloudevents+json; charset=utf-8",
            signing.ID: action.id,
            signing.TIMESTAMP: str(timestamp),
            signing.SIGNATURE: signing.sign(self._keys, action.id, timestamp, body),
        }
        answer = self._endpoint.call(
            "POST", headers=headers, content=body, max_bytes=_MAX_RESPONSE_BYTES
        )
        require_accepted(answer.status, answer.headers, one_address=True)
        return [Receipt(status=answer.status)]
