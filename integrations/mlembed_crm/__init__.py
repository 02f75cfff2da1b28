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
    from mlembed_crm.conditions import (
        every_score,
        falls_below,
        label_changes,
        rises_above,
        score_at_least,
        top,
    )
    from mlembed_crm.delivery import Delivered, Delivery
    from mlembed_crm.destinations import Destination, Limits, Receipt
    from mlembed_crm.destinations.hubspot import HubSpot
    from mlembed_crm.destinations.odoo import Odoo
    from mlembed_crm.destinations.salesforce import Salesforce
    from mlembed_crm.destinations.slack import Slack
    from mlembed_crm.destinations.tryton import Tryton
    from mlembed_crm.destinations.webhook import Webhook
    from mlembed_crm.errors import DeliveryError
    from mlembed_crm.fates import Retries
    from mlembed_crm.hook import Actions
    from mlembed_crm.outbox import Outbox
    from mlembed_crm.outcomes import Outcomes
    from mlembed_crm.quiet import QuietHours
    from mlembed_crm.rules import Rule
    from mlembed_crm.signing import verify
    from mlembed_crm.truths import Truth
    from mlembed_crm.upsert import Upsert, field

__all__ = [
    "Action",
    "Actions",
    "Delivered",
    "Delivery",
    "DeliveryError",
    "Destination",
    "HubSpot",
    "Limits",
    "Odoo",
    "Outbox",
    "Outcomes",
    "QuietHours",
    "Receipt",
    "Retries",
    "Rule",
    "Salesforce",
    "Slack",
    "Truth",
    "Tryton",
    "Upsert",
    "Webhook",
    "errors",
    "every_score",
    "falls_below",
    "field",
    "label_changes",
    "rises_above",
    "score_at_least",
    "top",
    "verify",
]

_HOMES = {
    "Action": "action",
    "Actions": "hook",
    "Delivered": "delivery",
    "Delivery": "delivery",
    "DeliveryError": "errors",
    "Destination": "destinations",
    "HubSpot": "destinations.hubspot",
    "Limits": "destinations",
    "Odoo": "destinations.odoo",
    "Outbox": "outbox",
    "Outcomes": "outcomes",
    "QuietHours": "quiet",
    "Receipt": "destinations",
    "Retries": "fates",
    "Rule": "rules",
    "Salesforce": "destinations.salesforce",
    "Slack": "destinations.slack",
    "Truth": "truths",
    "Tryton": "destinations.tryton",
    "Upsert": "upsert",
    "Webhook": "destinations.webhook",
    "every_score": "conditions",
    "falls_below": "conditions",
    "field": "upsert",
    "label_changes": "conditions",
    "rises_above": "conditions",
    "score_at_least": "conditions",
    "top": "conditions",
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
