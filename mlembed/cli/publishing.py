"""Where a command puts the bundle that it makes: a registry, an alias, a directory, or nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlembed.bundle.single import write_bundle
from mlembed.cli.interruption import Trace, require_uninterrupted
from mlembed.cli.options import registry_of
from mlembed.cli.output import say
from mlembed.errors import NotFoundError, SettingsError
from mlembed.registry.pointer import Ref, parse_ref

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlembed.bundle.bundle import Bundle
    from mlembed.registry.registry import Registry


class Destination:
    """What the options of a command say of its bundle; checked before any long work begins.

    Args:
        name: Name of the model.
        registry: Directory or URL; the settings' registry where it is empty.
        alias: Alias to set on the new version, or empty.
        output: New directory or `.mlb` file to write the bundle into as well, or None.
        dry_run: Whether nothing is written at all.

    Raises:
        SettingsError: If the options do not go together, or there is no registry.
        RegistryError: If the registry cannot be written.

    Attributes:
        store: The registry, or None.
        next_version: The version to publish next; empty without a registry.
    """

    def __init__(
        self, name: str, registry: str, alias: str, output: Path | None, *, dry_run: bool
    ) -> None:
        self._name, self._alias, self._output = name, alias, output
        self._dry_run = dry_run
        self.store: Registry | None = None
        try:
            self.store = registry_of(registry)
        except SettingsError:
            if registry or not (output or dry_run):
                raise
        if self.store is not None and not dry_run:
            self.store.require_writable(name)
        elif alias and not dry_run:
            raise SettingsError("--alias needs a registry: give --registry or MLEMBED_REGISTRY")
        if alias and not parse_ref(f"{name}@{alias}").is_alias:
            raise SettingsError("--alias takes a word such as 'champion', not a version")
        self.next_version = self.store.next_version(name) if self.store is not None else ""

    def current(self, selector: str) -> Bundle | None:
        """Return the model's bundle under the alias or version *selector*; None where it has none.

        Raises:
            RegistryError: If the registry cannot be read.
        """
        if self.store is None or not selector:
            return None
        try:
            return self.store.fetch(self.store.resolve(Ref(self._name, selector)))
        except NotFoundError:
            return None

    def publish(self, bundle: Bundle, reason: str, trace: Trace | None = None) -> dict[str, Any]:
        """Put *bundle* there; return what was done, for people and for JSON.

        Args:
            bundle: The bundle.
            reason: Why the alias is set.
            trace: Is told how far it is.
        """
        result: dict[str, Any] = {}
        trace, title = trace or Trace(), bundle.manifest.title
        if self._dry_run:
            return result
        require_uninterrupted()
        if self._output is not None:
            write_bundle(bundle, self._output)
            result["output"] = str(self._output)
        if self.store is not None:
            trace.left = f"{title} is in {self.store} whole or not at all"
            trace.remedy = "mlembed registry ls tells"
            self.store.publish(bundle)
            trace.left, trace.remedy = f"{title} is in {self.store}", ""
            result["registry"] = str(self.store)
            if self._alias:
                manifest = bundle.manifest
                trace.remedy = f"mlembed registry promote {title} {self._alias} sets the alias"
                self.store.promote(manifest.name, self._alias, manifest.version, reason)
                result["alias"] = self._alias
                trace.remedy = ""
        return result


def tell(result: Mapping[str, Any]) -> None:
    """Say what `publish` did."""
    if "output" in result:
        say(f"written to {result['output']}")
    if "registry" not in result:
        say("nothing was published")
        return
    set_to = f"; {result['alias']} now means {result['version']}" if "alias" in result else ""
    say(f"published to {result['registry']}{set_to}")
