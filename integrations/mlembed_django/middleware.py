"""Give every request its `request.predictions`, under WSGI and ASGI alike.

It reads nothing, neither the database nor `request.user`, and waits for nothing; in an async stack
it hands on the coroutine of the next layer, so no thread is involved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgiref.sync import iscoroutinefunction, markcoroutinefunction

from mlembed_django.requests import RequestPredictions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    Answer = HttpResponseBase | Awaitable[HttpResponseBase]


class PredictionMiddleware:
    """Set `request.predictions`; list it in MIDDLEWARE before whatever uses it.

    Args:
        get_response: The next layer, a function or a coroutine function.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Answer]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Answer:
        """Return the next layer's response, or the coroutine that will give it."""
        request.predictions = RequestPredictions()  # type: ignore[attr-defined]  # Django's requests take attributes
        return self.get_response(request)
