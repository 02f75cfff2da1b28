"""Put customers who are about to leave on the call list, and tell the sales desk.

A rule acts once a customer when the score rises above its bound, and again only after the score
was below `reset`. The action waits in the site's own database until it is delivered.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from backoffice.risk import HIGH_FROM, MEDIUM_FROM, likely
from mlembed_crm import Rule, rises_above
from mlembed_crm.destinations import Limits, Receipt
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed import Prediction
    from mlembed_crm.action import Action

REASON = "Likely to leave"


def _payload(prediction: Prediction) -> dict[str, Any]:
    return {"reason": f"{REASON}: {likely(prediction.score)} within 60 days"}


_RISES = rises_above(HIGH_FROM, reset=MEDIUM_FROM)
RULES = [
    Rule("call-customer", model="churn", when=_RISES, destination="call-list", payload=_payload)
]
if settings.SALES_DESK_URL:  # once it is set, the next scoring tells of all who are at risk
    RULES.append(
        Rule("tell-sales", model="churn", when=_RISES, destination="sales-desk", payload=_payload)
    )


class CallList:
    """Delivers an action as an entry of the call list; the same action makes one entry."""

    name = "call list"
    limits = Limits(batch=50)

    def send(self, actions: Sequence[Action], /) -> list[Receipt | DeliveryError]:
        """Write an entry for each, unless it is there or the customer is to be called already."""
        return [self._enter(action) for action in actions]

    def _enter(self, action: Action) -> Receipt | DeliveryError:
        from backoffice.models import CallListEntry, Customer

        entries = CallListEntry.objects
        customer = Customer.objects.filter(pk=action.key).first()
        if customer is None:
            return DeliveryError("there is no such customer", permanent=True)
        known = entries.filter(action=action.id).first()
        if known is None:
            try:
                with transaction.atomic():
                    known = entries.create(
                        customer=customer,
                        action=uuid.UUID(action.id),
                        prediction=action.prediction_id,
                        score=action.score,
                        reason=str(action.payload.get("reason", REASON)),
                        created=timezone.now(),
                    )
            except IntegrityError:
                known = entries.filter(customer=customer, done=None).first()
        return Receipt(remote_id=f"call {known.pk}" if known else "")
