"""A directory is a registry.

    <root>/<name>/blobs/sha256/<hex>          contents, named by their digest
    <root>/<name>/versions/<version>.json     create-only: version -> bundle id
    <root>/<name>/aliases/<alias>.json        the current pointer
    <root>/<name>/log/<alias>/<serial>.json   every pointer that was in force, as a chain

A version is visible only once all its blobs are, and is never changed after.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import TYPE_CHECKING, NoReturn

from mlembed.bundle import strictjson
from mlembed.bundle.bundle import Bundle, sha256, unpack
from mlembed.bundle.manifest import NAME_RULE, is_name, is_sha256, is_version
from mlembed.errors import (
    BundleError,
    ConflictError,
    IntegrityError,
    NotFoundError,
    RegistryError,
    SettingsError,
)
from mlembed.registry import files
from mlembed.registry.history import before, listing, read_log
from mlembed.registry.pointer import Pointer, Ref, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from mlembed.bundle.manifest import File


_MAX_REASON = 2_000


class FileRegistry:
    """Versions and aliases of models in the directory *root*.

    Several processes, on one machine, may publish and promote at once: the first to create a
    version wins, and pointers move under a lock.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def __str__(self) -> str:
        return str(self.root)

    def resolve(self, ref: Ref) -> Target:
        """Return what *ref* points at now."""
        if ref.is_alias:
            return self.pointer(ref.name, ref.selector).target
        path = self._model(ref.name) / "versions" / f"{ref.selector}.json"
        raw = self._read(path, lambda: self._unknown(ref))
        try:
            bundle_id = strictjson.loads(raw, str(path))["bundle_id"]
        except (BundleError, KeyError, TypeError):
            bundle_id = None
        if not is_sha256(bundle_id):
            raise IntegrityError(f"{path} names no bundle; publish a new version")
        return Target(ref.name, ref.selector, str(bundle_id))

    def fetch(self, target: Target) -> Bundle:
        """Return the verified bundle of *target*."""
        blobs = self._model(target.name) / "blobs" / "sha256"

        def gone() -> NoReturn:
            raise IntegrityError(
                f"{target.name}@{target.version}: its manifest is missing from {self}. "
                "Publish the bundle again from its trainer"
            )

        manifest = self._read(blobs / target.bundle_id, gone)

        def read(file: File) -> bytes:
            return (blobs / file.sha256).read_bytes()

        try:
            bundle = unpack(manifest, read, target.bundle_id)
        except OSError as error:
            raise RegistryError(f"cannot read {target.name} in {self}: {error.strerror}") from error
        if (bundle.manifest.name, bundle.manifest.version) != (target.name, target.version):
            raise IntegrityError(
                f"{target.name}@{target.version} in {self} holds {bundle.manifest.title}; "
                "it is refused. Publish the right bundle as a new version"
            )
        return bundle

    def publish(self, bundle: Bundle) -> Target:
        """Store *bundle* as a new version; the same bundle again mends what was damaged.

        Raises:
            ConflictError: If the version exists with other contents.
            RegistryError: If the registry cannot be written; nothing is visible then.
        """
        name, version = bundle.manifest.name, bundle.manifest.version
        model = self._model(name)
        contents = [*bundle.files.values(), bundle.manifest_bytes]
        record = strictjson.dumps({"bundle_id": bundle.id, "version": version})
        try:
            for data in contents:
                blob = model / "blobs" / "sha256" / sha256(data)
                if not files.create(blob, data) and blob.read_bytes() != data:
                    files.replace(blob, data)  # it was damaged, and its name says what it was
            created = files.create(model / "versions" / f"{version}.json", record)
        except OSError as error:
            self._refuse_write(error)
        target = Target(name, version, bundle.id)
        if not created and self.resolve(Ref(name, version)) != target:
            raise ConflictError(
                f"{name}@{version} is published already with other contents; versions never "
                "change. Publish the next version"
            )
        return target

    def promote(self, name: str, alias: str, version: str, reason: str = "") -> Pointer:
        """Point *alias* at *version*.

        Raises:
            NotFoundError: If there is no such version.
            IntegrityError: If its bundle is damaged; the alias stays where it is.
            RegistryError: If the registry cannot be written.
        """
        target = self.resolve(Ref(name, version))
        self.fetch(target)
        return self._point(name, alias, lambda _history: target, "promote", reason)

    def rollback(self, name: str, alias: str, reason: str = "") -> Pointer:
        """Point *alias* back at the bundle it served before the current one.

        Raises:
            NotFoundError: If there was none.
        """
        with contextlib.suppress(IntegrityError):
            self.pointer(name, alias)  # an unknown alias is named before anything is made
        return self._point(name, alias, before, "rollback", reason)

    def pointer(self, name: str, alias: str) -> Pointer:
        """Return the current pointer of *alias*."""
        ref = Ref(name, alias)
        path = self._alias(name, alias)
        pointer = Pointer.from_bytes(self._read(path, lambda: self._unknown(ref)), str(path))
        if (pointer.name, pointer.alias) != (name, alias):
            raise IntegrityError(f"{path} speaks of {pointer.name}@{pointer.alias}; promote again")
        return pointer

    def history(self, name: str, alias: str) -> list[Pointer]:
        """Return every pointer of *alias*, the oldest first and the current one last.

        Raises:
            NotFoundError: If there is no such alias.
            IntegrityError: If the log is damaged or does not hold the current pointer.
        """
        current = self.pointer(name, alias)
        log = self._log(name, alias)
        if current not in log:
            raise IntegrityError(f"{name}@{alias} in {self} is not in its log; promote again")
        # What lies beyond was logged by a promotion that died before it came into force.
        return log[: current.serial]

    def models(self) -> list[str]:
        """Return the names of all models, sorted."""
        names = (path.name for path in listing(self.root) if is_name(path.name))
        return sorted(name for name in names if self.versions(name))

    def versions(self, name: str) -> list[str]:
        """Return the versions of *name*, the oldest first."""
        stems = [path.stem for path in listing(self._model(name) / "versions")]
        return sorted((s for s in stems if is_version(s)), key=_version_key)

    def aliases(self, name: str) -> list[str]:
        """Return the aliases of *name*, sorted."""
        stems = (path.stem for path in listing(self._model(name) / "aliases"))
        return sorted(stem for stem in stems if is_name(stem))

    def next_version(self, name: str) -> str:
        """Return the version a new training run publishes: the next minor, 1.0.0 at first."""
        versions = self.versions(name)
        if not versions:
            return "1.0.0"
        major, minor, _ = _version_key(versions[-1])
        return f"{major}.{minor + 1}.0"

    def require_writable(self, name: str) -> None:
        """Find out before long work whether *name* could be published here.

        Raises:
            RegistryError: If it could not.
        """
        try:
            files.probe(self._model(name))
        except OSError as error:
            self._refuse_write(error)

    def _point(
        self,
        name: str,
        alias: str,
        choose: Callable[[list[Pointer]], Target],
        action: str,
        reason: str,
    ) -> Pointer:
        if len(reason) > _MAX_REASON:
            raise SettingsError(f"the reason may have {_MAX_REASON} characters at most")
        model, path = self._model(name), self._alias(name, alias)
        try:
            with files.locked(model / ".lock"):
                history = self._in_force(name, alias)
                target = choose(history)
                pointer = Pointer(
                    name=name,
                    alias=alias,
                    version=target.version,
                    bundle_id=target.bundle_id,
                    serial=history[-1].serial + 1 if history else 1,
                    prev=sha256(history[-1].to_bytes()) if history else "",
                    issued=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
                    action=action,
                    reason=reason,
                )
                data = pointer.to_bytes()
                # The log first: were the alias moved first, a crash would lose its history.
                files.replace(model / "log" / alias / f"{pointer.serial}.json", data)
                files.replace(path, data)
        except RegistryError:
            raise
        except OSError as error:
            self._refuse_write(error)
        return pointer

    def _model(self, name: str) -> Path:
        if not is_name(name):
            raise SettingsError(f"{name!r} is no model name; expected {NAME_RULE}")
        return self.root / name

    def _alias(self, name: str, alias: str) -> Path:
        if not is_name(alias) or is_version(alias):
            raise SettingsError(f"{alias!r} is no alias; expected a word such as 'champion'")
        return self._model(name) / "aliases" / f"{alias}.json"

    def _log(self, name: str, alias: str) -> list[Pointer]:
        return read_log(self._model(name) / "log" / alias, name, alias)

    def _in_force(self, name: str, alias: str) -> list[Pointer]:
        """Return the history to go on from, also where the alias file itself is damaged."""
        try:
            return self.history(name, alias)
        except NotFoundError:
            return []
        except IntegrityError:
            return self._log(name, alias)

    def _read(self, path: Path, missing: Callable[[], NoReturn]) -> bytes:
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            missing()
        except OSError as error:
            raise RegistryError(f"cannot read {path}: {error.strerror}") from error

    def _unknown(self, ref: Ref) -> NoReturn:
        if not self.root.is_dir():
            raise NotFoundError(f"there is no registry at {self}; train with --registry {self}")
        versions, aliases = self.versions(ref.name), self.aliases(ref.name)
        if not versions:
            raise NotFoundError(f"{self} has no model '{ref.name}'; it has {_list(self.models())}")
        raise NotFoundError(
            f"'{ref.name}' has no {'alias' if ref.is_alias else 'version'} '{ref.selector}' in "
            f"{self}; it has the versions {_list(versions)} and the aliases {_list(aliases)}"
        )

    def _refuse_write(self, error: OSError) -> NoReturn:
        raise RegistryError(
            f"cannot write to the registry {self}: {error.strerror or error}. Nothing was "
            "published; make the directory writable or name another with --registry"
        ) from error


def _version_key(version: str) -> tuple[int, int, int]:
    major, minor, patch = version.split(".")
    return int(major), int(minor), int(patch)


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
