"""Tell a Slack channel of actions through an incoming webhook, several in one message.

Slack takes one message a second and does not know one that it has seen. So the actions of a batch
share a message and its fate, and one that may have been posted is never posted again.
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

from mlembed.errors import SettingsError
from mlembed_crm.destinations import Limits, Receipt
from mlembed_crm.destinations.answers import require_accepted, retry_after
from mlembed_crm.destinations.endpoint import Behind, Endpoint
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    import httpx

    from mlembed_crm.action import Action
    from mlembed_crm.destinations.endpoint import Answer

BATCH = 20

_PAUSE_SECONDS = 1.0
_RATE_LIMIT_SECONDS = 30.0
_MAX_RESPONSE_BYTES = 4096
_MAX_SECTION = 3000
# Slack refuses blocks of more than some 13,000 characters together, which it does not document.
_MAX_SECTIONS = 12_000
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_CUT_ENTITY = re.compile(r"&[a-z]*\Z")

_OK, _NOT_FOUND, _RATE_LIMITED = 200, 404, 429
_GONE = {
    "action_prohibited",
    "channel_is_archived",
    "channel_not_found",
    "invalid_token",
    "no_active_hooks",
    "no_service",
    "no_service_id",
    "no_team",
    "posting_to_general_channel_denied",
    "team_disabled",
    "token_revoked",
}
_CODES = _GONE | {
    "invalid_blocks",
    "invalid_blocks_format",
    "invalid_payload",
    "missing_text_or_fallback_or_attachments",
    "msg_blocks_too_long",
    "msg_too_long",
    "no_text",
    "rate_limited",
    "rollup_error",
    "too_many_attachments",
    "user_not_found",
}


class Slack(Behind):
    """A channel, by an incoming webhook of a Slack app.

    Args:
        url: Of the webhook. Whoever knows it can post: it is shown nowhere.
        allow_private: Allow private addresses and plain `http`, for a gateway of your own.
        timeout_seconds: Longest time of one attempt, once its name is resolved.
        tls: TLS settings, for a gateway with a private certificate authority.
        transport: What carries requests instead, for tests.
        text: What to say of an action. `*bold*` and URLs work; `&`, `<` and `>` are escaped, so no
            value of a record can call for anyone's attention. By default rule, key, score, label,
            model and payload.

    Raises:
        SettingsError: If the URL is malformed or *text* is no function.
    """

    def __init__(
        self,
        url: str,
        *,
        allow_private: bool = False,
        timeout_seconds: float = 10.0,
        tls: ssl.SSLContext | None = None,
        transport: httpx.BaseTransport | None = None,
        text: Callable[[Action], str] | None = None,
    ) -> None:
        if text is not None and not callable(text):
            raise SettingsError("Slack: text must be a function of an action")
        self._endpoint = Endpoint(
            url,
            allow_private=allow_private,
            timeout_seconds=timeout_seconds,
            tls=tls,
            transport=transport,
            owner="Slack",
        )
        self._text = text
        self.limits = Limits(
            batch=BATCH,
            pause_seconds=_PAUSE_SECONDS,
            call_seconds=timeout_seconds,
            idempotent=False,
        )

    def send(self, actions: Sequence[Action], /) -> list[Receipt | DeliveryError]:
        """Post one message on *actions*.

        Raises:
            DeliveryError: If it was not posted, or Slack does not tell.
        """
        told: list[Receipt | DeliveryError | None] = [None] * len(actions)
        texts: list[str] = []
        for place, action in enumerate(actions):
            try:
                texts.append(self._words(action))
            except DeliveryError as error:
                told[place] = error
        if not texts:
            return [error for error in told if error is not None]
        answer = self._endpoint.call(
            "POST",
            headers={"Content-Type": "application/json; charset=utf-8"},
            content=json.dumps(self._message(texts)).encode(),
            max_bytes=_MAX_RESPONSE_BYTES,
        )
        receipt = read(answer)
        return [error or receipt for error in told]

    def _words(self, action: Action) -> str:
        if self._text is None:
            return default_text(action)
        try:
            text = self._text(action)
        except Exception as error:
            reason = f"the text function failed: {type(error).__name__}"
            raise DeliveryError(reason, permanent=True) from error
        if not isinstance(text, str) or not text.strip():
            raise DeliveryError("the text function must give a text", permanent=True)
        return text

    def _message(self, texts: Sequence[str]) -> dict[str, Any]:
        most = min(_MAX_SECTION, _MAX_SECTIONS // len(texts))
        lines = [_cut(text.translate(_ENTITIES), most) for text in texts]
        # Slack makes links of what looks like one, which is not for values of a record.
        verbatim = self._text is None
        sections = [
            {"type": "section", "text": {"type": "mrkdwn", "text": line, "verbatim": verbatim}}
            for line in lines
        ]
        return {"text": "\n".join(lines), "blocks": sections}


def default_text(action: Action) -> str:
    """Return what is said of an action: what was predicted for whom, and what the rule adds."""
    who = "" if action.key is None else f" for {action.key}"
    label = "" if action.label is None else f", label {action.label}"
    line = (
        f"*{action.rule}*{who}: score {action.score:.4g}{label} ({action.model}@{action.version})"
    )
    fields = ", ".join(f"{name}: {_value(value)}" for name, value in action.payload.items())
    if action.record:
        fields = f"{action.record}: {fields}"
    return f"{line}\n{fields}" if fields else line


def read(answer: Answer) -> Receipt:
    """Return the receipt that *answer* is.

    Raises:
        DeliveryError: If it is none; `stops` where the webhook or its channel is gone.
    """
    body = answer.body.decode("utf-8", "replace").strip()
    if answer.status == _OK and body == "ok":
        return Receipt(status=_OK)
    code = f" ({body})" if body in _CODES else ""
    if answer.status == _RATE_LIMITED or body == "rate_limited":
        seconds = retry_after(answer.headers.get("retry-after"), time.time())
        raise DeliveryError(
            f"HTTP {answer.status}: Slack takes no more messages just now",
            retry_after=_RATE_LIMIT_SECONDS if seconds is None else seconds,
            status=answer.status,
        )
    if answer.status == _NOT_FOUND or body in _GONE:
        raise DeliveryError(
            f"HTTP {answer.status}: the webhook or its channel is gone{code}; make a new one",
            status=answer.status,
            stops=True,
        )
    try:
        require_accepted(answer.status, answer.headers)
    except DeliveryError as error:
        if not code:
            raise
        kept = error.args[1:]
        raise DeliveryError(f"{error.reason}{code}", *kept) from None
    raise DeliveryError(
        f"HTTP {answer.status} without Slack's 'ok'", status=answer.status, unknown=True
    )


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cut(text: str, most: int) -> str:
    """Return *text*, at most *most* characters of it, with no half of an entity at its end."""
    if len(text) <= most:
        return text
    return _CUT_ENTITY.sub("", text[: most - 1]) + "\N{HORIZONTAL ELLIPSIS}"
