"""The site's models: read from `settings.MLEMBED` on first use, then kept for the process.

A change of the setting under a test drops all of it, so no test sees another's models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from mlembed_django.declaration import nearest, read_declaration

if TYPE_CHECKING:
    from mlembed.serving.model import Model
    from mlembed_django.declaration import Declaration, Declared

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
        self._models: dict[str, Model] = {}

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

    def model(self, name: str) -> Model:
        """Return the model *name*, the same one in every thread."""
        found = self._models.get(name)
        if found is None:
            # No lock: a model loads at its first prediction, so a second one made by another
            # thread meanwhile costs nothing, and a lock could be held across a fork.
            found = self._models.setdefault(name, self._load(self.declared(name)))
        return found

    def close(self) -> None:
        """Stop every model and write what waits to be logged."""
        for model in self._models.values():
            model.close()

    def _load(self, declared: Declared) -> Model:
        from mlembed.serving.model import RAISE, load

        fallback = RAISE if declared.fallback is None else declared.fallback
        return load(str(declared.ref), fallback=fallback, settings=self.declaration.settings)


_sites: dict[str, Site] = {}


def site() -> Site:
    """Return the models of this process, reading the setting on the first call.

    Raises:
        ImproperlyConfigured: If the setting is malformed; lists every problem.
    """
    found = _sites.get(SETTING)
    return found or _sites.setdefault(SETTING, _read_site())


def get_model(name: str) -> Model:
    """Return the live model that the site declares as *name*; its first prediction loads it.

    Every call in a process gives the same model, and it may be shared between threads.

    Raises:
        UndeclaredModelError: If MLEMBED['MODELS'] has no such name; lists those it has.
        ImproperlyConfigured: If the setting is malformed; lists every problem.
    """
    return site().model(name)


def _read_site() -> Site:
    declaration, problems = read_declaration(getattr(django_settings, SETTING, None))
    if declaration is None:
        raise ImproperlyConfigured(" ".join(f"{p.message} {p.hint}" for p in problems))
    return Site(declaration)


def _forget(*, setting: str, **_: Any) -> None:
    if setting == SETTING and (old := _sites.pop(SETTING, None)):
        old.close()


setting_changed.connect(_forget, dispatch_uid="mlembed_django.conf")
