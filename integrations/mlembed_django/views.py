"""Answer over HTTP for the models that the site declares.

What is asked and answered is the library's own `mlembed.endpoints`; here are only Django's request,
its users and its limits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.exceptions import RequestDataTooBig
from django.http import HttpResponse, UnreadablePostError
from django.views.decorators.csrf import csrf_exempt

from mlembed.endpoints import Request
from mlembed.endpoints.problems import Problem
from mlembed.endpoints.routes import is_v2
from mlembed_django.admission import admit, only
from mlembed_django.conf import site

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.http import HttpRequest

    from mlembed.endpoints import Answer
    from mlembed_django.conf import Site

_PROBES = ("health/live", "health/ready", "v2/health/live", "v2/health/ready")
_DESCRIPTION = "openapi.json"


@csrf_exempt  # who asks with a session needs the token all the same: see `admission`
def answer(request: HttpRequest, path: str = "") -> HttpResponse:
    """Answer what is asked at *path*, below where the site includes `mlembed_django.urls`."""
    try:
        told = _answer(request, path, site())
    except Problem as problem:
        told = problem.answer_v2() if is_v2(path) else problem.answer()
    return HttpResponse(told.body, status=told.status, headers=dict(told.headers))


def _answer(request: HttpRequest, path: str, here: Site) -> Answer:
    http = here.declaration.http
    bare = path.removesuffix("/")
    if bare == _DESCRIPTION and not http.describe:
        raise Problem("not-found", "The site describes nothing")
    client = str(request.META.get("REMOTE_ADDR", ""))
    names: Collection[str] = here.declaration.models.keys()
    if bare not in _PROBES:
        client, names = admit(request, here.declaration, bare)
    asked = Request(
        str(request.method),
        path,
        {name.lower(): value for name, value in request.headers.items()},
        _body(request, http.max_bytes),
        client,
        request.path.removesuffix(path).rstrip("/"),
    )
    with only(names):
        return here.endpoints.answer(asked)


def _body(request: HttpRequest, max_bytes: int) -> bytes:
    """Return the body, or as much of it as shows that it is too long."""
    said = request.META.get("CONTENT_LENGTH") or "0"
    if request.method != "POST" or (
        said.isascii() and said.isdigit() and int(said[:18]) > max_bytes
    ):
        return b""
    try:
        return request.read(max_bytes + 1)
    except (RequestDataTooBig, UnreadablePostError) as error:
        raise Problem("request", "The body could not be read") from error
