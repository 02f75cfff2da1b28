"""A score that stands on the row itself, with the version that gave it and when.

    class Customer(models.Model):
        churn = PredictionField("churn")    # adds churn, churn_version and churn_time

In migrations the three are plain columns, so that a site's history needs nothing of ours.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from django.core import checks
from django.db import models
from django.db.models.signals import class_prepared

from mlembed_django.declaration import nearest, read_declaration

if TYPE_CHECKING:
    from collections.abc import Sequence

    Score = models.FloatField[Any, Any]
else:
    Score = models.FloatField

VERSION, TIME = "_version", "_time"


class PredictionField(Score):
    """The score of a model's prediction; null until it is written by `score_queryset`.

    Beside it stand `<name>_version`, the version that answered, and `<name>_time`, when it did. A
    model that declares one of them itself, to index it, keeps its own.

    Args:
        predicts: The model, as MLEMBED['MODELS'] declares it.
        options: Of a `FloatField`; by default it is null and not edited in forms.
    """

    def __init__(self, predicts: str = "", **options: Any) -> None:
        self.predicts = predicts
        super().__init__(**{"null": True, "blank": True, "editable": False, **options})
        # Made here, so that the three columns stand side by side.
        self._beside: dict[str, models.Field[Any, Any]] = {
            VERSION: models.CharField(max_length=64, blank=True, default="", editable=False),
            TIME: models.DateTimeField(null=True, blank=True, editable=False),
        }

    def contribute_to_class(
        self,
        cls: type[models.Model],
        name: str,
        private_only: bool = False,  # noqa: FBT001, FBT002  Django's
    ) -> None:
        """Add the field, and the two beside it once all that the class itself declares is there."""
        super().contribute_to_class(cls, name, private_only)
        if not cls._meta.abstract:
            class_prepared.connect(self._add_beside, sender=cls)

    def _add_beside(self, sender: type[models.Model], **_: Any) -> None:
        there = {field.name for field in sender._meta.local_fields}
        for suffix, field in self._beside.items():
            if self.name + suffix not in there:
                sender.add_to_class(self.name + suffix, copy.deepcopy(field))

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        """Describe it to migrations as the plain column that it is."""
        name, _path, args, options = super().deconstruct()
        return name, "django.db.models.FloatField", args, options

    def clone(self) -> Any:
        """Return the plain column, for the models that migrations make of a site's past."""
        _name, _path, args, options = self.deconstruct()
        return models.FloatField(*args, **options)

    def check(self, **options: Any) -> list[checks.CheckMessage]:
        """Look whether the site declares the model."""
        return [*super().check(**options), *self._check_model()]

    def _check_model(self) -> list[checks.CheckMessage]:
        from django.conf import settings

        declaration, _ = read_declaration(getattr(settings, "MLEMBED", None))
        if declaration is None or self.predicts in declaration.models:
            return []  # what is wrong with the setting is told by its own check
        return [
            checks.Error(
                f"MLEMBED['MODELS'] declares no model '{self.predicts}'.",
                hint=nearest(self.predicts, declaration.models),
                obj=self,
                id="mlembed.E011",
            )
        ]
