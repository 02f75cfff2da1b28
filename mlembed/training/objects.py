"""Bring the objects of a bucket, or a file behind https, to a private place on this disk.

An object comes whole or not at all. What was brought is removed when the table has been read, and
no credential, nor the query of a signed URL, is ever shown.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import glob
import os
import threading
import urllib.parse
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from mlembed.errors import DataError, MissingExtraError
from mlembed.training.files import Files
from mlembed.training.tables import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from obstore.store import RetryConfig

SCHEMES = ("s3", "gs", "az", "https")
_RETRIES: RetryConfig = {"max_retries": 3, "retry_timeout": dt.timedelta(seconds=30)}
_CHUNK_BYTES = 8 << 20


def is_remote(text: str) -> bool:
    """Tell whether *text* is the URL of an object."""
    return text.partition("://")[0] in SCHEMES and "://" in text


def fetch(url: str, folder: Path) -> Files:
    """Copy what *url* names into *folder*.

    Args:
        url: `s3://bucket/key`, `gs://bucket/key` or `az://container/key`, where the key may be a
            pattern of parts, or `https://host/path`. Credentials come from where the provider's
            own tools read them: the environment, or the machine's role.
        folder: A directory that nobody else can read.

    Raises:
        DataError: If there is no such object, it may not be read, or it does not come whole.
        MissingExtraError: If obstore is not installed.
    """
    title = _title(url)
    with _explained(title, "listed"):
        store, names = _named(url)
    if not names:
        raise DataError(f"no object fits {title}: check the pattern and the bucket")
    paths = []
    for place, name in enumerate(names):
        path = folder / f"{place:05d}" / (PurePosixPath(name).name or _last(url))
        path.parent.mkdir(mode=0o700)
        _copy(store, name, path, title if len(names) == 1 else f"{title}: {path.name}")
        paths.append(path)
    return Files(title, tuple(paths))


def _named(url: str) -> tuple[Any, list[str]]:
    """Return the store of *url* and the names of its objects, in order."""
    try:
        from obstore.store import AzureStore, GCSStore, HTTPStore, S3Store
    except ImportError as error:
        raise MissingExtraError("a table in an object store", "s3") from error
    if url.startswith("https://"):
        return HTTPStore.from_url(url, retry_config=_RETRIES), [""]
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    if not bucket or not key:
        raise DataError(f"{_title(url)} names no object: expected {scheme}://bucket/key")
    if scheme == "s3":
        store: Any = S3Store(bucket, retry_config=_RETRIES, **_endpoint())
    else:
        store = {"gs": GCSStore, "az": AzureStore}[scheme](bucket, retry_config=_RETRIES)
    return store, _fitting(store, key) if glob.has_magic(key) else [key]


def _endpoint() -> dict[str, Any]:
    """Return the options for an S3 server that the environment names."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not endpoint:
        return {}
    return {"endpoint": endpoint, "client_options": {"allow_http": endpoint.startswith("http:")}}


def _fitting(store: Any, pattern: str) -> list[str]:
    """Return the names of the objects that fit *pattern*, whose stars stop at a slash."""
    import obstore

    first = next(i for i, character in enumerate(pattern) if character in "*?[")
    prefix = pattern[:first].rpartition("/")[0]
    listed = _awaited(lambda: obstore.list(store, prefix or None).collect())
    paths = [meta["path"] for meta in listed]
    return sorted(path for path in paths if PurePosixPath("/" + path).match("/" + pattern))


def _copy(store: Any, name: str, path: Path, title: str) -> None:
    import obstore

    n_bytes, size = 0, None
    try:
        with _explained(title, "read"):
            found = _awaited(lambda: obstore.get(store, name))
            size = found.meta["size"]
            chunks = iter(found.stream(min_chunk_size=_CHUNK_BYTES))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for chunk in _told(chunks, title):
                n_bytes += file.write(chunk)
    except OSError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{title} cannot be kept on this disk ({error.strerror}) after {n_bytes:,} of "
            f"{size or 0:,} bytes: make room, or set TMPDIR to a directory that has it"
        ) from error
    if n_bytes != size:
        raise DataError(f"{title} ended after {n_bytes:,} of {size:,} bytes: read it again")


def _told(chunks: Iterator[Any], title: str) -> Iterator[Any]:
    while True:
        with _explained(title, "read to its end"):
            chunk = _awaited(lambda: next(chunks, None))
        if chunk is None:
            return
        yield chunk


def _awaited(call: Callable[[], Any]) -> Any:
    """Return what *call* returns; it runs on another thread, for obstore would hold Ctrl-C off."""
    results: list[Any] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(call())
        except Exception as error:  # noqa: BLE001  raised below
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


@contextlib.contextmanager
def _explained(title: str, what: str) -> Iterator[None]:
    """Turn what obstore raises into an error that quotes no server and no URL."""
    try:
        yield
    except (DataError, MissingExtraError):
        raise
    except FileNotFoundError:
        raise DataError(f"{title} does not exist: check the name and the bucket") from None
    except Exception as error:  # noqa: BLE001  what it raises has no common base
        raise DataError(
            f"{title} cannot be {what} ({type(error).__name__}): check the network, and the "
            "credentials in the environment"
        ) from None


def _title(url: str) -> str:
    if url.startswith("https://"):
        return shown(url)
    scheme, _, rest = url.partition("://")
    bucket, slash, key = rest.partition("/")
    return f"{scheme}://{bucket.rpartition('@')[2]}{slash}{key}"


def _last(url: str) -> str:
    return PurePosixPath(urllib.parse.urlsplit(url).path).name or "table"
