"""A static web site or CDN as a store of files, for reading.

What a publisher wrote into a directory or bucket is served as it is; names are read from its index,
as a web server need not list directories.
"""

from __future__ import annotations

import tempfile
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import SplitResult, quote, urlunsplit

from mlembed.bundle import strictjson
from mlembed.errors import BundleError, IntegrityError, NotFoundError, RegistryError, SettingsError
from mlembed.registry.http.credentials import Static, require_origin
from mlembed.registry.http.transport import Transport
from mlembed.registry.store import MODELS, Listed, Polled, Store
from mlembed.registry.tree import MAX_INDEX_BYTES, TreeRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlembed.bundle.manifest import File
    from mlembed.registry.http.credentials import Credentials
    from mlembed.registry.http.transport import Response
    from mlembed.settings import Settings

_MAX_REFUSAL_BYTES = 64 * 1024
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class WebStore(Store):
    """The files below *url*.

    Args:
        url: Where; without a slash at its end.
        transport: Asks for them.
    """

    def __init__(self, url: str, transport: Transport) -> None:
        self.url = url
        self._transport = transport

    def __str__(self) -> str:
        return self.url

    def read(self, path: str, max_bytes: int) -> bytes | None:
        """Return the file at *path*, None where there is none."""
        return self.poll(path, max_bytes, "").data

    def poll(self, path: str, max_bytes: int, etag: str) -> Polled:
        """Return the file at *path* unless it is still the one that *etag* stood for."""
        # That there is no such file may be said in more bytes than it may have.
        most = max(max_bytes, _MAX_REFUSAL_BYTES)
        response = self._transport.get(self._place(path), max_bytes=most, etag=etag)
        if response.status == HTTPStatus.NOT_MODIFIED and etag:
            return Polled(None, etag, unchanged=True)
        if response.status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
            return Polled(None)
        _require_whole(response, f"{self}/{path}", max_bytes)
        return Polled(response.body, response.headers.get("etag", ""))

    def download(self, path: str, file: File, sink: BinaryIO) -> bool:
        """Write the file at *path*, which must be *file*, into *sink*; tell whether it is there."""
        try:
            self._transport.download(
                self._place(path), size=file.size, sha256=file.sha256, file=sink
            )
        except NotFoundError:
            return False
        return True

    def holds(self, path: str, file: File, data: bytes) -> bool:  # noqa: ARG002
        """Tell whether the file at *path* is *file*, without holding it in memory."""
        with tempfile.TemporaryFile() as sink:
            try:
                return self.download(path, file, sink)
            except IntegrityError:
                return False

    def listing(self, folder: str) -> Iterator[Listed]:
        """Yield the names in *folder*, from the index; their sizes and ages are not known."""
        name, _, kind = folder.partition("/")
        if not name:
            if self.read(MODELS, MAX_INDEX_BYTES) is None:
                raise NotFoundError(f"there is no registry at {self}: it has no {MODELS}")
            names = self._index(MODELS).get("models", [])
        else:
            index = self._index(f"{name}/index.json")
            kind, _, alias = kind.partition("/")
            found = {**index, "log": index.get("aliases", {}).get(alias, [])}.get(kind, [])
            names = [f"{item}.json" for item in found]
        for item in names:
            yield Listed(str(item), 0, 0.0)

    def _index(self, path: str) -> dict[str, Any]:
        data = self.read(path, MAX_INDEX_BYTES)
        if data is None:
            return {}
        try:
            index = strictjson.loads(data, path)
        except BundleError as error:
            raise IntegrityError(f"{self}/{path} is no index; publish again") from error
        is_whole = isinstance(index, dict) and isinstance(index.get("aliases", {}), dict)
        if not is_whole or not all(map(_is_names, _parts(index))):
            raise IntegrityError(f"{self}/{path} is no index; publish again")
        return dict(index)

    def _place(self, path: str) -> str:
        return f"{self.url}/{quote(path)}"


def open_web(parts: SplitResult, settings: Settings | None) -> TreeRegistry:
    """Return the registry behind the URL *parts*.

    Raises:
        SettingsError: If the URL holds credentials or a query, or would be read unprotected.
    """
    if parts.query or parts.fragment:
        raise SettingsError("the registry's URL may have no query and no fragment")
    url = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
    origin = require_origin(url)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise SettingsError(
            "a registry on another machine is read over https://, so that nobody on the way can "
            "change or withhold what is promoted"
        )
    return TreeRegistry(WebStore(url, transport_for(origin, settings)))


def transport_for(
    origin: str, settings: Settings | None, credentials: Credentials | None = None
) -> Transport:
    """Return how *settings* ask *origin*; with their credentials, unless others are given."""
    if settings is None:
        return Transport(origin, credentials)
    if credentials is None and settings.registry_auth:
        credentials = Static(origin, settings.registry_auth)
    # A first look that hangs must leave time to start from what served last.
    seconds = max(0.2, min(10.0, settings.start_seconds / 4))
    return Transport(
        *(origin, credentials),
        timeout_seconds=seconds,
        deadline_seconds=2 * seconds,  # longer for what is large, see Transport
        ca_file=settings.ca_file or None,
    )


def _require_whole(response: Response, place: str, max_bytes: int) -> None:
    if response.status != HTTPStatus.OK:
        raise RegistryError(f"{place} is answered with {response.status}, expected 200")
    if len(response.body) > max_bytes:
        raise IntegrityError(
            f"{place} has more than {max_bytes} bytes: not what was written; publish again"
        )


def _parts(index: dict[str, Any]) -> list[Any]:
    return [*index.get("aliases", {}).values(), index.get("versions", []), index.get("models", [])]


def _is_names(items: Any) -> bool:
    return isinstance(items, list) and all(isinstance(item, (str, int)) for item in items)
