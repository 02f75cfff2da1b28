"""Whether the registry gives what the site declares, byte by byte.

The bytes are read where the registry is a directory. Over a network the pointer and its signature
are judged and nothing is downloaded; `manage.py mlembed_pull` does that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.checks import Error as CheckError
from django.core.checks import Warning as CheckWarning

from mlembed.errors import MlembedError
from mlembed.registry import open_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.checks import CheckMessage

    from mlembed.registry import BundleSource
    from mlembed_django.declaration import Declaration, Declared


def look(declaration: Declaration) -> Iterator[CheckMessage]:
    """E003: a model cannot serve. W002: something else than the registry answers for it."""
    from mlembed_django.trial import require_record  # what sets the app up needs none of it

    location = declaration.settings.registry
    registry = open_source(location, declaration.settings)
    for declared in declaration.models.values():
        try:
            target = registry.resolve(declared.ref)
            if "://" not in location or location.startswith("file:"):
                require_record(declared, registry.fetch(target).manifest)
        except MlembedError as error:
            yield _cannot_serve(declared, registry, error)


def _cannot_serve(declared: Declared, registry: BundleSource, error: MlembedError) -> CheckMessage:
    place = f"MLEMBED['MODELS']['{declared.name}']"
    hint = f"Publish {declared.ref}, or change MLEMBED; then run: manage.py mlembed_check"
    resorts = registry.last_resorts(declared.ref) if hasattr(registry, "last_resorts") else ()
    if resorts:
        message = f"{place} can only answer with {resorts[0].what}: {error}."
        return CheckWarning(message, hint=hint, id="mlembed.W002")
    if declared.fallback is not None:
        message = f"{place} can only answer with its fallback: {error}."
        return CheckWarning(message, hint=hint, id="mlembed.W002")
    return CheckError(f"{place} cannot serve: {error}.", hint=hint, id="mlembed.E003")
