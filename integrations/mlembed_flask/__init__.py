"""Models behind a path of a Flask application.

    import mlembed, mlembed_flask
    from flask import Flask, abort
    from mlembed.endpoints import Endpoints, Limits, Rate

    endpoints = Endpoints(
        {"income": mlembed.load("income@champion")},
        Limits(rate=Rate(per_second=20, burst=100)),
    )
    ml = mlembed_flask.blueprint(endpoints)

    @ml.before_request
    def user():
        if not logged_in():
            abort(401)

    app = Flask(__name__)
    app.register_blueprint(ml, url_prefix="/ml")

Who may ask is the application's to say, by `before_request`. Below the prefix stand
`models/income/predict`, `models/income/outcome`, `health/live`, `health/ready`, `openapi.json` and
`v2`. Where probes come without a login, let the function look at `request.path`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    from flask import Blueprint, Request, Response, request
except ImportError as error:
    raise ImportError("mlembed_flask needs Flask: pip install flask") from error

from mlembed import endpoints as http

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["blueprint"]

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def blueprint(
    endpoints: http.Endpoints,
    *,
    name: str = "mlembed",
    client: Callable[[Request], str] | None = None,
) -> Blueprint:
    """Return a blueprint that answers with *endpoints*; register it with a `url_prefix`.

    Args:
        endpoints: What answers.
        name: Of the blueprint; two in one application need two.
        client: Returns who asks, for the throttle; the address of the peer by default, which behind
            a proxy is the proxy's unless the application is wrapped in werkzeug's `ProxyFix`.
    """
    name_of = client or _peer
    made = Blueprint(name, __name__)

    def answer(path: str = "") -> Response:
        answered = endpoints.answer(_read(path, endpoints, name_of(request)))
        # A list keeps the length that an answer to HEAD names; bytes would make it 0.
        return Response([answered.body], answered.status, dict(answered.headers))

    for rule in ("/", "/<path:path>"):
        made.add_url_rule(
            rule,
            endpoint="answer",
            view_func=answer,
            methods=_METHODS,
            provide_automatic_options=False,
            merge_slashes=False,
        )
    return made


def _read(path: str, endpoints: http.Endpoints, client: str) -> http.Request:
    whole = f"{request.script_root}{request.path}"
    return http.Request(
        request.method,
        path,
        {name.lower(): value for name, value in request.headers},
        _body(endpoints.limits.max_bytes),
        client,
        whole.removesuffix(path).rstrip("/"),
    )


def _body(max_bytes: int) -> bytes:
    """Return the body, or as much of it as shows that it is too long."""
    said = request.content_length
    if request.method != "POST" or (said is not None and said > max_bytes):
        return b""
    body: bytes = request.stream.read(max_bytes + 1)
    return body


def _peer(asked: Request) -> str:
    return asked.remote_addr or ""
