"""Whether the middleware is listed, once."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.checks import Warning as CheckWarning
from django.utils.module_loading import import_string

from mlembed_django.middleware import PredictionMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.core.checks import CheckMessage

_PATH = f"{PredictionMiddleware.__module__}.{PredictionMiddleware.__qualname__}"


def look() -> Iterator[CheckMessage]:
    """W001: the middleware, or a class made from it, is not listed. W008: it is listed twice."""
    ours = _ours(settings.MIDDLEWARE)
    if not ours:
        yield CheckWarning(
            "mlembed_django is installed, but MIDDLEWARE does not list its middleware, so views "
            "have no request.predictions.",
            hint=f"Add '{_PATH}', or silence mlembed.W001 if you use only @predicts and get_model.",
            id="mlembed.W001",
        )
    if len(ours) > 1:
        yield CheckWarning(
            f"MIDDLEWARE lists the middleware of mlembed {len(ours)} times: {', '.join(ours)}. "
            "The last one replaces the request.predictions of those before it.",
            hint="Keep the first of them.",
            id="mlembed.W008",
        )


def _ours(paths: Sequence[str]) -> list[str]:
    """Return which of *paths* are the middleware; others are imported only if it is not listed."""
    listed = _PATH in paths
    return [path for path in paths if path == _PATH or _is_made_from_it(path, listed=listed)]


def _is_made_from_it(path: str, *, listed: bool) -> bool:
    if listed and path.rpartition(".")[0] not in sys.modules:
        return False
    try:
        middleware = import_string(path)
    except Exception:  # noqa: BLE001  Django tells of it when it builds the middleware
        return False
    return isinstance(middleware, type) and issubclass(middleware, PredictionMiddleware)
