"""A bucket of S3, or of whatever speaks its API, as a store of files.

All is read over the registry's own HTTP client, names included: hosts fork, and obstore hangs in
the child of a process that has used it, so only publishers load it, to write. That a file can be
created once only, however many try, is proven before the first is written.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import os
import ssl
import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast
from urllib.parse import quote, urlencode
from xml.etree import ElementTree as ET

from mlembed.errors import MissingExtraError, NotFoundError, RegistryError
from mlembed.registry.http.credentials import require_origin
from mlembed.registry.http.faults import TransientError
from mlembed.registry.s3.sigv4 import SigV4, bucket_of, keys_of
from mlembed.registry.store import Listed, Polled
from mlembed.registry.tree import TreeRegistry
from mlembed.registry.web import WebStore, transport_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from urllib.parse import SplitResult

    from obstore import PutMode
    from obstore.store import ClientConfig, S3Credential, S3Store

    from mlembed.bundle.manifest import File
    from mlembed.registry.http.transport import Transport
    from mlembed.registry.s3.sigv4 import Bucket, Keys
    from mlembed.settings import Settings

_MAX_PAGE_BYTES = 8 * 1024 * 1024
_MAX_PAGES = 1_000  # a million names; without an end, a broken server would be asked for ever
_MAX_REFRESHED_BYTES = 5 * 1024 * 1024 * 1024  # the most that one request may store
_LEAST_BYTES_PER_SECOND = 64 * 1024
_PAUSES_SECONDS = (0.1, 0.5, 2.0)


class BucketStore(WebStore):
    """The files of *bucket*.

    Args:
        bucket: Where.
        transport: Asks for them.
        keys: Who writes; None for nobody.
        ca: Certificates to trust besides when writing, as a PEM file; empty for none.
    """

    def __init__(self, bucket: Bucket, transport: Transport, keys: Keys | None, ca: str) -> None:
        super().__init__(f"{bucket.url}/{quote(bucket.prefix)}".rstrip("/"), transport)
        self.bucket = bucket
        self._keys = keys
        self._ca_file = ca
        self._is_proven = False

    def __str__(self) -> str:
        return str(self.bucket)

    def poll(self, path: str, max_bytes: int, etag: str) -> Polled:
        """Return the file at *path* unless it is still the one that *etag* stood for."""
        with self._reading():
            return super().poll(path, max_bytes, etag)

    def download(self, path: str, file: File, sink: BinaryIO) -> bool:
        """Write the file at *path*, which must be *file*, into *sink*; tell whether it is there."""
        with self._reading():
            return super().download(path, file, sink)

    def listing(self, folder: str) -> Iterator[Listed]:
        """Yield the files and folders in *folder*; a folder has neither size nor age."""
        prefix = self.bucket.key(f"{folder}/" if folder else "")
        query = {"delimiter": "/", "list-type": "2", "prefix": prefix}
        for _ in range(_MAX_PAGES):
            data = self._page(query)
            try:
                found, token = _names(data, prefix)
            except (ValueError, ET.ParseError):
                raise RegistryError(
                    f"{self} answers no listing as S3 gives it; check AWS_ENDPOINT_URL_S3"
                ) from None
            yield from (item for item in found if item.name and not item.name.startswith("."))
            if not token:
                return
            query["continuation-token"] = token
        raise RegistryError(
            f"{self} has too many names in '{folder}'; give the registry a prefix of its own"
        )

    def create(self, path: str, data: bytes) -> bool:
        """Write *path* unless it exists; return whether this call made it."""
        if not self._is_proven:
            self.require_writable(path.partition("/")[0])
            self._is_proven = True
        for pause in _PAUSES_SECONDS:
            if self._exists(path):
                return False
            if self._put(path, data, "create"):
                return True
            time.sleep(pause)  # of two that write at once S3 may refuse both
        raise RegistryError(f"cannot write {self}/{path}: others are writing it; try again")

    def replace(self, path: str, data: bytes) -> None:
        """Write *path*, replacing what is there in one step."""
        self._put(path, data, "overwrite")

    def refresh(self, path: str) -> None:
        """Write *path* again as it is, unless somebody else writes it meanwhile."""
        found = self.poll(path, _MAX_REFRESHED_BYTES, "")
        if found.data is not None:
            self._put(path, found.data, {"e_tag": found.etag} if found.etag else "overwrite")

    def remove(self, path: str) -> None:
        """Remove *path* if it is there."""
        with self._writing() as writer, contextlib.suppress(FileNotFoundError):
            writer.delete(self.bucket.key(path))

    def require_writable(self, folder: str) -> None:
        """Find out whether *folder* can be written, and a file in it created once only.

        What shows it stays there: removing it may be forbidden, and where versions of files are
        kept it would leave one more each time.
        """
        path, data = f"{folder}/.created-once", b"{}"
        if self._put(path, data, "create") and self._put(path, data, "create"):
            raise RegistryError(
                f"{self} overwrites what exists although it is asked not to (If-None-Match: *), so "
                "publishers could destroy each other's models; publish to AWS, R2, MinIO or a "
                "directory"
            )

    def _page(self, query: Mapping[str, str]) -> bytes:
        url = f"{self.bucket.url}/?{urlencode(query, quote_via=quote)}"
        with self._reading():
            answer = self._transport.get(url, max_bytes=_MAX_PAGE_BYTES)
            if answer.status != HTTPStatus.OK:
                raise RegistryError(f"{self} answers {answer.status} to a listing; does it exist?")
        return answer.body

    def _exists(self, path: str) -> bool:
        with self._reading():
            return self._transport.send("HEAD", self._place(path)).status == HTTPStatus.OK

    def _put(self, path: str, data: bytes, mode: PutMode) -> bool:
        """Write *path* in one step; return whether *mode* let it happen."""
        with self._writing(len(data)) as writer:
            from obstore.exceptions import AlreadyExistsError, PreconditionError

            try:
                writer.put(self.bucket.key(path), data, mode=mode, use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return False
        return True

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (TransientError, NotFoundError):
            raise
        except RegistryError as error:
            raise RegistryError(
                f"{error}. Of a bucket check AWS_REGION, AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID with "
                "its secret and token, and that s3:GetObject and s3:ListBucket are allowed: without "
                "the latter S3 also refuses (403) what is not there"
            ) from error

    @contextlib.contextmanager
    def _writing(self, n_bytes: int = 0) -> Iterator[S3Store]:
        """Hold what writes *n_bytes*; what goes wrong is said without what the server said."""
        if self._keys is None:
            raise RegistryError(
                f"publishing to {self} needs credentials: set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or MLEMBED_REGISTRY_AUTH to access:secret"
            )
        try:
            from obstore import exceptions
        except ImportError as error:
            raise MissingExtraError("publishing to a bucket", "s3") from error
        if _writing_process() != os.getpid():
            raise RegistryError(
                f"cannot write to {self}: this process was forked from one that has, in which "
                "obstore would hang; publish from the parent or from a process of its own"
            )
        writer = self._writer(max(60, n_bytes // _LEAST_BYTES_PER_SECOND), self._keys)
        try:
            yield writer
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError):
            why = "these credentials may not; allow s3:PutObject, and s3:DeleteObject to collect"
        except FileNotFoundError:
            why = f"there is no bucket '{self.bucket.name}'; create it"
        except (exceptions.BaseError, OSError, ValueError) as error:
            why = f"{type(error).__name__}; check the environment's AWS_ variables and the network"
        else:
            return
        # What obstore says quotes the server, which may echo a signed request.
        raise RegistryError(f"cannot write to the registry {self}: {why}") from None

    def _writer(self, seconds: int, keys: Keys) -> S3Store:
        """Return what writes within *seconds* each time."""
        from obstore.store import S3Store

        # Said so, and not by name, lest a token in the environment joins other keys.
        pair = {"access_key_id": keys.access, "secret_access_key": keys.secret}
        known = cast("S3Credential", pair | {"token": keys.token or None, "expires_at": None})
        is_plain = self.bucket.endpoint.startswith("http:")
        client: ClientConfig = {"allow_http": is_plain, "timeout": f"{seconds}s"}
        if self._ca_file and not is_plain:
            client["root_certificate"] = _certificates(self._ca_file)
        return S3Store(
            self.bucket.name,
            aws_endpoint_url_s3=self.bucket.endpoint,  # beats the environment's
            region=self.bucket.region,
            virtual_hosted_style_request=self.bucket.in_host,
            conditional_put="etag",
            disable_bulk_delete=True,
            skip_signature=False,
            credential_provider=lambda: known,
            client_options=client,
            retry_config={"max_retries": 3, "retry_timeout": dt.timedelta(seconds=30)},
        )


def open_bucket(parts: SplitResult, settings: Settings | None) -> TreeRegistry:
    """Return the registry in the bucket of the URL *parts*, `s3://bucket/prefix`.

    Region, endpoint and credentials are read where AWS's own tools read them: AWS_REGION,
    AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID and their kin. Credentials of *settings* come first;
    without any, what is public can be read.

    Raises:
        SettingsError: If one of them is malformed; shows none.
    """
    bucket = bucket_of(parts, os.environ)
    keys = keys_of("" if settings is None else settings.registry_auth, os.environ)
    signer = None if keys is None else SigV4(bucket.endpoint, keys, bucket.region)
    transport = transport_for(require_origin(bucket.endpoint), settings, signer)
    ca = "" if settings is None else settings.ca_file
    return TreeRegistry(BucketStore(bucket, transport, keys, ca))


@functools.cache
def _writing_process() -> int:
    """Return the process that wrote first: the threads of obstore live in it alone."""
    return os.getpid()


def _certificates(path: str) -> bytes:
    try:
        ssl.create_default_context(cafile=path)
        return Path(path).read_bytes()
    except OSError as error:  # of TLS as well
        why = error.strerror or type(error).__name__
        raise RegistryError(f"cannot read certificates: {why}; expected PEM in {path}") from error


def _names(data: bytes, prefix: str) -> tuple[list[Listed], str]:
    """Return what a page of a listing holds, and what asks for the next; empty after the last."""
    text = data.decode()
    if "<!DOCTYPE" in text:
        raise ValueError("defines entities, which may be as large as they like")
    page = ET.fromstring(text)  # noqa: S314  see above
    found = [
        Listed(
            _below(prefix, item.findtext("{*}Key", "")),
            int(item.findtext("{*}Size", "")),
            dt.datetime.fromisoformat(item.findtext("{*}LastModified", "")).timestamp(),
        )
        for item in page.iterfind("{*}Contents")
    ]
    folders = [item.findtext("{*}Prefix", "") for item in page.iterfind("{*}CommonPrefixes")]
    found += [Listed(_below(prefix, key)[:-1], 0, 0.0) for key in folders]
    if page.findtext("{*}IsTruncated") == "false":
        return found, ""
    token = page.findtext("{*}NextContinuationToken", "")
    if not token:
        raise ValueError("says not where it goes on")
    return found, token


def _below(prefix: str, key: str) -> str:
    if not key.startswith(prefix):
        raise ValueError("is not below the prefix")
    return key.removeprefix(prefix)
