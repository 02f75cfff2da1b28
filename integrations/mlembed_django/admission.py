"""Decide who may ask over HTTP, and which models there are for that one.

By default it is Django's users: whoever is logged in and may `mlembed.predict`, with the CSRF token
that a browser's session needs. A site that names a function of its own decides alone, and by what
no browser sends by itself, such as an API key: CSRF is then no matter.
"""

from __future__ import annotations

import contextlib
import contextvars
import inspect
from typing import TYPE_CHECKING, Any

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.module_loading import import_string

from mlembed.endpoints.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from django.http import HttpRequest

    from mlembed_django.declaration import Declaration

_PLACE = "MLEMBED['HTTP']['AUTHENTICATE']"
_OUTCOME = "outcome"
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_seen: contextvars.ContextVar[Collection[str] | None] = contextvars.ContextVar(
    "mlembed_django_seen", default=None
)


def admit(request: HttpRequest, declaration: Declaration, path: str) -> tuple[str, Collection[str]]:
    """Tell who asks, and which models that one may know of.

    Args:
        request: The request.
        declaration: The site's.
        path: What is asked, below the mount.

    Raises:
        Problem: Of the kind `forbidden`, if that one may not ask.
        ImproperlyConfigured: If `AUTHENTICATE` names nothing that can be called here, or the site
            has no users and names nothing.
    """
    own, models = declaration.http.authenticate, declaration.models
    client = str(request.META.get("REMOTE_ADDR", ""))
    if own:
        if not _says_yes(_function(own)(request, _model_of(path))):
            raise Problem("forbidden", "The site does not let this caller ask")
        return client, models.keys()
    user = getattr(request, "user", None)
    if user is None:
        raise ImproperlyConfigured(
            "over HTTP mlembed asks Django's users, and this site has none. Add "
            "AuthenticationMiddleware, or name a function in MLEMBED['HTTP']['AUTHENTICATE']"
        )
    if not user.is_authenticated:
        raise Problem("forbidden", "Log in first")
    _require_token(request)
    wanted = "mlembed.report_outcome" if path.endswith(f"/{_OUTCOME}") else "mlembed.predict"
    if not user.has_perm(wanted):
        raise Problem("forbidden", f"This user needs the permission {wanted}")
    seen = [n for n, m in models.items() if not m.permission or user.has_perm(m.permission)]
    return f"user {user.pk}", seen


def visible(declaration: Declaration) -> Collection[str]:
    """Return the names of the models that the request at hand may know of."""
    seen = _seen.get()
    return declaration.models.keys() if seen is None else seen


@contextlib.contextmanager
def only(names: Collection[str]) -> Iterator[None]:
    """Let there be no models but *names* for the length of a block."""
    token = _seen.set(names)
    try:
        yield
    finally:
        _seen.reset(token)


def _model_of(path: str) -> str:
    parts = path.removeprefix("v2/").split("/")
    return parts[1] if len(parts) > 1 and parts[0] == "models" else ""


def _says_yes(said: Any) -> bool:
    """Read what the host's function returned; whatever is no answer admits nobody."""
    if said is None or isinstance(said, bool):
        return bool(said)
    if inspect.iscoroutine(said):
        said.close()
    raise ImproperlyConfigured(f"{_PLACE} must return True or False, not {type(said).__name__}")


def _function(path: str) -> Callable[[HttpRequest, str], bool]:
    try:
        found = import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(f"{_PLACE} cannot be imported: {error}") from error
    if not callable(found) or iscoroutinefunction(found):
        raise ImproperlyConfigured(f"{_PLACE} must be a plain function of a request and a name")
    return found  # type: ignore[no-any-return]  # the host's own


def _require_token(request: HttpRequest) -> None:
    if request.content_type in _FORMS:  # whose fields the check for the token would read
        raise Problem("media-type", "Send application/json")

    def view(_request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    guard = CsrfViewMiddleware(view)
    guard.process_request(request)
    if guard.process_view(request, view, (), {}) is not None:
        raise Problem("forbidden", "The CSRF token is missing or wrong; send it as X-CSRFToken")
