"""Log in to Salesforce, and call its API with the token that the login gives.

A token is sent to Salesforce or to the configured host, wherever else the login says that the
service is.
"""

from __future__ import annotations

import dataclasses
import functools
import http
import re
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

import httpx

from mlembed.errors import MissingExtraError, SettingsError
from mlembed_crm.destinations.credentials import Token, Tokens
from mlembed_crm.destinations.endpoint import Endpoint
from mlembed_crm.destinations.salesforce.answers import (
    DAILY_PAUSE_SECONDS,
    changed,
    codes_of,
    refusal,
)
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from mlembed_crm.destinations.endpoint import Answer

OWNER = "Salesforce"

_TOKEN_PATH = "/services/oauth2/token"  # noqa: S105  a path
_JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
# Salesforce takes an assertion that ends within 3 minutes, by its clock.
_ASSERTION_SECONDS = 120
_HOST = re.compile(r"([a-z0-9-]+\.)+(salesforce\.com|force\.com|salesforce\.mil|cloudforce\.com)")
_MAX_ANSWER_BYTES = 16 * 1024 * 1024
_TOKEN = re.compile(r"[\x21-\x7e]{1,8192}")
_RETRIED_LOGINS = {"server_error", "temporarily_unavailable", "unknown_error"}


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Login:
    """How an application shows Salesforce who it is.

    Attributes:
        url: Scheme and host where it asks for a token.
        form: Makes what it sends there.
    """

    url: str
    form: Callable[[], Mapping[str, str]]


def by_secret(domain: str, client_id: str, client_secret: str) -> Login:
    """Return the login of the OAuth 2.0 client credentials flow."""
    form = {
        "grant_type": "client_credentials",
        "client_id": client_id,
        "client_secret": client_secret,
    }
    return Login(domain, lambda: form)


def by_key(
    domain: str, client_id: str, username: str, private_key: str, login_url: str | None
) -> Login:
    """Return the login of the OAuth 2.0 JWT bearer flow.

    Args:
        domain: Of the organization.
        client_id: Of the application.
        username: Whom it acts for.
        private_key: RSA, PEM, not encrypted; the application has its certificate.
        login_url: Where to log in, and whom the assertion is for; None to log in at the domain.

    Raises:
        MissingExtraError: If PyJWT or cryptography is not installed.
        SettingsError: If the key cannot sign.
    """
    sandbox = ".sandbox." in domain
    audience = login_url or f"https://{'test' if sandbox else 'login'}.salesforce.com"

    def form() -> Mapping[str, str]:
        ends = int(time.time()) + _ASSERTION_SECONDS
        claims = {"iss": client_id, "sub": username, "aud": audience, "exp": ends}
        return {"grant_type": _JWT_GRANT, "assertion": _signed(claims, private_key)}

    form()
    return Login(login_url or domain, form)


def _signed(claims: Mapping[str, Any], private_key: str) -> str:
    try:
        import jwt
        from cryptography.exceptions import UnsupportedAlgorithm
    except ImportError as error:
        raise MissingExtraError("Salesforce's JWT bearer flow", "salesforce") from error
    try:
        return jwt.encode(dict(claims), private_key, algorithm="RS256")
    except (jwt.PyJWTError, AttributeError, TypeError, ValueError, UnsupportedAlgorithm):
        raise SettingsError(
            f"{OWNER}: private_key cannot sign; give an RSA private key in PEM form, not encrypted"
        ) from None


