"""Decide on payments, take the truth about them, and show the latest."""

from __future__ import annotations

import os
from http import HTTPStatus
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from mlembed.errors import MlembedError
from mlembed_django.conf import get_model
from mlembed_django.decorators import predicts
from shop.actions import deciding
from shop.models import Decision, Verdict, verdict_of
from shop.orders import Order, Outcome, reads, refusal

if TYPE_CHECKING:
    from mlembed import Prediction
    from mlembed_django.requests import PredictionRequest

_SHOWN = 50


def undecided(_request: HttpRequest, order: Order) -> Order | None:
    """Return the payment to score; None where it was decided before."""
    return None if Decision.objects.filter(pk=order.id).exists() else order


@csrf_exempt
@require_POST
@reads(Order, "order")
@predicts("payments", record=undecided, key=lambda _request, order: order.id)
def create(_request: HttpRequest, order: Order, prediction: Prediction | None) -> HttpResponse:
    """Decide on one payment; the same id again gives the first decision."""
    if prediction is None:
        return JsonResponse(Decision.objects.get(pk=order.id).to_json())
    with deciding() as queue_actions:
        decision, created = Decision.objects.get_or_create(
            pk=order.id,
            defaults={
                "amount": order.amount,
                "merchant_category": order.merchant_category,
                "country": order.country,
                "channel": order.channel,
                "verdict": verdict_of(prediction.score, prediction.reason),
                "score": prediction.score,
                "version": prediction.version,
                "prediction_id": prediction.id,
                "reason": prediction.reason,
            },
        )
        if created:
            queue_actions(prediction)
    status = HTTPStatus.CREATED if created else HTTPStatus.OK
    return JsonResponse(decision.to_json(), status=status)


@csrf_exempt
@require_POST
@reads(Outcome, "outcome")
def report(request: PredictionRequest, payment_id: str, outcome: Outcome) -> HttpResponse:
    """Take the truth about a payment; a later report replaces an earlier one."""
    with transaction.atomic():
        decision = Decision.objects.filter(pk=payment_id).first()
        if decision is None:
            return refusal(HTTPStatus.NOT_FOUND, "no such payment; post it to /payments/ first")
        revision = decision.reports
        decision.fraud, decision.reports = outcome.fraud, revision + 1
        decision.save(update_fields=["fraud", "reports"])
    request.predictions["payments"].outcome(
        decision.prediction_id, outcome.fraud, revision=revision
    )
    return JsonResponse({"id": decision.id, "fraud": outcome.fraud})


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """Show the latest decisions."""
    counts = Decision.objects.aggregate(
        decided=Count("pk"),
        blocked=Count("pk", filter=Q(verdict=Verdict.BLOCK)),
        reviewed=Count("pk", filter=Q(verdict=Verdict.REVIEW)),
        known=Count("fraud"),
        frauds=Count("pk", filter=Q(fraud=True)),
    )
    context = {"counts": counts, "decisions": Decision.objects.all()[:_SHOWN], "model": _state()}
    return render(request, "shop/index.html", context)


@require_GET
def health(_request: HttpRequest) -> HttpResponse:
    """Say whether the model answers; without it the site serves on its fallback."""
    model = _state()
    status = "ok" if model["state"] == "READY" else "degraded"
    return JsonResponse({"status": status, "model": model, "process": os.getpid()})


def _state() -> dict[str, str]:
    model = get_model("payments")
    try:
        version = model.version
    except MlembedError:
        version = ""
    return {"name": str(model.ref), "state": model.state, "version": version}
