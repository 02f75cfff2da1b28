"""Predict before a view runs, and hand it the prediction.

The record is built by a function beside the view, so the view holds only what it does with the
answer. Sync and async views alike; of a class-based view through Django's `method_decorator`.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from asgiref.sync import iscoroutinefunction

from mlembed.errors import DeclarationError
from mlembed_django.requests import predictions_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest


def predicts(
    name: str,
    *,
    record: Callable[..., Any],
    key: Callable[..., str | None] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a view: it is called with `prediction=`, the model's answer on *record*.

        @predicts("payments", record=payment_of, key=lambda request, pk: pk)
        def charge(request, pk, prediction): ...

    It works without the middleware; `request.predictions` is there afterwards in either case.
    Whatever *record*, *key* or the model raises is raised to Django, as if the view had raised it.

    Args:
        name: The model, as MLEMBED['MODELS'] declares it.
        record: Called as the view is, `record(request, *args, **kwargs)`, to give the record. Where
            it gives None nothing is predicted and the view gets `prediction=None`. For an async
            view it may be a coroutine function, and must be one if it reads the database.
        key: Called in the same way, to give the host's own key of the entity.

    Raises:
        DeclarationError: If a plain view is given a coroutine function as *record* or *key*.
    """

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        if iscoroutinefunction(view):
            return _decorate_async(view, name, record, key)
        _refuse_coroutines(view, record, key)

        @functools.wraps(view)
        def predict(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            built = record(request, *args, **kwargs)
            prediction = None
            if built is not None:
                entity = None if key is None else key(request, *args, **kwargs)
                prediction = predictions_of(request)[name].predict(built, entity)
            return view(request, *args, prediction=prediction, **kwargs)

        return predict

    return decorate


def _decorate_async(
    view: Callable[..., Any],
    name: str,
    record: Callable[..., Any],
    key: Callable[..., Any] | None,
) -> Callable[..., Any]:
    @functools.wraps(view)
    async def apredict(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        built = await _finished(record(request, *args, **kwargs))
        prediction = None
        if built is not None:
            entity = None if key is None else await _finished(key(request, *args, **kwargs))
            prediction = await predictions_of(request)[name].apredict(built, entity)
        return await view(request, *args, prediction=prediction, **kwargs)

    return apredict


def _refuse_coroutines(view: Callable[..., Any], *functions: Callable[..., Any] | None) -> None:
    for function in functions:
        if function is not None and iscoroutinefunction(function):
            raise DeclarationError(
                f"@predicts on {getattr(view, '__name__', view)!r}: the view is a plain function "
                "and its record or key is a coroutine function; make both async, or neither"
            )


async def _finished(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
