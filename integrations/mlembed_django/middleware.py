"""Give every request its `request.predictions`, under WSGI and ASGI alike.

It reads nothing, neither the database nor `request.user`, and waits for nothing; in an async stack
it is a coroutine like the layers around it, so no thread is involved.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from mlembed.telemetry.notices import tell
from mlembed_django.conf import SETTING, site
from mlembed_django.declaration.served import parts_of
from mlembed_django.requests import RequestPredictions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    Answer = HttpResponseBase | Awaitable[HttpResponseBase]

_MOST_TIMINGS = 20


class PredictionMiddleware:
    """Set `request.predictions`; list it in MIDDLEWARE before whatever uses it.

    Where a model is declared `worker_start` it is loaded when the server builds the middleware.

    Args:
        get_response: The next layer, a function or a coroutine function.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Answer]) -> None:
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)
        if _loads_at_start():
            _start()

    def __call__(self, request: HttpRequest) -> Answer:
        """Return the next layer's response, or the coroutine that will give it."""
        predictions = RequestPredictions(request)
        request.predictions = predictions  # type: ignore[attr-defined]  # Django's requests take attributes
        if self._is_async:
            return self._acall(request, predictions)
        with predictions.in_context():
            response = cast("HttpResponseBase", self.get_response(request))
        if predictions.made:
            _show(response, predictions)
        return response

    async def _acall(
        self, request: HttpRequest, predictions: RequestPredictions
    ) -> HttpResponseBase:
        with predictions.in_context():
            response = await cast("Awaitable[HttpResponseBase]", self.get_response(request))
        if predictions.made:
            _show(response, predictions)
        return response


def _show(response: HttpResponseBase, predictions: RequestPredictions) -> None:
    """Name the predictions in `Server-Timing`, where the site asks for it; the first twenty."""
    if not site().declaration.server_timing:
        return
    shown = [
        f'{made.model};dur={1e3 * made.latency_seconds:.3f};desc="{made.id}"'
        for made in predictions.made[:_MOST_TIMINGS]
    ]
    if response.has_header("Server-Timing"):
        shown.insert(0, response.headers["Server-Timing"])
    response.headers["Server-Timing"] = ", ".join(shown)


def _loads_at_start() -> bool:
    """Tell whether a model is declared `worker_start`, without reading the whole setting."""
    setting = getattr(settings, SETTING, None)
    parts = parts_of(setting.get("MODELS")) if isinstance(setting, Mapping) else ()
    entries = (entry for part in parts for entry in part.values())
    return any(isinstance(e, Mapping) and e.get("LOAD") == "worker_start" for e in entries)


def _start() -> None:
    try:
        site().start()
    except ImproperlyConfigured as error:  # the site goes on, and its checks say the same
        tell(logging.ERROR, "no model is loaded at the start: %s", error)
