"""Where a bucket is and who asks, as AWS's own tools are told, and AWS's Signature Version 4.

The formula is that of "Authenticating Requests: Using the Authorization Header"
(https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html), whose examples are
tests of this module:

    key       = HMAC(HMAC(HMAC(HMAC("AWS4" + secret, day), region), "s3"), "aws4_request")
    request   = method, path, query, headers, names of headers, hash of the body; a line each
    signature = HMAC(key, "AWS4-HMAC-SHA256", time, day/region/s3/aws4_request, SHA256(request))

The secret never leaves the process: what is sent holds for one method, one URL and 15 minutes.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import hmac
import re
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from mlembed.errors import SettingsError
from mlembed.registry.http.credentials import origin_of, require_origin
from mlembed.registry.web import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlembed.registry.http.transport import Response

EMPTY = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"
_ALGORITHM = "AWS4-HMAC-SHA256"
_BODILESS = {"GET", "HEAD"}
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_REGION = re.compile(r"[a-z0-9-]{1,40}")
_WORD = re.compile(r"[\x21-\x7e]+")


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@dataclasses.dataclass(frozen=True, slots=True)
class Keys:
    """Who asks.

    Attributes:
        access: Access key id, which is no secret.
        secret: Secret access key.
        token: Session token of keys that expire; empty for others.
    """

    access: str
    secret: str = dataclasses.field(repr=False)
    token: str = dataclasses.field(default="", repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Bucket:
    """Where a registry's files are.

    Attributes:
        name: Name of the bucket.
        prefix: What their keys begin with, without a slash at its end; may be empty.
        endpoint: URL of the API; of the bucket alone where *in_host* is true.
        region: What requests are signed for.
        in_host: Whether the endpoint's host names the bucket.
    """

    name: str
    prefix: str
    endpoint: str
    region: str
    in_host: bool

    def __str__(self) -> str:
        return f"s3://{self.name}/{self.prefix}".rstrip("/")

    @property
    def url(self) -> str:
        """Where the bucket is."""
        return self.endpoint if self.in_host else f"{self.endpoint}/{self.name}"

    def key(self, path: str) -> str:
        """Return the key of the file at *path*."""
        return f"{self.prefix}/{path}" if self.prefix else path


class SigV4:
    """Credentials for a bucket.

    Args:
        origin: A URL of its endpoint; only scheme, host and port count.
        keys: Who asks.
        region: Where the bucket is.
        clock: Tells the time.
    """

    def __init__(
        self,
        origin: str,
        keys: Keys,
        region: str,
        clock: Callable[[], dt.datetime] = _now,
    ) -> None:
        self.origin = require_origin(origin)
        self._keys = keys
        self._region = region
        self._clock = clock

    def __repr__(self) -> str:
        return f"SigV4({self.origin!r}, {self._region!r})"

    def header(self, url: str, method: str, /) -> Mapping[str, str]:
        """Return the headers that let *method* do its work on *url*, for 15 minutes."""
        if origin_of(url) != self.origin:
            return {}
        moment = self._clock()
        headers = {
            "X-Amz-Content-SHA256": EMPTY if method in _BODILESS else UNSIGNED,
            "X-Amz-Date": f"{moment:%Y%m%dT%H%M%SZ}",
        }
        if self._keys.token:
            headers["X-Amz-Security-Token"] = self._keys.token
        told = authorization(method, url, headers, keys=self._keys, region=self._region)
        return {**headers, "Authorization": told}

    def challenged(self, _response: Response, /) -> bool:
        """Return False: there is nothing better to show."""
        return False


def authorization(
    method: str, url: str, headers: Mapping[str, str], *, keys: Keys, region: str
) -> str:
    """Return the Authorization header of a request, by the formula of the module's docstring.

    Args:
        method: HTTP method, in capitals.
        url: Where it goes.
        headers: What is signed besides the host; X-Amz-Date and X-Amz-Content-SHA256 at least.
        keys: Who asks.
        region: Where the bucket is.
    """
    parts = urlsplit(url)
    signed = {name.lower(): " ".join(text.split()) for name, text in headers.items()}
    signed["host"] = _host(url)
    names = ";".join(sorted(signed))
    request = "\n".join(
        [
            method,
            _encoded(unquote(parts.path) or "/", "/"),
            _query(parts.query),
            *(f"{name}:{signed[name]}" for name in sorted(signed)),
            "",
            names,
            signed["x-amz-content-sha256"],
        ]
    )
    time = signed["x-amz-date"]
    scope = f"{time[:8]}/{region}/s3/aws4_request"
    text = "\n".join([_ALGORITHM, time, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{keys.secret}".encode()
    for word in (*scope.split("/"), text):
        key = hmac.digest(key, word.encode(), "sha256")
    credential = f"Credential={keys.access}/{scope}"
    return f"{_ALGORITHM} {credential}, SignedHeaders={names}, Signature={key.hex()}"


def keys_of(auth: str, environment: Mapping[str, str]) -> Keys | None:
    """Return who asks for a bucket's files; None for nobody in particular.

    Args:
        auth: `access:secret` of the settings, which comes first; empty for none.
        environment: What AWS's own tools read: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
            AWS_SESSION_TOKEN.

    Raises:
        SettingsError: If one half is missing or malformed; shows neither.
    """
    if auth:
        keys = Keys(*auth.partition(":")[::2])
        source = "MLEMBED_REGISTRY_AUTH, as access:secret"
    else:
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        keys = Keys(*(environment.get(name, "") for name in names))
        source = "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, if they expire, AWS_SESSION_TOKEN"
        if not keys.access and not keys.secret:
            return None
    texts = (keys.access, keys.secret, *filter(None, [keys.token]))
    if not all(map(_WORD.fullmatch, texts)) or re.search("[/,:]", keys.access):
        raise SettingsError(
            "a bucket's credentials are incomplete or malformed; expected access key id and secret "
            f"access key, without blanks, in {source}"
        )
    return keys


def bucket_of(parts: SplitResult, environment: Mapping[str, str]) -> Bucket:
    """Return what the URL *parts*, `s3://bucket/prefix`, name.

    Args:
        parts: The URL.
        environment: AWS_REGION or AWS_DEFAULT_REGION, us-east-1 without; AWS_ENDPOINT_URL_S3 or
            AWS_ENDPOINT_URL, for others than AWS.

    Raises:
        SettingsError: If one of them is malformed; shows none.
    """
    name, prefix = parts.netloc, parts.path.strip("/")
    is_path = prefix.isprintable() and not {"", ".", ".."}.intersection(prefix.split("/"))
    is_good = _NAME.fullmatch(name) and (is_path or not prefix)
    if not is_good or parts.query or parts.fragment:
        raise SettingsError(
            "the registry's s3:// URL is malformed; expected s3://bucket or s3://bucket/prefix, "
            "with credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1"
    if not _REGION.fullmatch(region):
        raise SettingsError("AWS_REGION is malformed; expected a region such as eu-central-1")
    endpoint = _endpoint(environment)
    if endpoint or "." in name:  # no certificate holds for a dotted name before the host
        endpoint = endpoint or f"https://s3.{region}.amazonaws.com"
        return Bucket(name, prefix, endpoint, region, in_host=False)
    return Bucket(name, prefix, f"https://{name}.s3.{region}.amazonaws.com", region, in_host=True)


def _endpoint(environment: Mapping[str, str]) -> str:
    text = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or ""
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        require_origin(text)
    except ValueError:
        parts = SplitResult("", "", "", "", "")
    if not parts.scheme or parts.query or parts.fragment:
        raise SettingsError(
            "AWS_ENDPOINT_URL_S3 is malformed; expected https://host or https://host:port, without "
            "user, password and query"
        )
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise SettingsError(
            "a bucket on another machine is reached over https://, so that nobody on the way can "
            "change or withhold what is promoted; check AWS_ENDPOINT_URL_S3"
        )
    return text.rstrip("/")


def _host(url: str) -> str:
    """Return the Host header of a request to *url*: without the port that its scheme has anyway."""
    scheme, _, host = origin_of(url).partition("://")
    return host.removesuffix(":443" if scheme == "https" else ":80")


def _query(query: str) -> str:
    pairs = parse_qsl(query, keep_blank_values=True)
    encoded = sorted((_encoded(name), _encoded(text)) for name, text in pairs)
    return "&".join(f"{name}={text}" for name, text in encoded)


def _encoded(text: str, safe: str = "") -> str:
    return quote(text, safe=f"{safe}-_.~")
