"""Turn predictions into actions in business systems, and lose none.

    outbox = Outbox("actions.db")
    rule = Rule("hold-payment", model="payments", when=rises_above(0.8), destination="risk-desk")
    Actions(outbox, [rule]).attach()
    Delivery(outbox, {"risk-desk": Webhook(url, secret)}).start()

A rule that acts commits its action to a SQLite file; a delivery sends it from there, at least once
and always under the same id. Names resolve on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlembed_crm import errors
    from mlembed_crm.action import Action
    from mlembed_crm.delivery import Delivered, Delivery, Retries
    from mlembed_crm.destinations import Destination, Receipt
    from mlembed_crm.destinations.webhook import Webhook
    from mlembed_crm.hook import Actions
    from mlembed_crm.outbox import Outbox
    from mlembed_crm.rules import Rule, falls_below, rises_above, score_at_least
    from mlembed_crm.signing import verify

__all__ = [
    "Action",
    "Actions",
    "Delivered",
    "Delivery",
    "Destination",
    "Outbox",
    "Receipt",
    "Retries",
    "Rule",
    "Webhook",
    "errors",
    "falls_below",
    "rises_above",
    "score_at_least",
    "verify",
]

_HOMES = {
    "Action": "action",
    "Actions": "hook",
    "Delivered": "delivery",
    "Delivery": "delivery",
    "Destination": "destinations",
    "Outbox": "outbox",
    "Receipt": "destinations",
    "Retries": "delivery",
    "Rule": "rules",
    "Webhook": "destinations.webhook",
    "falls_below": "rules",
    "rises_above": "rules",
    "score_at_least": "rules",
    "verify": "signing",
}


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module("mlembed_crm.errors")
    if name in _HOMES:
        value = getattr(importlib.import_module(f"mlembed_crm.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'mlembed_crm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
