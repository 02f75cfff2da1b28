"""The calls of the OCI distribution specification that mlembed needs.

No answer's digest header is believed: a server may send the digest that was asked for with other
bytes. Every document is bounded, and nothing is uploaded to an origin that is not protected.
https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import contextlib
import io
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, BinaryIO, NoReturn
from urllib.parse import urljoin, urlsplit

from mlembed.bundle import strictjson
from mlembed.bundle.bundle import sha256
from mlembed.errors import BundleError, IntegrityError, NotFoundError, RegistryError
from mlembed.registry.http.credentials import origin_of
from mlembed.registry.http.faults import TransientError
from mlembed.registry.oci.artifact import MANIFEST_TYPE, MAX_DOCUMENT_BYTES
from mlembed.registry.store import Polled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlembed.bundle.manifest import File
    from mlembed.registry.http.transport import Response, Transport

ANY_TYPE = (
    f"{MANIFEST_TYPE}, application/vnd.oci.image.index.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json"
)
_MAX_PAGES = 1_000
_MAX_NAMES = 1_000_000
_MAX_ETAG = 256  # characters; hosts keep it
_MAX_CHECKED_BYTES = 1024 * 1024
_NEXT = re.compile(r'<([^<>]{1,4096})>[^<,]*\brel="?next\b')


class Distribution:
    """The repositories behind *transport*."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def manifest(
        self, repository: str, reference: str, *, etag: str = "", accept: str = MANIFEST_TYPE
    ) -> Polled:
        """Return a manifest, unless it is still the one that *etag* stood for.

        Where a server gives no ETag, or heeds none, the manifest's own digest serves as one.
        """
        path = f"/v2/{repository}/manifests/{reference}"
        response = self._transport.get(
            path, headers={"Accept": accept}, max_bytes=MAX_DOCUMENT_BYTES, etag=etag or None
        )
        if response.status == HTTPStatus.NOT_MODIFIED and etag:
            return Polled(None, etag, unchanged=True)
        if response.status == HTTPStatus.NOT_FOUND:
            return Polled(None)
        self._require(response, HTTPStatus.OK, f"GET {path}")
        found = response.headers.get("etag", "")
        if not 0 < len(found) <= _MAX_ETAG:
            found = f'"sha256:{sha256(response.body)}"'
        if found == etag:
            return Polled(None, etag, unchanged=True)
        return Polled(response.body, found)

    def put_manifest(self, repository: str, tag: str, data: bytes) -> None:
        """Store the image manifest *data* under *tag*; its blobs must be there."""
        path = f"/v2/{repository}/manifests/{tag}"
        response = self._transport.send(
            "PUT", path, headers={"Content-Type": MANIFEST_TYPE}, content=data
        )
        self._require(response, HTTPStatus.CREATED, f"PUT {path}")

    def delete_manifest(self, repository: str, digest: str) -> None:
        """Delete the manifest with *digest*, and with it every tag that names it."""
        path = f"/v2/{repository}/manifests/sha256:{digest}"
        response = self._transport.send("DELETE", path)
        if response.status != HTTPStatus.NOT_FOUND:
            self._require(
                response, HTTPStatus.ACCEPTED, f"DELETE {path} (is deletion allowed there?)"
            )

    def blob(self, repository: str, digest: str, max_bytes: int) -> bytes | None:
        """Return what the server has as *digest*, None where it has none; not judged here."""
        path = _blob(repository, digest)
        response = self._transport.get(path, max_bytes=max_bytes)
        if response.status == HTTPStatus.NOT_FOUND:
            return None
        self._require(response, HTTPStatus.OK, f"GET {path}")
        return response.body

    def download(self, repository: str, file: File, sink: BinaryIO) -> bool:
        """Write *file* into *sink*; return whether it is there.

        Raises:
            IntegrityError: If it is another file.
        """
        path = _blob(repository, file.sha256)
        try:
            self._transport.download(path, size=file.size, sha256=file.sha256, file=sink)
        except NotFoundError:
            return False
        return True

    def push(self, repository: str, data: bytes) -> None:
        """Store the blob *data*, unless the server has it.

        Of a large one that it has only the length is checked.

        Raises:
            IntegrityError: If the server keeps a damaged one and takes no other.
        """
        digest = sha256(data)
        whole = self._has(repository, digest, data)
        if whole:
            return
        self._upload(repository, digest, data)
        if whole is False and not self._has(repository, digest, data):
            raise IntegrityError(
                f"{self._transport.origin} keeps a damaged sha256:{digest} in {repository} and "
                "takes no other; remove that blob from the server's storage and publish again"
            )

    def require_writable(self, repository: str) -> None:
        """Begin an upload and cancel it.

        Raises:
            RegistryError: If it cannot be begun.
        """
        location = self._begin(repository)
        with contextlib.suppress(RegistryError):  # it expires by itself
            self._transport.send("DELETE", location)

    def tags(self, repository: str) -> list[str]:
        """Return the tags of *repository*; none where there is no such repository."""
        return self._names(f"/v2/{repository}/tags/list?n=1000", "tags", may_lack=True)

    def repositories(self) -> list[str]:
        """Return all repositories of the server, where it lists them."""
        return self._names("/v2/_catalog?n=100", "repositories", may_lack=False)

    def _has(self, repository: str, digest: str, data: bytes) -> bool | None:
        """Return whether the server's blob is *data*, None where it has none."""
        path = _blob(repository, digest)
        response = self._transport.send("HEAD", path)
        if response.status == HTTPStatus.NOT_FOUND:
            return None
        self._require(response, HTTPStatus.OK, f"HEAD {path}")
        if response.headers.get("content-length", str(len(data))) != str(len(data)):
            return False
        if len(data) > _MAX_CHECKED_BYTES:
            return True
        try:
            return self.blob(repository, digest, _MAX_CHECKED_BYTES) == data
        except TransientError as error:
            if error.kind != "cut":
                raise
            return False  # docker-registry announces from memory what its disk has lost

    def _upload(self, repository: str, digest: str, data: bytes) -> None:
        location = urlsplit(self._begin(repository))
        query = f"{location.query}&digest=sha256:{digest}".lstrip("&")
        response = self._transport.send(
            "PUT",
            location._replace(query=query, fragment="").geturl(),
            headers={"Content-Type": "application/octet-stream"},
            content=io.BytesIO(data),  # shares the bytes, which a socket would copy again and again
        )
        # Where an answer was lost and the PUT repeated, the session is gone and the blob is there.
        if response.status == HTTPStatus.NOT_FOUND and self._has(repository, digest, data):
            return
        self._require(response, HTTPStatus.CREATED, f"the upload of a blob to {repository}")

    def _begin(self, repository: str) -> str:
        path = f"/v2/{repository}/blobs/uploads/"
        response = self._transport.send("POST", path)
        self._require(response, HTTPStatus.ACCEPTED, f"POST {path}")
        try:
            location = urljoin(response.url, response.headers["location"])
            origin = origin_of(location)
        except (KeyError, ValueError):
            self._refuse(f"POST {path} is answered without a place to upload to")
        if origin != self._transport.origin and not origin.startswith("https://"):
            self._refuse(
                f"POST {path} is answered with a place that is not protected, {origin}; behind a "
                "proxy the registry must be told X-Forwarded-Proto"
            )
        return location

    def _names(self, url: str, key: str, *, may_lack: bool) -> list[str]:
        names: list[str] = []
        for page in self._pages(url, may_lack=may_lack):
            names += self._listed(page, key)
            if len(names) > _MAX_NAMES:
                self._refuse(f"{urlsplit(url).path} lists more than {_MAX_NAMES} {key}")
        return names

    def _pages(self, url: str, *, may_lack: bool) -> Iterator[Response]:
        path = urlsplit(url).path
        for _ in range(_MAX_PAGES):
            response = self._transport.get(url, max_bytes=MAX_DOCUMENT_BYTES)
            if response.status == HTTPStatus.NOT_FOUND and may_lack:
                return
            self._require(response, HTTPStatus.OK, f"GET {path}")
            yield response
            link = _NEXT.search(response.headers.get("link", ""))
            if link is None:
                return
            url = self._at_home(response.url, link[1], path)
        self._refuse(f"{path} has more than {_MAX_PAGES} pages")

    def _at_home(self, here: str, link: str, path: str) -> str:
        try:
            url = urljoin(here, link)
            moved = origin_of(url) != self._transport.origin
        except ValueError:
            moved = True
        if moved:
            self._refuse(f"{path} goes on at another server")
        return url

    def _listed(self, page: Response, key: str) -> list[str]:
        path = urlsplit(page.url).path
        try:
            raw = strictjson.loads(page.body, path, MAX_DOCUMENT_BYTES)
        except BundleError:
            self._refuse(f"{path} is no JSON")
        names = raw.get(key) if isinstance(raw, dict) and key in raw else ""
        names = [] if names is None else names
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            self._refuse(f"{path} is no list of {key}")
        return names

    def _require(self, response: Response, status: HTTPStatus, what: str) -> None:
        if response.status != status:
            self._refuse(f"{what} is answered with {response.status}, expected {int(status)}")

    def _refuse(self, what: str) -> NoReturn:
        raise RegistryError(
            f"{self._transport.origin} does not behave like an OCI registry that may be used so: "
            f"{what}. Check the location, what these credentials may do, and the registry's log"
        )


def _blob(repository: str, digest: str) -> str:
    return f"/v2/{repository}/blobs/sha256:{digest}"
