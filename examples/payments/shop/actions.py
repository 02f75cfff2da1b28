"""Tell the risk desk about each payment that is blocked.

The outbox lies in the site's own database, so a decision and its action are committed together:
neither can be there without the other, whenever the process dies.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connection, transaction

from mlembed_crm import Actions, Delivery, Outbox, Rule, Webhook, rises_above
from shop.models import BLOCK_FROM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlembed import Prediction

DESTINATION = "risk-desk"
RULES = [
    Rule("hold-payment", model="payments", when=rises_above(BLOCK_FROM), destination=DESTINATION)
]


@functools.cache
def outbox() -> Outbox:
    """Return the outbox in the site's own database."""
    return Outbox(settings.DATABASE)


@functools.cache
def actions() -> Actions:
    """Return the rules on the site's outbox."""
    return Actions(outbox(), RULES)


@contextlib.contextmanager
def deciding() -> Iterator[Callable[[Prediction], object]]:
    """Open a transaction; give the function that queues what a prediction causes within it."""
    # Before the transaction: the first call makes the outbox's tables on a connection of its own.
    rules = actions()
    with transaction.atomic():
        yield lambda prediction: rules.apply(prediction, connection=connection.connection)


def start_delivery() -> Delivery | None:
    """Deliver on a thread of this process; None where no risk desk is set."""
    if not settings.PAYMENTS_WEBHOOK_URL:
        return None
    # The example's risk desk runs beside it; leave allow_private out for one on the internet.
    desk = Webhook(
        settings.PAYMENTS_WEBHOOK_URL, settings.PAYMENTS_WEBHOOK_SECRET, allow_private=True
    )
    return Delivery(outbox(), {DESTINATION: desk}, poll_seconds=0.2).start()
