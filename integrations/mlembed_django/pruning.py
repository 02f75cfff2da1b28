"""Delete what the site no longer keeps, a few rows at a time, so that nobody waits for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from django.db.models import Q

from mlembed_django.models import Attempt, Delivery, Outcome, Prediction, Report
from mlembed_django.times import date_of_seconds

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from mlembed_django.conf import Site

_CHUNK = 500
_DAY_SECONDS = 86_400.0
_SETTLED = ("sent", "superseded", "held", "discarded")


def prune(site: Site, now: float, *, dry_run: bool = False) -> dict[str, int]:
    """Delete what is older than the site's setting keeps.

    Args:
        site: Whose rows.
        now: Unix time.
        dry_run: Count, and delete nothing.

    Returns:
        How many rows of each kind, in words for people.

    Raises:
        django.db.Error: If the database fails; what was deleted before stays deleted.
    """
    declaration, counts = site.declaration, {}
    database, outbox = declaration.database, declaration.outbox
    if database is not None:
        before = date_of_seconds(max(0.0, now - database.keep_days * _DAY_SECONDS))
        for name, model in (
            ("predictions", Prediction),
            ("outcomes", Outcome),
            ("reports", Report),
        ):
            rows: QuerySet[Any] = model.objects.using(database.using)
            counts[name] = _delete(rows.filter(created__lt=before), "created", dry_run=dry_run)
    if declaration.actions:
        cutoff = now - outbox.keep_days * _DAY_SECONDS
        counts["deliveries"] = prune_deliveries(outbox.using, cutoff, dry_run=dry_run)
    return counts


def prune_deliveries(using: str, before: float, *, dry_run: bool = False) -> int:
    """Delete the deliveries that were settled before a Unix time, with their attempts.

    What was given up stays. Of one whose rule still remembers it the memory does, and no more.
    """
    every = Delivery.objects.using(using)
    needed = Q(memory__isnull=False) & (
        Q(armed=False) | ~Q(seen="null") | Q(quiet_until__gt=time.time())
    )
    settled = every.filter(state__in=_SETTLED, settled__lt=before)
    if not dry_run:
        kept = settled.filter(needed).order_by()
        while pks := list(kept.values_list("pk", flat=True)[:_CHUNK]):
            Attempt.objects.using(using).filter(delivery__in=pks).delete()
            kept.filter(pk__in=pks).update(state="remembered", payload="{}", slot="")
    forgotten = every.filter(state="remembered").exclude(needed)
    return sum(
        _delete(rows, "settled", dry_run=dry_run) for rows in (settled.exclude(needed), forgotten)
    )


def _delete(rows: QuerySet[Any], by: str, *, dry_run: bool) -> int:
    if dry_run:
        return rows.count()
    deleted = 0
    while pks := list(rows.order_by(by).values_list("pk", flat=True)[:_CHUNK]):
        # The condition once more: a person may have queued one of them again meanwhile.
        rows.filter(pk__in=pks).delete()
        deleted += len(pks)
    return deleted
