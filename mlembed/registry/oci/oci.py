"""Models in an OCI registry: a repository each, versions and aliases as tags.

What a tag names may be overwritten by whoever comes later, and the server can be asked for no
comparison before (distribution-spec#251). So a version's tag is its bundle's alone, and two
publishers of one version leave two tags, which publisher and reader refuse. An alias and its log
are one manifest, so that they move together and no garbage collector parts them; of two promoters
at one moment, one may overwrite the other. Keep to one promoter per alias.
"""

from __future__ import annotations

import dataclasses
import os
import re
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from mlembed.bundle.manifest import SIGNATURE, is_name, version_key
from mlembed.errors import (
    ConflictError,
    IntegrityError,
    NotFoundError,
    RegistryError,
    SettingsError,
    first_line,
)
from mlembed.registry.assembly import refuse_other_contents
from mlembed.registry.collecting import Collected
from mlembed.registry.http.credentials import require_origin
from mlembed.registry.http.faults import TransientError
from mlembed.registry.oci.distribution import Distribution
from mlembed.registry.oci.dockerlogin import Login, docker_folder, docker_login
from mlembed.registry.oci.modelpack import EMPTY, Artifact, pointer_layer, serial_of, write_alias
from mlembed.registry.oci.repository import Repository, version_tag
from mlembed.registry.oci.tokens import Tokens
from mlembed.registry.pointer import read_entry, require_name
from mlembed.registry.registry import Registry
from mlembed.registry.store import Polled
from mlembed.registry.web import LOOPBACK, transport_for

if TYPE_CHECKING:
    from collections.abc import Collection
    from urllib.parse import SplitResult

    from mlembed.bundle.bundle import Bundle
    from mlembed.bundle.manifest import File
    from mlembed.registry.pointer import Pointer, Ref, Target
    from mlembed.settings import Settings

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_MAX_PREFIX = 190  # of the 255 characters of a repository, 64 are the model's


