"""From a location to a registry."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from mlembed.bundle.trust import Trust
from mlembed.errors import SettingsError
from mlembed.registry.file import FileRegistry
from mlembed.registry.pointer import parse_ref
from mlembed.registry.registry import Registry

if TYPE_CHECKING:
    from mlembed.registry import BundleSource
    from mlembed.registry.follow import Followed
    from mlembed.settings import Settings

_SERVED = (
    "directories, file:///absolute/path, https://host/path, oci://host/repository and "
    "s3://bucket/prefix"
)


def open_registry(location: str | Path, settings: Settings | None = None) -> Registry:
    """Return the registry at *location*, a directory or a URL.

    Args:
        location: Where it is.
        settings: Credentials, whom a bundle must be signed by before an alias may point at it, and
            the key that signs; nothing of these by default.

    Raises:
        SettingsError: If no location is given, its scheme is not served, or a key is no key.
    """
    registry = _opened(location, settings)
    if settings is not None:
        registry.trust = trust_of(settings)
        if settings.signing_key:
            from mlembed.bundle.keys import Signer
            from mlembed.registry.issue import Issuer

            registry.issuer = Issuer(
                signer=Signer.read(settings.signing_key, settings.signing_password)
            )
    return registry


def open_source(location: str | Path | Registry, settings: Settings) -> BundleSource:
    """Return what a host serves from: the registry at *location*, see `follow`.

    Where no location is given, what was shipped with the application is all there is.

    Raises:
        SettingsError: As `open_registry`.
    """
    trust = trust_of(settings)
    if not str(location) and settings.bundled:
        from mlembed.registry.shipped import Shipped

        return Shipped(Path(settings.bundled), trust)
    registry = _opened(location, settings)
    asked = trust.keys or settings.bundled or settings.min_serials
    if isinstance(registry, FileRegistry) and not asked:
        return registry  # as near as a cache, and believed: there is nothing to judge or remember
    return _followed(registry, settings, trust)


def follow(location: str | Path | Registry, settings: Settings) -> Followed:
    """Return the registry at *location* as a host follows it.

    Raises:
        SettingsError: As `open_registry`.
    """
    registry = _opened(location, settings)
    return _followed(registry, settings, trust_of(settings))


def _followed(registry: Registry, settings: Settings, trust: Trust) -> Followed:
    from mlembed.registry.cache import Cache  # most hosts of a directory start without
    from mlembed.registry.follow import Followed
    from mlembed.registry.judge import Policy
    from mlembed.registry.memory import Memory

    policy = Policy(
        trust=trust,
        epoch=settings.epoch,
        min_serials={str(parse_ref(ref)): n for ref, n in settings.min_serials.items()},
        bundled=settings.bundled,
    )
    # A directory is as near as the cache, and what it says is believed unless keys are asked for.
    is_near = isinstance(registry, FileRegistry)
    memory = cache = None
    if policy.trust.keys or not is_near:
        # One registry, however its directory is spelt and from wherever it is named.
        name = (
            os.path.realpath(registry.root) if isinstance(registry, FileRegistry) else str(registry)
        )
        memory = Memory(settings.cache, name)
    if not is_near:
        cache = Cache(settings.cache, settings.cache_bytes, settings.start_seconds)
    return Followed(registry, policy, memory, cache)


def trust_of(settings: Settings) -> Trust:
    """Return whom *settings* trust.

    Raises:
        SettingsError: If a key cannot be read, or signatures are asked for without any.
    """
    if not settings.keys and not settings.require_signature:
        return Trust()
    return Trust.read(settings.keys, settings.require_signature)


def _at_home(location: str, settings: Settings | None) -> Settings | None:
    """Return *settings*, without their credentials where those are for another registry."""
    if settings is None or not settings.registry or not settings.registry_auth:
        return settings
    if urlsplit(settings.registry)[:2] == urlsplit(location)[:2]:
        return settings
    return dataclasses.replace(settings, registry_auth="")


def _opened(location: str | Path | Registry, settings: Settings | None) -> Registry:
    if isinstance(location, Registry):
        return location
    if not str(location):
        raise SettingsError(
            "no model registry is set: give registry=..., --registry or MLEMBED_REGISTRY, "
            "such as file:///srv/models"
        )
    if "\0" in str(location):
        raise SettingsError("the registry's location holds a NUL character")
    if isinstance(location, Path) or "://" not in location:
        return FileRegistry(Path(location))
    # A URL may hold a password, so no message shows more of it than its scheme.
    scheme = location.partition("://")[0].lower()
    try:
        parts = urlsplit(location)
        _ = parts.port
    except ValueError as error:
        raise SettingsError(f"the registry's {scheme}:// URL is malformed") from error
    if scheme == "file":
        return FileRegistry(_file_path(parts))
    settings = _at_home(location, settings)
    if scheme in {"https", "http"}:
        from mlembed.registry.web import open_web  # others start without

        return open_web(parts, settings)
    if scheme == "oci":
        from mlembed.registry.oci.oci import open_oci

        return open_oci(parts, settings)
    if scheme == "s3":
        from mlembed.registry.s3.bucket import open_bucket

        return open_bucket(parts, settings)
    raise SettingsError(f"registries of the scheme '{scheme}' are not served; served are {_SERVED}")


def _file_path(parts: SplitResult) -> Path:
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or not path or parts.query or parts.fragment:
        raise SettingsError(
            "a file:// registry is written file:///absolute/path, with ? and # as %3F and %23"
        )
    if "\0" in path:
        raise SettingsError("the registry's location holds a NUL character")
    return Path(path)
