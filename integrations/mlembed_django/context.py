"""What a prediction was made for: the id of the request, its user as a hash, its trace.

Everything is worked out when it is asked for, and never by a query: the user is known only where
the host has loaded it already.
"""

from __future__ import annotations

import contextvars
import hashlib
import hmac
import re
import uuid
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils.encoding import force_bytes
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from django.http import HttpRequest

_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_TRACE = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_NO_TRACE = "0" * 32


class RequestContext:
    """Who asks, of one request.

    Args:
        request: The request.
    """

    __slots__ = ("_id", "_request")

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._id = ""

    @property
    def id(self) -> str:
        """The id in `X-Request-ID`, or one made now that stays the same."""
        if not self._id:
            given = self._request.META.get("HTTP_X_REQUEST_ID", "")
            self._id = given if _ID.fullmatch(given) else uuid.uuid4().hex
        return self._id

    @property
    def trace(self) -> str:
        """The id of the W3C trace that the request belongs to, 32 hexadecimal digits; or empty."""
        found = _TRACE.fullmatch(self._request.META.get("HTTP_TRACEPARENT", ""))
        return found[1] if found and found[1] != _NO_TRACE else ""

    @property
    def user(self) -> str:
        """The user's key as 64 hexadecimal digits of an HMAC-SHA-256; empty where none is known.

        It is made under `MLEMBED['LOG_KEY']`, else under Django's `SECRET_KEY`.
        """
        from mlembed_django.conf import site

        declaration = site().declaration
        if declaration.user:
            key = import_string(declaration.user)(self._request)
        else:
            user = getattr(self._request, "_cached_user", None)  # of `user`
            if user is None:
                user = getattr(self._request, "_acached_user", None)  # of `auser()`
            key = None if user is None else user.pk
        if key is None or key == "":
            return ""
        secret = declaration.settings.log_key or settings.SECRET_KEY
        return hmac.new(force_bytes(secret), str(key).encode(), hashlib.sha256).hexdigest()


current: contextvars.ContextVar[RequestContext | None] = contextvars.ContextVar(
    "mlembed_django_request", default=None
)


class InContext:
    """Makes *context* the current one for the length of a block.

    Args:
        context: The request's; None for none.
    """

    # A class: a generator's context manager takes a microsecond longer.
    __slots__ = ("_context", "_token")

    def __init__(self, context: RequestContext | None) -> None:
        self._context = context

    def __enter__(self) -> None:
        """Begin."""
        self._token = current.set(self._context)

    def __exit__(self, *_: object) -> None:
        """End, whatever happened."""
        current.reset(self._token)
