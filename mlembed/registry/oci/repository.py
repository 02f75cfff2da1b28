"""One model's repository in an OCI registry: what its tags name, read without belief.

<version>-<id12>   a bundle, as a ModelPack artifact with its signature inside
alias-<alias>      every pointer of the alias in one artifact, the oldest first
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlembed.bundle.bundle import sha256
from mlembed.bundle.manifest import is_name, is_version
from mlembed.errors import IntegrityError, RegistryError
from mlembed.registry.oci.distribution import ANY_TYPE
from mlembed.registry.oci.modelpack import Artifact, read_alias

if TYPE_CHECKING:
    from mlembed.registry.oci.artifact import Layer
    from mlembed.registry.oci.distribution import Distribution
    from mlembed.registry.store import Polled

_ALIAS = "alias-"
_VERSION = re.compile(r"(.{1,40})-([0-9a-f]{12})")


class Repository:
    """The repository of the model *name*.

    Args:
        server: The registry's server.
        path: Path of the repository there.
        name: Name of the model.
        place: The repository as people write it, to name it in errors.
    """

    def __init__(self, server: Distribution, path: str, name: str, place: str) -> None:
        self.server = server
        self.path = path
        self.name = name
        self.place = place

    def versions(self) -> dict[str, list[str]]:
        """Return the tags of each version; more than one where it is spoilt."""
        found: dict[str, list[str]] = {}
        for tag in sorted({*self.tags()}):
            match = _VERSION.fullmatch(tag)
            if match and is_version(match[1]):
                found.setdefault(match[1], []).append(tag)
        return found

    def aliases(self) -> list[str]:
        """Return the aliases, sorted."""
        names = {tag.removeprefix(_ALIAS) for tag in self.tags() if tag.startswith(_ALIAS)}
        return sorted(name for name in names if is_name(name) and not is_version(name))

    def tags(self) -> list[str]:
        """Return all tags."""
        return self.server.tags(self.path)

    def artifact(self, tag: str) -> Artifact | None:
        """Return the bundle that *tag* names, None where there is none.

        Raises:
            IntegrityError: If it names something else.
        """
        data = self.server.manifest(self.path, tag).data
        if data is None:
            return None
        place = f"{self.place}:{tag}"
        artifact = Artifact.from_bytes(data, place)
        if artifact.name != self.name or tag != version_tag(artifact.version, artifact.bundle_id):
            raise IntegrityError(f"{place} holds another bundle; publish the next version")
        return artifact

    def push(self, *contents: bytes) -> None:
        """Store blobs, as far as they are not there."""
        for data in contents:
            self.server.push(self.path, data)

    def put(self, artifact: Artifact) -> None:
        """Store *artifact*, whose files are there, under its version's tag."""
        tag = version_tag(artifact.version, artifact.bundle_id)
        self.server.put_manifest(self.path, tag, artifact.to_bytes())

    def poll(self, alias: str, etag: str) -> tuple[Polled, tuple[Layer, ...]]:
        """Return the manifest of *alias*, unless *etag* still stands for it, and its pointers.

        Raises:
            IntegrityError: If its tag names something else.
        """
        polled = self.server.manifest(self.path, f"{_ALIAS}{alias}", etag=etag)
        if polled.data is None:
            return polled, ()
        return polled, read_alias(polled.data, f"{self.place}:{_ALIAS}{alias}")

    def put_alias(self, alias: str, manifest: bytes) -> None:
        """Store the *manifest* of *alias*, whose pointers are there, in place of what is."""
        self.server.put_manifest(self.path, f"{_ALIAS}{alias}", manifest)

    def contents(self, layer: Layer) -> bytes:
        """Return the bytes of *layer*, a small one.

        Raises:
            IntegrityError: If they are gone, or are others.
        """
        data = self.server.blob(self.path, layer.digest, layer.size)
        if data is None or sha256(data) != layer.digest:
            raise IntegrityError(
                f"sha256:{layer.digest} in {self.place} is {'gone' if data is None else 'damaged'};"
                " restore it from a copy of the registry, or publish or promote under another name"
            )
        return data

    def remove(self, version: str) -> None:
        """Remove the tags of *version*; see `OciRegistry.remove_version`."""
        doomed = self.versions().get(version, [])
        digests = {tag: self._digest(tag) for tag in self.tags()} if doomed else {}
        gone = {digests.pop(tag, "") for tag in doomed} - {""}
        kept = sorted(tag for tag, digest in digests.items() if digest in gone)
        if kept:
            raise RegistryError(
                f"{self.name}@{version} in {self.place} is also tagged {', '.join(kept)}, and "
                "would vanish there too; remove that tag first"
            )
        for digest in gone:
            self.server.delete_manifest(self.path, digest)

    def _digest(self, tag: str) -> str:
        """Return the sha256 of the manifest that *tag* names, whatever it is; empty for none."""
        data = self.server.manifest(self.path, tag, accept=ANY_TYPE).data
        return sha256(data) if data is not None else ""


def version_tag(version: str, bundle_id: str) -> str:
    """Return the tag of the bundle *bundle_id* as *version*; another bundle has another."""
    return f"{version}-{bundle_id[:12]}"
