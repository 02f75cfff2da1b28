"""Say what is wrong with the site's tables or databases on the page itself, where Django would answer 500."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, connections, transaction
from django.template.response import TemplateResponse
from django.utils.connection import ConnectionDoesNotExist

from mlembed_django.inserting import explained

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse


def guarded(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Let the *view* of a `ReadOnlyAdmin` explain a database that fails.

    The page is rendered within, since lists are read no earlier; inside `ATOMIC_REQUESTS` it has a
    savepoint, so that the explanation can still read the session.
    """

    @functools.wraps(view)
    def answer(admin: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        using = admin.using()
        try:
            with _Savepoint(using):
                response = view(admin, request, *args, **kwargs)
                if isinstance(response, TemplateResponse):
                    response.render()
        except ConnectionDoesNotExist:
            return _problem(admin, request, f"DATABASES has no '{using}'; see manage.py check")
        except DatabaseError as error:
            why = explained(error, using)
            return _problem(admin, request, f"The database '{using}' cannot be read: {why}.")
        return response

    return answer


class _Savepoint:
    """A savepoint where a transaction is open, else nothing."""

    def __init__(self, using: str) -> None:
        self._atomic: Any = None
        if using in connections and connections[using].in_atomic_block:
            self._atomic = transaction.atomic(using)

    def __enter__(self) -> None:
        if self._atomic is not None:
            self._atomic.__enter__()

    def __exit__(self, *raised: object) -> None:
        if self._atomic is not None:
            self._atomic.__exit__(*raised)


def _problem(admin: Any, request: HttpRequest, text: str) -> HttpResponse:
    context = {
        **admin.admin_site.each_context(request),
        "title": admin.opts.verbose_name_plural,
        "opts": admin.opts,
        "problem": text,
    }
    return TemplateResponse(request, "admin/mlembed/problem.html", context, status=503).render()
