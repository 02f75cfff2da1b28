"""Log in to an OCI registry: by its token server, by user and password, or not at all.

A registry tells with a 401 what it wants. The password goes only to the registry itself, or to a
token server that is protected and of the same house; what it gives is kept in memory until it
expires, and shown to the registry alone.
https://github.com/distribution/distribution/blob/main/docs/content/spec/auth/token.md
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from mlembed.bundle import strictjson
from mlembed.errors import BundleError, RegistryError
from mlembed.registry.http.credentials import Credentials, Static, origin_of
from mlembed.registry.web import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlembed.registry.http.transport import Response, Transport
    from mlembed.registry.oci.dockerlogin import Login

    Connect = Callable[[str, Credentials | None], Transport]

_MAX_BYTES = 256 * 1024
_MAX_HEADER = 16 * 1024  # characters
_MAX_TOKENS = 64
_SECONDS = 60.0  # how long a token is good where nobody says
_MAX_SECONDS = 3_600.0
_USED = 0.9  # of that time, for clocks and the way
_ALL = frozenset({"pull", "push", "delete"})
_NEEDS = {
    **dict.fromkeys(("GET", "HEAD"), frozenset({"pull"})),
    **dict.fromkeys(("POST", "PUT", "PATCH"), frozenset({"pull", "push"})),
    "DELETE": frozenset({"delete"}),
}
# Token servers of registries that are named otherwise.
_PAIRS = {("registry-1.docker.io", "auth.docker.io")}
# Below "co.uk" and its like, everybody may have a name.
_SHARED = {"ac", "co", "com", "edu", "gob", "gov", "go", "ne", "net", "or", "org"}
_REPOSITORY = re.compile(r"/v2/(.+)/(?:manifests|blobs|tags|referrers)/")
_TOKEN = re.compile(r"[\x21-\x7e]+")
_PART = re.compile(
    r"[\s,]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,\"]*)))?"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Challenge:
    """What a token server is asked: where it is, for which service, and for what."""

    realm: str
    service: str
    scope: str

    @property
    def actions(self) -> frozenset[str]:
        """What the token will allow; everything where the scope does not say."""
        found: set[str] = set()
        for scope in self.scope.split():
            found.update(scope.rpartition(":")[2].split(","))
        return frozenset(found) if found and "*" not in found else _ALL


@dataclasses.dataclass(frozen=True, slots=True)
class _Token:
    resource: str
    challenge: Challenge
    value: str = dataclasses.field(repr=False)
    expires: float


class Tokens:
    """Credentials for the OCI registry at *origin*.

    Two threads may ask for one token at once; no lock is held that a fork could leave behind.

    Args:
        origin: Scheme, host and port of the registry.
        login: Returns who asks; called at each challenge, as logins are renewed.
        connect: Returns a transport to a token server, with credentials.
    """

    def __init__(self, origin: str, login: Callable[[], Login], connect: Connect) -> None:
        self._origin = origin
        self._login = login
        self._connect = connect
        self._fixed: Mapping[str, str] = {}
        self._tokens: tuple[_Token, ...] = ()

    def __repr__(self) -> str:
        return f"Tokens({self._origin!r})"

    def header(self, url: str, method: str, /) -> Mapping[str, str]:
        """Return the header for *url*; none before the registry has asked for one.

        Raises:
            RegistryError: If a token has expired and the token server gives no other.
        """
        if origin_of(url) != self._origin or self._fixed:
            return self._fixed if origin_of(url) == self._origin else {}
        resource = _resource(url)
        for token in self._tokens:
            if token.resource == resource and token.challenge.actions >= _NEEDS.get(method, _ALL):
                if token.expires <= time.monotonic():
                    token = self._renew(resource, token.challenge, self._login())  # noqa: PLW2901
                return {"Authorization": f"Bearer {token.value}"}
        return {}

    def challenged(self, response: Response, /) -> bool:
        """Get what the registry asks for; return whether there is something better to show.

        Raises:
            RegistryError: If the token server is not to be trusted or gives no token, or docker
                keeps the login where it cannot be read.
        """
        login = self._login()
        offers = read_challenges(response.headers.get("www-authenticate", ""))
        bearer = offers.get("bearer", {})
        if login.authorization and (":" not in login.authorization or not bearer.get("realm")):
            before = self._fixed
            self._fixed = Static(self._origin, login.authorization).header(self._origin, "GET")
            return self._fixed != before
        if not bearer.get("realm"):
            self._note(login)
            return False
        resource = _resource(response.url)
        scope = bearer.get("scope") or f"repository:{resource}:pull,push"
        challenge = Challenge(bearer["realm"], bearer.get("service", ""), scope)
        if "push" in challenge.actions:
            self._note(login)  # nobody may write without a login
        self._fixed = {}
        self._renew(resource, challenge, login)
        return True

    def _note(self, login: Login) -> None:
        if login.note and not login.authorization:
            raise RegistryError(
                f"{self._origin} wants credentials: {login.note}. Set MLEMBED_REGISTRY_AUTH to "
                "user:password or a token"
            )

    def _renew(self, resource: str, challenge: Challenge, login: Login) -> _Token:
        try:
            value, seconds = self._ask(challenge, login)
        except RegistryError:
            self._note(login)
            raise
        token = _Token(resource, challenge, value, time.monotonic() + _USED * seconds)
        others = [t for t in self._tokens if (t.resource, t.challenge) != (resource, challenge)]
        self._tokens = (token, *others)[:_MAX_TOKENS]
        return token

    def _ask(self, challenge: Challenge, login: Login) -> tuple[str, float]:
        """Return a token and how many seconds it is good for."""
        origin = require_realm(challenge.realm, self._origin)
        parts = urlsplit(challenge.realm)
        query = parse_qsl(parts.query) + [("service", challenge.service)] * bool(challenge.service)
        query += [("scope", scope) for scope in challenge.scope.split()]
        credentials = Static(origin, login.authorization) if login.authorization else None
        transport = self._connect(origin, credentials)
        try:
            response = transport.get(
                f"{origin}{parts.path}?{urlencode(query)}", max_bytes=_MAX_BYTES
            )
        finally:
            transport.close()
        return _read(response, origin)


def require_realm(realm: str, registry: str) -> str:
    """Return the origin of the token server *realm*, if the password for *registry* may go there.

    Raises:
        RegistryError: If it is of another house, or not protected; names it.
    """
    try:
        origin = origin_of(realm)
    except ValueError:
        origin = ""
    ours, theirs = (urlsplit(url).hostname or "" for url in (registry, origin))
    if origin.startswith("https://"):
        good = ours == theirs or (ours, theirs) in _PAIRS or _house(ours) == _house(theirs) != ""
    else:
        good = theirs in LOOPBACK
    if good and (theirs not in LOOPBACK or ours in LOOPBACK):
        return origin
    raise RegistryError(
        f"{registry} sends for tokens to {theirs or 'no host that can exist'}, which is "
        "another's or not protected by https; no credentials are sent there. Check the registry, "
        "or give a token as MLEMBED_REGISTRY_AUTH"
    )


def read_challenges(text: str) -> dict[str, dict[str, str]]:
    """Return the parameters of each scheme that a WWW-Authenticate header offers, by its name."""
    offers: dict[str, dict[str, str]] = {}
    offer: dict[str, str] = {}
    text, position = text[:_MAX_HEADER], 0
    while match := _PART.match(text, position):
        position = match.end()
        word, quoted, plain = match.groups()
        if quoted is None and plain is None:
            offer = offers.setdefault(word.lower(), {})
        else:
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
            offer.setdefault(word.lower(), value)
    return offers


def _house(host: str) -> str:
    """Return the domain that *host* shares with others of its owner; empty where it has none."""
    labels = host.rstrip(".").split(".")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        n = 3 if len(labels[-1]) == 2 and labels[-2:][0] in _SHARED else 2  # noqa: PLR2004
        return ".".join(labels[-n:]) if len(labels) >= n and all(labels) else ""
    return ""


def _resource(url: str) -> str:
    """Return the repository that *url* is about, or its path where it is about none."""
    path = urlsplit(url).path
    match = _REPOSITORY.match(path)
    return match[1] if match else path


def _read(response: Response, origin: str) -> tuple[str, float]:
    """Return the token in *response* and how many seconds it is good for."""
    raw = None
    if response.status == 200:  # noqa: PLR2004  the token server's only good answer
        try:
            raw = strictjson.loads(response.body, origin, _MAX_BYTES)
        except BundleError:
            raw = None  # and not the cause: it could quote the token
    about = raw if isinstance(raw, dict) else {}
    value = about.get("token") or about.get("access_token")
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise RegistryError(
            f"the token server {origin} answers {response.status} and no token; check what "
            "MLEMBED_REGISTRY_AUTH may do, and the registry's own configuration"
        )
    seconds: Any = about.get("expires_in")
    if type(seconds) not in (int, float) or seconds <= 0:
        return value, _SECONDS
    return value, float(min(seconds, _MAX_SECONDS))
