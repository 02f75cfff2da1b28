"""Which handler answers a path.

A name in a path is looked up and nothing else: it is never part of a file's path or a URL.
"""

from __future__ import annotations

import functools
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from mlembed.endpoints import health, outcomes, predicting
from mlembed.endpoints.description import document
from mlembed.endpoints.problems import Problem
from mlembed.endpoints.v2 import infer, server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlembed.endpoints.call import Call
    from mlembed.endpoints.steps import Steps

    Handler: TypeAlias = Callable[[Call], Steps]

_MODEL = re.compile(r"models/(?P<name>[^/]+)/(?P<verb>[a-z]+)")
_MODEL_V2 = re.compile(
    r"v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>[^/]+))?(?:/(?P<verb>[a-z]+))?"
)
_MAX_PATH = 2_000


class Route(NamedTuple):
    """What a path means.

    Attributes:
        method: The method it has; GET brings HEAD along.
        handler: Answers.
        name: The model that the path names, or empty.
        version: The version that it names, or None.
    """

    method: str
    handler: Handler
    name: str = ""
    version: str | None = None

    @property
    def allowed(self) -> str:
        """The methods, as the header `Allow` lists them."""
        return "GET, HEAD, OPTIONS" if self.method == "GET" else f"{self.method}, OPTIONS"


_FIXED: Mapping[str, Route] = MappingProxyType(
    {
        "models": Route("GET", health.models),
        "health/live": Route("GET", health.live),
        "health/ready": Route("GET", health.ready),
        "openapi.json": Route("GET", document.describe),
        "v2": Route("GET", server.about),
        "v2/health/live": Route("GET", server.live),
        "v2/health/ready": Route("GET", server.ready),
    }
)
_VERBS: Mapping[str | None, tuple[str, Handler]] = MappingProxyType(
    {"predict": ("POST", predicting.predict), "outcome": ("POST", outcomes.outcome)}
)
_VERBS_V2: Mapping[str | None, tuple[str, Handler]] = MappingProxyType(
    {
        None: ("GET", server.about_model),
        "ready": ("GET", server.model_ready),
        "infer": ("POST", infer.infer),
    }
)


def is_v2(path: str) -> bool:
    """Tell whether *path* belongs to the Open Inference Protocol, which has errors of its own."""
    return path.startswith("v2/") or path == "v2"


@functools.lru_cache(maxsize=256)  # a path that leads nowhere is not kept
def route_of(path: str) -> Route:
    """Return what *path* means; a slash at its end means nothing.

    Raises:
        Problem: Of the kind `not-found`.
    """
    path = path.removesuffix("/")
    fixed = _FIXED.get(path)
    if fixed is not None:
        return fixed
    if len(path) <= _MAX_PATH:
        pattern, verbs = (_MODEL_V2, _VERBS_V2) if is_v2(path) else (_MODEL, _VERBS)
        found = pattern.fullmatch(path)
        if found is not None and found["verb"] in verbs:
            method, handler = verbs[found["verb"]]
            return Route(method, handler, found["name"], found.groupdict().get("version"))
    raise Problem("not-found", "GET openapi.json lists the paths")
