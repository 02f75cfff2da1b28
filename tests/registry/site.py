"""A static web site that serves a registry's directory, as any web server or CDN would."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from mlembed.registry.opening import follow
from mlembed.settings import Settings
from registry.hostile import Answer, Server, blob

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from mlembed.registry.follow import Followed
    from registry.hostile import Asked


class Site(Server):
    """Serves the files below *root*, with ETags and ranges; what `routes` names comes first.

    Attributes:
        root: The directory.
        is_down: Whether every request is answered with 503.
    """

    def __init__(self, root: Path, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self.root = root
        self.is_down = False
        self.routes = _Files(self)

    def paths(self, part: str = "") -> list[str]:
        """Return the paths that were asked for so far and hold *part*."""
        return [asked.path for asked in self.asked if part in asked.path]


class _Files(dict[str, Any]):
    def __init__(self, site: Site) -> None:
        super().__init__()
        self._site = site

    def get(self, path: str, default: Any = None) -> Any:
        if self._site.is_down:
            return Answer(503, {"Retry-After": "0"})
        if path in self:
            return self[path]
        file = self._site.root / path.lstrip("/")
        return _served(file.read_bytes()) if file.is_file() else default


def _served(data: bytes) -> Any:
    etag = f'"{hashlib.sha256(data).hexdigest()[:20]}"'

    def answer(asked: Asked) -> Answer:
        if asked.headers.get("if-none-match") == etag:
            return Answer(304, {"ETag": etag})
        route: Any = blob(data)
        found: Answer = route(asked)
        found.headers["ETag"] = etag
        return found

    return answer


def host(site: Site | str, folder: Path, **settings: Any) -> Followed:
    """Return *site* as a host follows it whose cache lies in *folder*; each call is a new host."""
    url = site if isinstance(site, str) else site.url
    return follow(url, Settings(cache=folder, log=False, **settings))
