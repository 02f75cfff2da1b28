"""Bring the declared models onto this machine before traffic does.

A model that was pulled is verified, has replayed its golden rows, and is remembered as one that
served: the site can start from the cache alone, should the registry be away by then.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Literal

from mlembed.errors import MlembedError
from mlembed.registry.opening import follow, trust_of

if TYPE_CHECKING:
    from mlembed.bundle.bundle import Bundle
    from mlembed.registry.follow import Followed
    from mlembed.settings import Settings
    from mlembed_django.declaration import Declared

State = Literal["pulled", "here", "missing", "fails"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What came of one model.

    Attributes:
        name: What the site calls it.
        ref: What was asked of the registry.
        state: `pulled`; `here` where nothing had to be downloaded; `missing` where a dry run found
            that something would be; `fails`.
        version: Version the reference points at; empty where it cannot be resolved.
        bundle: Id of its bundle; empty likewise.
        size_bytes: Size of its files.
        signed: Id of the key that signed it; empty where nobody did, or no key was asked for.
        seconds: How long it took.
        error: Why it cannot be had; empty where it can.
    """

    name: str
    ref: str
    state: State = "fails"
    version: str = ""
    bundle: str = ""
    size_bytes: int = 0
    signed: str = ""
    seconds: float = 0.0
    error: str = ""


def registry_of(settings: Settings) -> Followed:
    """Return the registry that the models are pulled from.

    Raises:
        SettingsError: If there is none.
    """
    return follow(settings.registry, settings)


def pull(
    declared: Declared, registry: Followed, settings: Settings, *, dry_run: bool = False
) -> Pulled:
    """Bring *declared* here; a failure is part of the answer, never raised.

    Args:
        declared: The model.
        registry: Where from.
        settings: The site's.
        dry_run: Only tell what would be downloaded.
    """
    start = time.perf_counter()
    pulled = Pulled(name=declared.name, ref=str(declared.ref))
    try:
        target = registry.resolve(declared.ref)
        pulled = dataclasses.replace(pulled, version=target.version, bundle=target.bundle_id)
        is_here = registry.holds(target)
        pulled = dataclasses.replace(pulled, size_bytes=registry.size(target))
        if dry_run:
            return dataclasses.replace(pulled, state="here" if is_here else "missing")
        bundle = registry.fetch(target)
        _prove(bundle, declared, settings)
        registry.confirm(declared.ref, target)
        return dataclasses.replace(
            pulled,
            state="here" if is_here else "pulled",
            signed=trust_of(settings).check_bundle(bundle),
            seconds=time.perf_counter() - start,
            error=registry.problem,
        )
    except MlembedError as error:
        return dataclasses.replace(pulled, error=str(error), seconds=time.perf_counter() - start)


def _prove(bundle: Bundle, declared: Declared, settings: Settings) -> None:
    """Load *bundle* and replay its golden rows."""
    from mlembed.serving.loading import Serving, serve

    serve(bundle, Serving(declared.settings(settings)))