class Session:
    """Calls the API of one organization; may be used from any thread.

    Args:
        domain: `https://{mydomain}.my.salesforce.com`.
        login: How to log in.
        allow_private: As of `Endpoint`.
        timeout_seconds: Longest time of one call.
        tls: As of `Endpoint`.
        transport: As of `Endpoint`.
    """

    def __init__(
        self,
        domain: str,
        login: Login,
        *,
        allow_private: bool = False,
        timeout_seconds: float = 30.0,
        tls: ssl.SSLContext | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._connect = functools.partial(
            Endpoint,
            allow_private=allow_private,
            tls=tls or httpx.create_ssl_context(trust_env=False),
            transport=transport,
            owner=OWNER,
        )
        self.name = self._connect(domain, timeout_seconds=timeout_seconds).name
        self._door = self._connect(login.url, timeout_seconds=timeout_seconds)
        self._form = login.form
        self._timeout_seconds = timeout_seconds
        self._tokens = Tokens(self._log_in)

    def call(
        self,
        method: str,
        path: str,
        ends: float,
        *,
        content: bytes = b"",
        kind: str = "application/json",
        max_bytes: int = _MAX_ANSWER_BYTES,
    ) -> Answer:
        """Make one call; return what was answered, whatever it is but an expired token.

        Args:
            method: Such as `PATCH`.
            path: From the host on.
            ends: The `time.monotonic` by which it must have ended.
            content: The body.
            kind: Its media type.
            max_bytes: As much of the answer is read.

        Raises:
            DeliveryError: If no answer comes in time, or Salesforce does not let us in.
        """

        def request(token: Token) -> Answer:
            seconds = min(self._timeout_seconds, ends - time.monotonic())
            if seconds <= 0:
                raise DeliveryError("not sent: the time for this batch is used up", 0.0)
            # A score is no reason to give a lead to another owner, which is what happens unasked.
            headers = {"Authorization": f"Bearer {token.secret}", "Sforce-Auto-Assign": "FALSE"}
            if content:
                headers["Content-Type"] = f"{kind}; charset=UTF-8"
            return self._connect(token.url, timeout_seconds=seconds).call(
                method, path, headers=headers, content=content, max_bytes=max_bytes
            )

        return self._tokens.call(request, _is_expired)

    def _log_in(self) -> Token:
        answer = self._door.call(
            "POST",
            _TOKEN_PATH,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            content=urllib.parse.urlencode(self._form()).encode("ascii"),
        )
        if answer.status != http.HTTPStatus.OK:
            raise _login_refusal(answer)
        given = answer.json()
        secret = given.get("access_token") if isinstance(given, dict) else None
        if not isinstance(secret, str) or not _TOKEN.fullmatch(secret):
            raise DeliveryError("the login gave no token", status=answer.status)
        return Token(secret, service_url(given.get("instance_url"), self.name))


def service_url(told: Any, domain: str) -> str:
    """Return the base URL of the service, if a token may be sent there.

    Args:
        told: What the login says; None where it says nothing.
        domain: Scheme and host of the organization.

    Raises:
        DeliveryError: If that is neither Salesforce's nor the domain; `stops`.
    """
    if told is None:
        return domain
    try:
        url = httpx.URL(told)
    except (httpx.InvalidURL, TypeError):
        url = httpx.URL()
    base = f"{url.scheme}://{url.netloc.decode('ascii')}"
    ours = url.scheme == "https" and _HOST.fullmatch(url.netloc.decode("ascii")) is not None
    if (ours or base == domain) and url.raw_path == b"/" and not url.userinfo:
        return base
    raise DeliveryError(
        "the login names a service that is not Salesforce's, so the token is not sent there; "
        "check domain and login_url",
        stops=True,
    )


def _is_expired(answer: Answer) -> bool:
    return answer.status == http.HTTPStatus.UNAUTHORIZED


def _login_refusal(answer: Answer) -> DeliveryError:
    error = refusal(answer)
    reason = f"the login is refused: {error.reason}"
    if b"rate exceeded" in answer.body:  # of the code invalid_grant, as a wrong secret is
        return changed(error, reason=reason, retry_after=DAILY_PAUSE_SECONDS, permanent=False)
    if _RETRIED_LOGINS.intersection(codes_of(answer)):
        return changed(error, reason=reason, permanent=False)
    if error.permanent or error.stops:
        remedy = "check domain, client_id and the secret or key, and what the application may do"
        return changed(error, reason=f"{reason}; {remedy}", permanent=False, stops=True)
    return changed(error, reason=reason)
