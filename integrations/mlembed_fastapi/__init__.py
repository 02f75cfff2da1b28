"""Models behind a path of a FastAPI application, or of any other ASGI application.

    import mlembed, mlembed_fastapi
    from fastapi import Depends, FastAPI
    from mlembed.endpoints import Endpoints, Limits, Rate

    endpoints = Endpoints(
        {"income": mlembed.load("income@champion")},
        Limits(rate=Rate(per_second=20, burst=100)),
    )
    app = FastAPI()
    app.include_router(mlembed_fastapi.router(endpoints, dependencies=[Depends(user)]), prefix="/ml")

Who may ask is the application's to say, by `dependencies`: one that raises `HTTPException(401)` lets
nobody through. Below the prefix stand `models/income/predict`, `models/income/outcome`, `health/live`,
`health/ready`, `openapi.json` and `v2`. Where probes come without a login, put two routers side by
side, one of them with the dependency.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    from fastapi import APIRouter, Request, Response
    from starlette.requests import ClientDisconnect
except ImportError as error:
    raise ImportError("mlembed_fastapi needs FastAPI: pip install fastapi") from error

from mlembed import endpoints as http

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["router"]

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_PATH = "/{path:path}"


def router(
    endpoints: http.Endpoints,
    *,
    dependencies: Sequence[Any] | None = None,
    client: Callable[[Request], str] | None = None,
) -> APIRouter:
    """Return a router that answers with *endpoints*; `include_router` it with a prefix.

    Args:
        endpoints: What answers.
        dependencies: Run before each request, as FastAPI's own: `[Depends(user)]`.
        client: Returns who asks, for the throttle; the address of the peer by default, which behind
            a proxy is the proxy's unless the server is told to trust its headers.
    """
    name_of = client or _peer

    async def answer(request: Request) -> Response:
        answered = await endpoints.aanswer(await _read(request, endpoints, name_of(request)))
        return Response(answered.body, answered.status, dict(answered.headers))

    # Without a future import's strings: FastAPI reads the annotations when the route is added.
    answer.__annotations__ = {"request": Request}
    made = APIRouter(dependencies=dependencies)
    made.add_api_route(
        _PATH, answer, methods=_METHODS, include_in_schema=False, response_model=None
    )
    return made


async def _read(request: Request, endpoints: http.Endpoints, client: str) -> http.Request:
    path: str = request.path_params["path"]
    whole = request.url.path
    return http.Request(
        request.method,
        path,
        dict(request.headers),
        await _body(request, endpoints.limits.max_bytes),
        client,
        whole.removesuffix(path).rstrip("/"),
    )


async def _body(request: Request, max_bytes: int) -> bytes:
    """Return the body, or as much of it as shows that it is too long."""
    said = request.headers.get("content-length", "")
    is_number = said.isascii() and said.isdigit()
    if request.method != "POST" or (is_number and int(said[:18]) > max_bytes):
        return b""
    chunks, n_bytes = [], 0
    try:
        async for chunk in request.stream():
            chunks.append(chunk)
            n_bytes += len(chunk)
            if n_bytes > max_bytes:
                break
    except ClientDisconnect:  # nobody waits for an answer, and half a body must not be one
        return b""
    return b"".join(chunks)


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""
