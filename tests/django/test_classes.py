"""A request may ask a model of several classes, and nothing about Django changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.http import HttpResponse, JsonResponse
from django.test import Client

from bundles import RECORD
from classes import CLASSES, class_bundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from mlembed.registry.file import FileRegistry


def mode(request: Any, **_: str) -> HttpResponse:
    """Answer with the class, how probable each is, and whether the request made it."""
    answer = request.predictions["toy"].predict(RECORD)
    made = request.predictions.made == [answer]
    return JsonResponse({"made": made, "label": answer.label, "all": answer.probabilities})


def test_request_gets_a_class(
    declared: dict[str, Any],
    registry: FileRegistry,
    serving: Callable[[Any], AbstractContextManager[None]],
) -> None:
    """`request.predictions` gives label and probabilities, and notes what was made."""
    assert declared
    registry.publish(class_bundle(version="2.0.0"))
    registry.promote("toy", "champion", "2.0.0")

    with serving(mode):
        told = Client().get("/").json()

    assert told["made"] is True
    assert list(told["all"]) == list(CLASSES)
    assert told["label"] == max(told["all"], key=told["all"].__getitem__)
