"""Find the login that the docker client keeps for a registry.

Its configuration is only read. Programs that it names as keepers of logins are never run: a host
that asks for a model must not start what a file in somebody's home names.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mlembed.bundle import strictjson
from mlembed.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_BYTES = 1024 * 1024
_ALIASES = {"index.docker.io": "registry-1.docker.io", "docker.io": "registry-1.docker.io"}


class Login(NamedTuple):
    """Who asks.

    Attributes:
        authorization: `user:password` or a token; empty for nobody.
        note: Why there is nobody, for the error of a registry that asks for one.
    """

    authorization: str = ""
    note: str = ""

    def __repr__(self) -> str:
        return f"Login(..., {self.note!r})"


def docker_folder(environment: Mapping[str, str]) -> Path | None:
    """Return where the docker client keeps its configuration, None for a user without a home."""
    if environment.get("DOCKER_CONFIG"):
        return Path(environment["DOCKER_CONFIG"])
    try:
        return Path.home() / ".docker"
    except RuntimeError:
        return None


def docker_login(folder: Path | None, host: str) -> Login:
    """Return the login that `config.json` in *folder* holds for *host*.

    Args:
        folder: Where the docker client keeps its configuration; None for nowhere.
        host: Host of the registry, with its port where it has one.
    """
    path = (folder or Path()) / "config.json"
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        there = folder is not None and not isinstance(error, FileNotFoundError)
        return Login(note=f"{path} cannot be read: {error.strerror}" if there else "")
    try:
        config = strictjson.loads(data, str(path), _MAX_BYTES)
    except BundleError:
        return Login(note=f"{path} is no JSON")
    login = _entry(config, "auths", host)
    if isinstance(login, dict):
        found = _authorization(login)
        if found:
            return Login(found)
        if login.get("identitytoken"):
            return Login(note=f"{path} holds an identity token for {host}, which is not used")
        if login.get("auth"):
            return Login(note=f"the login for {host} in {path} is malformed")
    helper = _entry(config, "credHelpers", host)
    if not helper and login is not None:
        helper = config.get("credsStore")
    return (
        Login(note=f"docker keeps the login for {host} in a helper, which is not run")
        if (helper)
        else Login()
    )


def _entry(config: Any, section: str, host: str) -> Any:
    """Return what *section* says of *host*, however its URL is written there."""
    entries = config.get(section) if isinstance(config, dict) else None
    for key, entry in entries.items() if isinstance(entries, dict) else ():
        named = key.partition("://")[2] or key
        named = named.partition("/")[0].lower()
        if _ALIASES.get(named, named) == host.lower():
            return entry
    return None


def _authorization(login: dict[str, Any]) -> str:
    token = login.get("registrytoken")
    if isinstance(token, str) and token and ":" not in token:
        return token
    user, password = login.get("username"), login.get("password")
    if isinstance(user, str) and isinstance(password, str) and user:
        return f"{user}:{password}"
    try:
        text = base64.b64decode(str(login.get("auth") or ""), validate=True).decode().rstrip("\0")
    except (binascii.Error, ValueError):
        return ""
    user, _, password = text.partition(":")
    return text if user and password else ""
