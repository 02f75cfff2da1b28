"""Which models a user may see: those whose `PERMISSION` the user has.

What is no longer declared may have been protected once, so it is shown to superusers alone; and so
is everything while MLEMBED cannot be read.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Q
from django.db.models.lookups import In

from mlembed_django.admin.unindexed import Unindexed
from mlembed_django.conf import site
from mlembed_django.models import NAME_LENGTH
from mlembed_django.rows import fitted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest

    from mlembed_django.declaration import Declaration, Declared


@dataclasses.dataclass(frozen=True, slots=True)
class Sight:
    """The models that one user sees.

    Attributes:
        names: What the site calls them; None for all there are.
        refs: What the registry calls them, as deliveries do; None for all there are.
    """

    names: frozenset[str] | None
    refs: frozenset[str] | None

    def shows(self, name: str) -> bool:
        """Tell whether the model that the site calls *name* is among them."""
        return self.names is None or name in self.names

    def limit(self, by: str, *, found: bool = False) -> Q:
        """Return the condition on rows whose `model` is one of *by*, `names` or `refs`.

        Args:
            by: What rows call the model.
            found: Whether the rows are found by an index of their own already.

        The index of models serves for one model alone: for several, SQLite would read and sort all
        of their rows, so it is kept from it.
        """
        seen = getattr(self, by)
        if seen is None:
            return Q()
        if found or len(seen) > 1:
            return Q(In(Unindexed("model"), sorted(seen)))
        return Q(model__in=sorted(seen))


def sight_of(user: Any) -> Sight:
    """Return what *user*, of Django's kind, sees."""
    if user.is_active and user.is_superuser:
        return Sight(None, None)
    models = declared_models()
    names = {name for name, model in models.items() if _may(user, model)}
    hidden = {model.ref.name for name, model in models.items() if name not in names}
    refs = {models[name].ref.name for name in names} - hidden
    return Sight(frozenset(fitted(name, NAME_LENGTH) for name in names), frozenset(refs))


def may(request: HttpRequest, permission: str) -> bool:
    """Tell whether the request's user has *permission* of this app."""
    user: Any = request.user
    return bool(user.has_perm(f"mlembed.{permission}"))


def declaration() -> Declaration | None:
    """Return what the site declares; None while MLEMBED cannot be read."""
    try:
        return site().declaration
    except ImproperlyConfigured:
        return None


def declared_models() -> Mapping[str, Declared]:
    """Return the declared models by name; none while MLEMBED cannot be read."""
    found = declaration()
    return {} if found is None else found.models


def complaint() -> str:
    """Say what is wrong with MLEMBED; empty where nothing is."""
    try:
        site()
    except ImproperlyConfigured as error:
        return f"{error} Until then, only superusers see rows here."
    return ""


def log_database() -> str:
    """Return the alias of the database that holds predictions, outcomes, reports and versions."""
    found = declaration()
    return "default" if found is None or found.database is None else found.database.using


def outbox_database() -> str:
    """Return the alias of the database that holds deliveries."""
    found = declaration()
    return "default" if found is None else found.outbox.using


def _may(user: Any, model: Declared) -> bool:
    return not model.permission or bool(user.has_perm(model.permission))
