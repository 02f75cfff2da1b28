"""Copy models from one registry to another: ids, signatures, pointers and their history unchanged.

Statements are copied as they were signed, so a host that trusts the publisher trusts the copy, and
a copy that has gone its own way is refused instead of being overwritten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mlembed.errors import ConflictError, NotFoundError
from mlembed.registry.pointer import Ref

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlembed.registry.pointer import Entry
    from mlembed.registry.registry import Registry


class Mirrored(NamedTuple):
    """What was, or would be, copied of one model.

    Attributes:
        name: Name of the model.
        versions: Versions, the oldest first.
        pointers: How many pointers of each alias.
    """

    name: str
    versions: tuple[str, ...]
    pointers: dict[str, int]


def mirror(
    source: Registry,
    destination: Registry,
    name: str,
    *,
    dry_run: bool = False,
    told: Callable[[str], None] = lambda _: None,
) -> Mirrored:
    """Copy what *destination* lacks of the model *name*: versions first, then aliases.

    Args:
        source: Where from.
        destination: Where to.
        name: Name of the model.
        dry_run: Whether nothing is copied, and only counted.
        told: Hears of each version before it is copied.

    Raises:
        NotFoundError: If there is no such model.
        ConflictError: If a version is another bundle there, or an alias has another history.
        IntegrityError: If something is damaged in *source*, or not signed as *destination* asks.
        RegistryError: If one of them cannot be read or written.
    """
    versions = source.versions(name)
    if not versions:
        source.unknown(Ref(name))
    missing = [v for v in versions if not _is_there(source, destination, name, v)]
    logs = {alias: _ahead(source, destination, name, alias) for alias in source.aliases(name)}
    if not dry_run:
        for version in missing:
            told(version)
            bundle = source.fetch(source.resolve(Ref(name, version)))
            destination.trust.check_bundle(bundle)
            destination.store_as_is(bundle)
        for alias, entries in logs.items():
            for entry in entries[-1:]:  # it vouches for those before, by their digests
                place = f"the pointer of {name}@{alias} in {source}"
                destination.trust.check_envelope(entry.envelope, place)
            for entry in entries:
                if not destination.append(entry.pointer, entry.data):
                    raise ConflictError(
                        f"somebody else moves {name}@{alias} in {destination}; mirror again"
                    )
    pointers = {alias: len(entries) for alias, entries in logs.items() if entries}
    return Mirrored(name, tuple(missing), pointers)


def _is_there(source: Registry, destination: Registry, name: str, version: str) -> bool:
    bundle_id = destination.bundle_id(name, version)
    if bundle_id is None:
        return False
    target = source.resolve(Ref(name, version))
    if bundle_id != target.bundle_id:
        raise ConflictError(
            f"{name}@{version} is one bundle in {source} and another in {destination}; "
            "publish it as another version"
        )
    signature = source.signature(target)
    return not signature or destination.signature(target) == signature


def _ahead(source: Registry, destination: Registry, name: str, alias: str) -> list[Entry]:
    """Return the pointers that *destination* lacks, the oldest first."""
    ours = source.entries(name, alias)
    try:
        theirs = destination.entries(name, alias)
    except NotFoundError:
        return ours
    last = theirs[-1].pointer
    rest = [entry for entry in ours if entry.pointer.serial > last.serial]
    shared = [entry.pointer for entry in ours if entry.pointer.serial == last.serial]
    if shared != [last]:
        raise ConflictError(
            f"{name}@{alias} has another history in {destination} than in {source}; they cannot "
            "be made one. Promote there by hand, or mirror into an empty registry"
        )
    return rest
