"""The call list: what came of a call, and what the model is told of it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone

from backoffice.models import CallListEntry, Customer, Outcome
from backoffice.risk import likely
from mlembed_django.conf import get_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.contrib.auth.models import User

_LEFT = {Outcome.STAYED: False, Outcome.LEFT: True}
_PAST_CALLS = 60


def conclude(entry: CallListEntry, outcome: Outcome, user: User) -> bool:
    """Close *entry* with what came of the call, and report it; whoever is first decides.

    Returns:
        Whether it was open.
    """
    with transaction.atomic():
        closed = CallListEntry.objects.filter(pk=entry.pk, done=None).update(
            done=timezone.now(), outcome=outcome, called_by=user
        )
    if closed and outcome in _LEFT:
        if entry.prediction:
            get_model("churn").outcome(entry.prediction, _LEFT[outcome])
        else:
            report(entry.customer, _LEFT[outcome])
    return bool(closed)


def report(customer: Customer, left: bool) -> None:  # noqa: FBT001  the label itself
    """Tell the model whether *customer* left; a later report replaces an earlier one."""
    with transaction.atomic():
        row = Customer.objects.select_for_update().get(pk=customer.pk)
        revision = row.reports
        row.reports = revision + 1
        row.save(update_fields=["reports"])
    get_model("churn").outcome(value=left, key=str(customer.pk), revision=revision)


def past_calls(customers: Sequence[Customer], now: dt.datetime) -> Iterator[CallListEntry]:
    """Yield calls that were made in the last weeks, to some of the open *customers*; not saved."""
    there = [customer for customer in customers if customer.closed is None]
    for number, customer in enumerate(there[:: max(1, len(there) // _PAST_CALLS)]):
        done = now - dt.timedelta(days=1 + number * 45 / _PAST_CALLS, hours=number % 8)
        outcome = (Outcome.STAYED, Outcome.STAYED, Outcome.LEFT, Outcome.UNREACHED)[number % 4]
        score = 0.71 + 0.06 * (number % 4)
        yield CallListEntry(
            customer=customer,
            score=score,
            reason=f"Likely to leave: {likely(score)} within 60 days",
            created=done - dt.timedelta(days=1 + number % 3),
            done=done,
            outcome=outcome,
        )
