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
    key: Callable[..., Any] | None = None,
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

    A plain view with a coroutine function as *record* or *key* raises `DeclarationError` when it is
    called: Django's `method_decorator` does not show the decorator what it decorates any sooner.
    """

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        if iscoroutinefunction(view):
            return _decorate_async(view, name, record, key)

        @functools.wraps(view)
        def predict(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            model, prediction = predictions_of(request)[name], None
            built = _plain(record(request, *args, **kwargs), view)
            if built is not None:
                entity = None if key is None else _plain(key(request, *args, **kwargs), view)
                prediction = model.predict(built, entity)
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
        model, prediction = predictions_of(request)[name], None
        built = await _finished(record(request, *args, **kwargs))
        if built is not None:
            entity = None if key is None else await _finished(key(request, *args, **kwargs))
            prediction = await model.apredict(built, entity)
        return await view(request, *args, prediction=prediction, **kwargs)

    return apredict


def _plain(value: Any, view: Callable[..., Any]) -> Any:
    if inspect.iscoroutine(value):
        value.close()
        raise DeclarationError(
            f"@predicts on '{getattr(view, '__name__', 'a view')}': the view is a plain function and its record or key "
            "is a coroutine function; make both async, or neither"
        )
    return value


async def _finished(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