class OciRegistry(Registry):
    """Versions and aliases of models in the repositories below *prefix*.

    Args:
        host: Host and port, to name the registry.
        prefix: Repository path above the models'; empty for none.
        server: Where the repositories are.
    """

    def __init__(self, host: str, prefix: str, server: Distribution) -> None:
        super().__init__()
        self._name = f"oci://{host}/{prefix}".rstrip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._server = server

    def __str__(self) -> str:
        return self._name

    def models(self) -> list[str]:
        """Return the names of all models, sorted.

        Raises:
            RegistryError: If the registry does not list its repositories, as public ones do not.
        """
        try:
            repositories = self._server.repositories()
        except TransientError:
            raise
        except RegistryError as error:
            raise RegistryError(
                f"{self} does not list its models; name one ({first_line(error)})"
            ) from error
        ours = (path for path in repositories if path.startswith(self._prefix))
        names = {path.removeprefix(self._prefix) for path in ours}
        return sorted(name for name in names if is_name(name) and self.versions(name))

    def versions(self, name: str) -> list[str]:
        """Return the versions of *name*, the oldest first."""
        return sorted(self._repository(name).versions(), key=version_key)

    def aliases(self, name: str) -> list[str]:
        """Return the aliases of *name*, sorted."""
        return self._repository(name).aliases()

    def bundle_id(self, name: str, version: str) -> str | None:
        """Return the id of the bundle that *version* is, None where there is no such version.

        Raises:
            IntegrityError: If two bundles were published as that version.
        """
        repository = self._repository(name)
        tags = repository.versions().get(version, [])
        if len(tags) > 1:
            raise IntegrityError(
                f"{name}@{version} in {self} is spoilt: {len(tags)} bundles were published as it "
                "at once, and nobody can tell which is meant. Publish the next version"
            )
        artifact = repository.artifact(tags[0]) if tags else None
        return artifact.bundle_id if artifact is not None else None

    def blob(self, target: Target, digest: str, max_bytes: int) -> bytes | None:
        """Return a file of *target* by its sha256, None where it is gone."""
        return self._server.blob(self._repository(target.name).path, digest, max_bytes)

    def download(self, target: Target, file: File, sink: BinaryIO) -> bool:
        """Write a file of *target* into *sink*; return whether it is there."""
        return self._server.download(self._repository(target.name).path, file, sink)

    def signature(self, target: Target) -> bytes:
        """Return the bundle.sig.json of *target*; empty where nobody signed it."""
        artifact = self._artifact(target)
        layer = artifact.files.get(SIGNATURE) if artifact is not None else None
        return self._repository(target.name).contents(layer) if layer is not None else b""

    def sign(self, target: Target, signature: bytes) -> None:
        """Store the bundle.sig.json of *target*, replacing what is there."""
        artifact = self._artifact(target)
        if artifact is None:
            raise NotFoundError(f"{self} has no {target.name}@{target.version}; publish it first")
        repository, signed = self._repository(target.name), artifact.signed(signature)
        repository.push(signature, signed.config())
        repository.put(signed)

    def poll(self, name: str, alias: str, etag: str) -> Polled:
        """Return the stored pointer of *alias*, unless it is still what *etag* stood for.

        One conditional request where nothing changed, and one more for the pointer otherwise.
        """
        repository = self._repository(name)
        polled, pointers = repository.poll(alias, etag)
        return Polled(repository.contents(pointers[-1]), polled.etag) if pointers else polled

    def log(
        self, name: str, alias: str, after: int = 0, before: int | None = None
    ) -> list[tuple[int, bytes]]:
        """Return every stored pointer of *alias* with its serial; see `Holdings`."""
        repository = self._repository(name)
        layers = repository.poll(alias, "")[1]
        return [
            (serial, repository.contents(layer))
            for serial, layer in ((serial_of(layer), layer) for layer in layers)
            if serial > after and (before is None or serial < before)
        ]

    def append(self, pointer: Pointer, data: bytes) -> bool:
        """Log *data*, which says *pointer*, and bring it into force; see `Registry`.

        True says that it followed from what was there just before, and was there just after. It
        does not say that nobody will overwrite it: somebody who looked before this call and writes
        after it puts another pointer of the same serial in its place, and is told True as well.
        Hosts that saw the first then refuse the second, as forked.
        """
        name, alias = pointer.name, pointer.alias
        repository = self._repository(name)
        layers = repository.poll(alias, "")[1]
        if layers:
            last = read_entry(
                repository.contents(layers[-1]), f"the last pointer of {name}@{alias}"
            )
            if (pointer.serial, pointer.prev) != (last.pointer.serial + 1, last.pointer.digest):
                return False
        layer = pointer_layer(pointer.serial, data)
        manifest = write_alias(name, alias, (*layers, layer))
        repository.push(EMPTY, data)
        repository.put_alias(alias, manifest)
        return layer in repository.poll(alias, "")[1]

    def put(self, bundle: Bundle) -> bool:
        """Store *bundle* under its version; return whether the version is new."""
        name, version = bundle.manifest.name, bundle.manifest.version
        repository, tag = self._repository(name), version_tag(version, bundle.id)
        try:
            there = repository.artifact(tag)
        except IntegrityError:  # its tag says which bundle it was
            there = None
        others = {*repository.versions().get(version, [])} - {tag}
        if others or (there is not None and there.bundle_id != bundle.id):
            refuse_other_contents(name, version)
        artifact = Artifact.of(bundle)
        if there is not None:
            files = {**there.files, **artifact.files}  # a signature that was added since stays
            artifact = dataclasses.replace(artifact, files=files, published=there.published)
        repository.push(*bundle.files.values(), bundle.manifest_bytes, artifact.config())
        if bundle.signature:
            repository.push(bundle.signature)
        if artifact != there:
            repository.put(artifact)
        if repository.versions().get(version) != [tag]:
            raise ConflictError(
                f"somebody else published {name}@{version} in {self} at this moment, and the "
                "version is spoilt: nobody can use it. Publish the next version"
            )
        return there is None

    def require_writable(self, name: str) -> None:
        """Find out before long work whether *name* could be published here."""
        self._server.require_writable(self._repository(name).path)

    def published(self, name: str) -> dict[str, float]:
        """Return the Unix time at which each version of *name* was published."""
        repository = self._repository(name)
        times: dict[str, float] = {}
        for version, tags in repository.versions().items():
            found = [
                artifact.published_at for artifact in map(repository.artifact, tags) if artifact
            ]
            known = [time for time in found if time is not None]
            if known:
                times[version] = max(known)
        return times

    def collect(
        self, name: str, versions: Collection[str], before: float, *, delete: bool
    ) -> Collected:
        """Remove *versions* of *name*; the server frees their files when it collects its garbage."""
        del before  # files are the server's
        if delete:
            for version in versions:
                self.remove_version(name, version)
        return Collected(tuple(sorted(versions, key=version_key)), 0, 0)

    def remove_version(self, name: str, version: str) -> None:
        """Remove *version* of *name*, if it is there.

        A manifest goes by its digest, and every tag that names it with it.

        Raises:
            RegistryError: If another tag names it too; nothing is removed then.
        """
        self._repository(name).remove(version)

    def unknown(self, ref: Ref) -> NoReturn:
        """Say that there is no *ref*, and what there is, as far as the registry tells.

        Raises:
            NotFoundError: Always, where the registry answers.
        """
        if self._repository(ref.name).tags():
            super().unknown(ref)
        try:
            there = ", ".join(self.models()) or "none"
        except TransientError:
            raise
        except RegistryError:
            there = "others, perhaps, but does not list them"
        raise NotFoundError(f"{self} has no model '{ref.name}'; it has {there}")

    def _repository(self, name: str) -> Repository:
        if not _REPOSITORY.fullmatch(require_name(name)):
            raise SettingsError(
                f"'{name}' can name no repository of {self}; expected words of a-z and 0-9 with "
                "'.', '_', '__' or '-' between them"
            )
        return Repository(self._server, self._prefix + name, name, f"{self}/{name}")

    def _artifact(self, target: Target) -> Artifact | None:
        tag = version_tag(target.version, target.bundle_id)
        artifact = self._repository(target.name).artifact(tag)
        return artifact if artifact and artifact.bundle_id == target.bundle_id else None


def open_oci(parts: SplitResult, settings: Settings | None) -> OciRegistry:
    """Return the registry at the location *parts*, `oci://host[:port]/prefix`.

    Raises:
        SettingsError: If it is malformed or holds credentials.
    """
    prefix = parts.path.strip("/")
    if parts.query or parts.fragment or not parts.hostname or len(prefix) > _MAX_PREFIX:
        raise SettingsError("an OCI registry is written oci://host[:port]/repository")
    if prefix and not _REPOSITORY.fullmatch(prefix):
        raise SettingsError(
            "the repository of an oci:// location is written in a-z and 0-9, with '.', '_', '__' "
            "or '-' within words and '/' between them"
        )
    scheme = "http" if parts.hostname in LOOPBACK else "https"
    origin = require_origin(f"{scheme}://{parts.netloc}")
    host, authorization = parts.netloc, "" if settings is None else settings.registry_auth

    def login() -> Login:
        if authorization:
            return Login(authorization)
        return docker_login(docker_folder(os.environ), host.removesuffix(":443"))

    tokens = Tokens(origin, login, lambda at, who: transport_for(at, settings, who))
    return OciRegistry(host, prefix, Distribution(transport_for(origin, settings, tokens)))
