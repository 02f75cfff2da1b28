"""The pages: the shop at a glance, its customers, the calls to make."""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar, cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.core.paginator import Paginator
from django.db import transaction
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from backoffice import calls
from backoffice.dashboard import dashboard, open_calls
from backoffice.listing import PAGE, listing
from backoffice.models import CallListEntry, Customer, OpenCustomer, Order, Outcome, Segment
from backoffice.risk import RISKS, likely, risk_of
from backoffice.told import facts, said

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User

    from mlembed_django.requests import PredictionRequest

View = TypeVar("View", bound="Callable[..., HttpResponse]")
_ORDERS = 12
_SEES_CUSTOMERS = "backoffice.view_customer"


def _allowed(permission: str) -> Callable[[View], View]:
    """Ask for a login, and then for *permission*."""

    def decorate(view: View) -> View:
        allowed = permission_required(permission, raise_exception=True)(view)
        return never_cache(login_required(allowed))

    return decorate


@require_GET
@_allowed(_SEES_CUSTOMERS)
def index(request: PredictionRequest) -> HttpResponse:
    """Show the shop at a glance."""
    return render(request, "backoffice/dashboard.html", dashboard())


@require_GET
@_allowed(_SEES_CUSTOMERS)
def customers(request: PredictionRequest) -> HttpResponse:
    """List customers."""
    context = {"list": listing(request.GET), "risks": RISKS.values(), "segments": Segment.choices}
    return render(request, "backoffice/customers.html", context)


@require_GET
@_allowed(_SEES_CUSTOMERS)
def customer(request: PredictionRequest, pk: int) -> HttpResponse:
    """Show one customer: orders, risk, and what the model was told and said."""
    found = get_object_or_404(Customer.objects.with_history().with_stake(), pk=pk)
    context = {
        "customer": found,
        "orders": Order.objects.filter(customer=found)[:_ORDERS],
        "facts": facts(found),
        "said": said(found),
        "calls": CallListEntry.objects.filter(customer=found).select_related("called_by"),
    }
    return render(request, "backoffice/customer.html", context)


@require_POST
@_allowed("backoffice.score_customer")
def score(request: PredictionRequest, pk: int) -> HttpResponse:
    """Ask the model about a customer now, and keep its answer on the row.

    The score and the call that it may cause commit together or not at all.
    """
    with transaction.atomic():
        found = get_object_or_404(OpenCustomer, pk=pk)
        prediction = request.predictions["churn"].predict(found)
        if prediction.reason == "fallback":
            messages.error(request, "The model cannot answer just now; the old score stands.")
            return redirect("customer", pk=pk)
        Customer.objects.filter(pk=pk).update(
            churn=prediction.score, churn_version=prediction.version, churn_time=timezone.now()
        )
    messages.success(request, f"The model says {likely(prediction.score)}.")
    return redirect("customer", pk=pk)


@require_POST
@_allowed("backoffice.report_customer")
def report(request: PredictionRequest, pk: int) -> HttpResponse:
    """Report whether a customer stayed."""
    found = get_object_or_404(Customer, pk=pk)
    said_so = {"stayed": False, "left": True}.get(request.POST.get("outcome", ""))
    if said_so is None:
        return HttpResponse("outcome must be stayed or left", status=HTTPStatus.BAD_REQUEST)
    calls.report(found, said_so)
    messages.success(request, f"Reported: {found.name} {'leaves' if said_so else 'stays'}.")
    return redirect("customer", pk=pk)


@require_GET
@_allowed("backoffice.view_calllistentry")
def call_list(request: PredictionRequest) -> HttpResponse:
    """List the calls to make, or those that were made."""
    done = request.GET.get("done") == "1"
    made = CallListEntry.objects.filter(done__isnull=False)
    entries = made.select_related("customer", "called_by").order_by("-done", "-pk")
    page = Paginator(entries if done else open_calls(), PAGE).get_page(request.GET.get("page"))
    history = OpenCustomer.objects.in_bulk([entry.customer_id for entry in page])
    rows = [(entry, history.get(entry.customer_id)) for entry in page]
    other = "?done=1&page=" if done else "?page="
    context = {
        "page": page,
        "rows": rows,
        "done": done,
        "previous": f"{other}{page.number - 1}",
        "next": f"{other}{page.number + 1}",
    }
    return render(request, "backoffice/calls.html", context)


@require_POST
@_allowed("backoffice.change_calllistentry")
def called(request: PredictionRequest, pk: int) -> HttpResponse:
    """Take what came of a call."""
    entry = get_object_or_404(CallListEntry.objects.select_related("customer"), pk=pk)
    if request.POST.get("outcome") not in Outcome.values:
        return HttpResponse("outcome is not one of the three", status=HTTPStatus.BAD_REQUEST)
    outcome = Outcome(request.POST["outcome"])
    if calls.conclude(entry, outcome, cast("User", request.user)):
        messages.success(request, f"{entry.customer.name}: {outcome.label.lower()}.")
    else:
        messages.warning(request, f"{entry.customer.name} was called already.")
    back = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(back, {request.get_host()}, request.is_secure()):
        back = "call-list"
    return redirect(back)


@require_GET
@never_cache
def risk(request: PredictionRequest, pk: int) -> HttpResponse:
    """Give the risk of a customer to another system, by one prediction; nothing is kept on the row."""
    if not _may_ask(request):
        return JsonResponse({"error": "log in, or show the token"}, status=HTTPStatus.FORBIDDEN)
    found = OpenCustomer.objects.filter(pk=pk).first()
    if found is None:
        return JsonResponse({"error": "no such open customer"}, status=HTTPStatus.NOT_FOUND)
    prediction = request.predictions["churn"].predict(found)
    level = risk_of(prediction.score)
    return JsonResponse(
        {
            "customer": pk,
            "score": prediction.score,
            "risk": level.name if level and prediction.reason != "fallback" else None,
            "version": prediction.version,
            "reason": prediction.reason,
            "prediction": prediction.id,
        }
    )


def _may_ask(request: PredictionRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme == "Bearer" and settings.RISK_TOKEN:
        return secrets.compare_digest(token.encode(), settings.RISK_TOKEN.encode())
    return cast("User", request.user).has_perm(_SEES_CUSTOMERS)
