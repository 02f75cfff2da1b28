"""Collect what no alias needs any more, carefully: versions first, then files nobody names."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from mlembed.errors import SettingsError

if TYPE_CHECKING:
    from mlembed.registry.registry import Registry

_DAY_SECONDS = 86_400.0
_MOST_DAYS = 1e6


class Collected(NamedTuple):
    """What was, or would be, removed.

    Attributes:
        versions: Versions, the oldest first.
        n_files: Files that no remaining version needs.
        n_bytes: Their size; 0 where the server keeps files itself and frees them later.
    """

    versions: tuple[str, ...]
    n_files: int
    n_bytes: int


def collect(
    registry: Registry, name: str, *, keep: int = 5, grace_days: float = 7.0, delete: bool = False
) -> Collected:
    """Remove the versions of *name* that nothing points at, and what only they need.

    What an alias points at, and the last *keep* different versions it pointed at, stay, and so does
    what is younger than *grace_days*.

    Args:
        registry: Where.
        name: Name of the model.
        keep: Versions of each alias's history that stay, for rollbacks.
        grace_days: Age up to which everything stays: somebody may be publishing it.
        delete: Whether anything is removed, and not just counted.

    Raises:
        SettingsError: If *keep* or *grace_days* is negative.
        IntegrityError: If an alias's log or a version is damaged; nothing is removed then.
        RegistryError: If the registry cannot be read or written.
    """
    if keep < 0 or not 0 <= grace_days < _MOST_DAYS:
        raise SettingsError("keep and grace_days must be 0 or more")
    needed = set()
    for alias in registry.aliases(name):
        history = registry.history(name, alias)
        recent = dict.fromkeys(pointer.version for pointer in reversed(history))
        needed.update([history[-1].version, *list(recent)[:keep]])
    before = time.time() - grace_days * _DAY_SECONDS
    times = registry.published(name)
    doomed = [
        v for v in registry.versions(name) if v not in needed and times.get(v, before) < before
    ]
    return registry.collect(name, doomed, before, delete=delete)
