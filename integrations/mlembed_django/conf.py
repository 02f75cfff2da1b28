"""The site's models: read from `settings.MLEMBED` on first use, then kept for the process.

A change of the setting under a test drops all of it, so no test sees another's models.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from mlembed.errors import MlembedError, RegistryError
from mlembed.telemetry.notices import tell
from mlembed_django.declaration import nearest, read_declaration
from mlembed_django.loopback import is_loopback

if TYPE_CHECKING:
    from mlembed.endpoints import Endpoints
    from mlembed.registry import BundleSource
    from mlembed_django.declaration import Declaration, Declared
    from mlembed_django.instances import InstanceMapping
    from mlembed_django.journal import Journal
    from mlembed_django.live import SiteModel

SETTING = "MLEMBED"


class UndeclaredModelError(ImproperlyConfigured, KeyError):
    """The site asks for a model that MLEMBED['MODELS'] does not declare."""

    def __str__(self) -> str:
        return str(self.args[0])


class Site:
    """The declaration of this process and the models made from it.

    Args:
        declaration: What the setting says.
    """

    def __init__(self, declaration: Declaration) -> None:
        self.declaration = declaration
        self._models: dict[str, SiteModel] = {}
        self._journals: dict[str, Journal | None] = {}
        self._endpoints: dict[str, Endpoints] = {}

    def declared(self, name: str) -> Declared:
        """Return the declaration of the model *name*.

        Raises:
            UndeclaredModelError: If there is none; lists those there are.
        """
        models = self.declaration.models
        if name not in models:
            raise UndeclaredModelError(
                f"MLEMBED['MODELS'] declares no model '{name}'. {nearest(name, models)}"
            )
        return models[name]

    def model(self, name: str) -> SiteModel:
        """Return the model *name*, the same one in every thread."""
        found = self._models.get(name)
        if found is None:
            # No lock: a model loads at its first prediction, so a second one made by another
            # thread meanwhile costs nothing, and a lock could be held across a fork.
            found = self._models.setdefault(name, self._make(self.declared(name)))
        return found

    def made(self) -> tuple[SiteModel, ...]:
        """Return the models that were asked for so far."""
        return tuple(self._models.values())

    def start(self) -> None:
        """Load the models that are declared `worker_start`; one that fails is told of in the log.

        The middleware does it when the server builds it. Tests load nothing ahead.
        """
        for declared in self.declaration.models.values():
            if declared.load == "worker_start" and not in_tests():
                try:
                    _ = self.model(declared.name).version
                except (MlembedError, ImproperlyConfigured) as error:
                    tell(logging.ERROR, "%s is not loaded at the start: %s", declared.name, error)

    @property
    def journal(self) -> Journal | None:
        """What keeps answers and acts on them; None where the site asks for neither."""
        if "journal" not in self._journals:
            self._journals.setdefault("journal", self._make_journal())
        return self._journals["journal"]

    def put_journal(self, journal: Any) -> None:
        """Let *journal* keep answers and act on them from now on; tests put theirs in its place."""
        self._journals["journal"] = journal
        for model in self._models.values():
            model.journal = journal

    @property
    def endpoints(self) -> Endpoints:
        """What answers over HTTP for the site's models, as `MLEMBED['HTTP']` limits it."""
        if "endpoints" not in self._endpoints:
            self._endpoints.setdefault("endpoints", self._make_endpoints())
        return self._endpoints["endpoints"]

    def close(self) -> None:
        """Stop every model and write what waits to be logged."""
        for model in self._models.values():
            model.close()
        journal = self._journals.get("journal")
        if journal is not None:
            journal.close()

    def quiet(self, name: str) -> SiteModel:
        """Return a model that answers as *name* does, but logs, keeps and acts on nothing; close it."""
        from mlembed_django.live import SiteModel

        declared = self.declared(name)
        settings = dataclasses.replace(self.declaration.settings, log=False)
        return SiteModel(declared, settings, self._source(), None, mapping_of(declared))

    def _make(self, declared: Declared) -> SiteModel:
        from mlembed_django.live import SiteModel

        settings = self.declaration.settings
        mapping = mapping_of(declared)
        return SiteModel(declared, settings, self._source(), self.journal, mapping)

    def _make_endpoints(self) -> Endpoints:
        from mlembed.endpoints import Endpoints, Limits, Lookup, Rate
        from mlembed_django.admission import visible

        http = self.declaration.http
        rate = Rate(per_second=http.rate / http.rate_seconds, burst=http.rate)
        limits = Limits(max_bytes=http.max_bytes, max_records=http.max_records, rate=rate)
        return Endpoints(Lookup(lambda: visible(self.declaration), self.model), limits)

    def _make_journal(self) -> Journal | None:
        if self.declaration.database is None and not self.declaration.actions:
            return None
        from mlembed_django.journal import Journal

        return Journal(self)

    def _source(self) -> BundleSource:
        from mlembed.registry import open_source

        settings = self.declaration.settings
        if in_tests() and is_remote(settings.registry):
            return Offline()
        return open_source(settings.registry, settings)


class Offline:
    """The registry of a test run that would need the network: it has nothing, and says why."""

    def resolve(self, ref: object) -> Any:
        """Refuse."""
        raise RegistryError(
            f"{ref} is in a registry on the network, which tests do not use. Put "
            "mlembed_django.testing.override_model around the test, or name a directory"
        )

    fetch = resolve


_sites: dict[str, Site] = {}


def site() -> Site:
    """Return the models of this process, reading the setting on the first call.

    Raises:
        ImproperlyConfigured: If the setting is malformed; lists every problem.
    """
    found = _sites.get(SETTING)
    return found or _sites.setdefault(SETTING, _read_site())


def get_model(name: str) -> SiteModel:
    """Return the live model that the site declares as *name*; its first prediction loads it.

    Every call in a process gives the same model, and it may be shared between threads.

    Raises:
        UndeclaredModelError: If MLEMBED['MODELS'] has no such name; lists those it has.
        ImproperlyConfigured: If the setting is malformed; lists every problem.
    """
    return site().model(name)


def mapping_of(declared: Declared) -> InstanceMapping[Any] | None:
    """Return how instances become records of the model, as its `RECORD` says; None without one.

    Raises:
        ImproperlyConfigured: If `RECORD` names nothing, or no mapping.
    """
    if not declared.record:
        return None
    from mlembed_django.instances import InstanceMapping

    place = f"MLEMBED['MODELS']['{declared.name}']['RECORD']"
    try:
        found = import_string(declared.record)
    except ImportError as error:
        raise ImproperlyConfigured(f"{place} cannot be imported: {error}") from error
    if not isinstance(found, InstanceMapping):
        raise ImproperlyConfigured(f"{place} names no mapping; make one with from_instance(...)")
    return found


def in_tests() -> bool:
    """Tell whether Django's test environment is set up; it replaces the mailbox, and so do we."""
    return hasattr(mail, "outbox")


def is_remote(registry: str) -> bool:
    """Tell whether the *registry* is asked over the network, and not on this machine."""
    return "://" in registry and not registry.startswith("file:") and not is_loopback(registry)


def _read_site() -> Site:
    declaration, problems = read_declaration(getattr(django_settings, SETTING, None))
    if declaration is None:
        raise ImproperlyConfigured(" ".join(f"{p.message} {p.hint}" for p in problems))
    return Site(declaration)


def _forget(*, setting: str, **_: Any) -> None:
    if setting == SETTING and (old := _sites.pop(SETTING, None)):
        old.close()


setting_changed.connect(_forget, dispatch_uid="mlembed_django.conf")
