"""Tables that a page shows beside a row: what belongs to it in other tables."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from django.db.models import Q

from mlembed_django.admin import shown
from mlembed_django.admin.ids import by_id
from mlembed_django.admin.permitted import log_database, may, outbox_database, sight_of
from mlembed_django.models import Attempt, Delivery, Outcome, Prediction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import QuerySet
    from django.http import HttpRequest

_MOST = 20


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """One table.

    Attributes:
        title: What it holds.
        head: Its columns.
        rows: Its cells, as they are shown.
        empty: What is said where there is no row.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Any]]
    empty: str = "None."


def outcomes_of(request: HttpRequest, row: Prediction, site: str) -> list[Table]:
    """Return what was reported of *row*, by its id or its key, for a user who may see it."""
    if not may(request, "view_outcome"):
        return []
    told = Q(uuid=row.uuid, row=row.row)
    if row.key:
        told |= Q(uuid=None, key=row.key, model=row.model)
    rows = _chosen(Outcome.objects.using(log_database()), told, request, "names")
    cells = [
        (
            shown.linked(shown.row_address(site, "outcome", each.pk), shown.moment(each.created)),
            shown.shortened(str(each.value)),
            shown.moment(each.observed),
            "its id" if each.uuid else "its key",
            each.revision,
        )
        for each in rows
    ]
    head = ("reported", "value", "observed", "by", "revision")
    return [Table("Outcomes", head, cells, "None was reported yet.")]


def deliveries_of(request: HttpRequest, row: Prediction, site: str) -> list[Table]:
    """Return the actions that *row* caused, for a user who may see them."""
    if not may(request, "view_delivery"):
        return []
    ids = {f"{row.uuid}/{row.row}", f"{row.uuid.hex}/{row.row}"}
    if not row.row:
        ids |= {str(row.uuid), row.uuid.hex}
    deliveries = Delivery.objects.using(outbox_database())
    rows = _chosen(deliveries, Q(prediction__in=sorted(ids)), request, "refs")
    cells = [
        (
            shown.linked(shown.row_address(site, "delivery", each.pk), shown.seconds(each.queued)),
            each.rule,
            each.destination,
            shown.badge(each.state),
            each.attempts,
            shown.shortened(each.last_error),
        )
        for each in rows
    ]
    head = ("queued", "rule", "destination", "state", "attempts", "last error")
    return [Table("Deliveries", head, cells, "It caused none.")]


def attempts_of(row: Delivery, using: str) -> list[Table]:
    """Return the attempts to deliver *row*, the oldest first."""
    cells = [
        (
            shown.seconds(each.started),
            shown.badge(each.result),
            shown.latency(each.seconds),
            shown.NONE if each.status is None else each.status,
            each.detail or shown.NONE,
        )
        for each in Attempt.objects.using(using)
        .filter(delivery=row)
        .order_by("started", "pk")[:200]
    ]
    head = ("started", "result", "took", "status", "detail")
    return [Table("Attempts", head, cells, "None was begun yet.")]


def prediction_address(request: HttpRequest, row: Delivery, site: str) -> str:
    """Return the address of the prediction that caused *row*; empty where there is none to see."""
    named = by_id(row.prediction)
    if named is None or not may(request, "view_prediction"):
        return ""
    mine = Q(uuid=named[0], row=named[1] or 0)
    rows = _chosen(Prediction.objects.using(log_database()), mine, request, "names")
    found = rows.values_list("pk", flat=True).first()
    return "" if found is None else shown.row_address(site, "prediction", found)


def _chosen(rows: QuerySet[Any], which: Q, request: HttpRequest, by: str) -> QuerySet[Any]:
    return rows.filter(which, sight_of(request.user).limit(by, found=True)).order_by("-pk")[:_MOST]
