"""What the first page shows: the shop in numbers, who may leave, whom to call, what serves."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from django.db.models import Count, F, Max, Q, Sum
from django.db.models.functions import Coalesce, TruncWeek
from django.utils import timezone

from backoffice import charts
from backoffice.customers import YEAR
from backoffice.models import CallListEntry, Customer, OpenCustomer, Order, Outcome
from backoffice.risk import HIGH
from mlembed.errors import MlembedError
from mlembed_django.conf import get_model
from mlembed_django.models import ModelVersion, Prediction, Report, Service

if TYPE_CHECKING:
    from django.db.models import QuerySet

WEEKS, MONTH = 26, dt.timedelta(days=30)
SHOWN = 8


def dashboard() -> dict[str, Any]:
    """Return all that the page shows."""
    now = timezone.now()
    scores = list(
        Customer.objects.open().filter(churn__isnull=False).values_list("churn", flat=True)
    )
    at_risk = OpenCustomer.objects.with_stake().filter(churn__gte=HIGH.low).order_by("-at_stake")
    return {
        "numbers": _numbers(now),
        "stake": sum(at_risk.values_list("at_stake", flat=True)),
        "n_at_risk": sum(score >= HIGH.low for score in scores),
        "n_scored": len(scores),
        "distribution": charts.distribution(scores),
        "sales": charts.weeks(_weekly(now)),
        "at_risk": at_risk[:SHOWN],
        "calls": open_calls()[:SHOWN],
        "calls_numbers": _calls_numbers(now),
        "service": service(now),
    }


def open_calls() -> QuerySet[CallListEntry]:
    """Return the calls that are to be made, those with the most at stake first."""
    year = Q(customer__orders__placed__gte=timezone.now() - YEAR)
    spent = Coalesce(Sum("customer__orders__total_cents", filter=year), 0)
    calls = CallListEntry.objects.filter(done=None).select_related("customer")
    return calls.annotate(at_stake=F("score") * spent).order_by("-at_stake", "pk")


def service(now: dt.datetime) -> dict[str, Any]:
    """Return which version of the model answers, and how it is."""
    model = get_model("churn")
    try:
        version = model.version
    except MlembedError:
        version = ""
    scored = Customer.objects.open().aggregate(
        last=Max("churn_time"),
        stale=Count("pk", filter=Q(churn__isnull=False) & ~Q(churn_version=version)),
    )
    day = now - dt.timedelta(days=1)
    return {
        "version": version,
        "state": model.state,
        "known": ModelVersion.objects.filter(model="churn", version=version).first(),
        "hosts": Service.objects.filter(model="churn"),
        "report": Report.objects.filter(model="churn").first(),
        "last_scored": scored["last"],
        "n_stale": scored["stale"],
        "n_day": Prediction.objects.filter(model="churn", created__gte=day).count(),
    }


def _numbers(now: dt.datetime) -> dict[str, Any]:
    customers = Customer.objects.open().aggregate(
        n=Count("pk"), new=Count("pk", filter=Q(joined__gte=now - MONTH))
    )
    sales = Order.objects.filter(placed__gte=now - 2 * MONTH).aggregate(
        now=Sum("total_cents", filter=Q(placed__gte=now - MONTH)),
        before=Sum("total_cents", filter=Q(placed__lt=now - MONTH)),
    )
    this, before = ((sales[name] or 0) / 100 for name in ("now", "before"))
    change = this / before - 1 if before else None
    return {"customers": customers["n"], "new": customers["new"], "sales": this, "change": change}


def _calls_numbers(now: dt.datetime) -> dict[str, Any]:
    numbers = CallListEntry.objects.aggregate(
        to_do=Count("pk", filter=Q(done=None)),
        called=Count("pk", filter=Q(done__gte=now - MONTH)),
        reached=Count("pk", filter=Q(done__gte=now - MONTH) & ~Q(outcome=Outcome.UNREACHED)),
        stayed=Count("pk", filter=Q(done__gte=now - MONTH, outcome=Outcome.STAYED)),
    )
    reached = numbers["reached"]
    return {**numbers, "share": numbers["stayed"] / reached if reached else None}


def _weekly(now: dt.datetime) -> list[tuple[dt.date, float]]:
    """Return the sales of the last whole weeks, those without any too."""
    monday = (now - dt.timedelta(days=now.weekday())).date()
    days = [monday - dt.timedelta(weeks=number) for number in range(WEEKS, 0, -1)]
    start = dt.datetime.combine(days[0], dt.time(), dt.UTC)
    found = (
        Order.objects.filter(placed__gte=start)
        .order_by()
        .annotate(week=TruncWeek("placed"))
        .values("week")
        .annotate(cents=Sum("total_cents"))
    )
    cents = {row["week"].date(): row["cents"] for row in found}
    return [(day, cents.get(day, 0) / 100) for day in days]
