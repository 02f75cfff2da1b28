"""From an instance of the site's own model to the record that a model is told about it.

    # shop/ml.py
    customer = from_instance("shop.Customer", ChurnRecord, orders="order_count", town="address__town__name",
                             annotations=("order_count",))

    MLEMBED = {"MODELS": {"churn": {"REF": "churn@champion", "RECORD": "shop.ml.customer"}}}

Fields of the same name are mapped by themselves, so a mapping says only what differs. System checks
compare it with the model before the first request; nothing is looked up when it is declared.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from asgiref.sync import sync_to_async
from django.apps import apps
from django.core.exceptions import SynchronousOnlyOperation
from django.db import models
from django.utils.functional import cached_property

from mlembed.errors import DeclarationError
from mlembed.telemetry.notices import tell
from mlembed_django.paths import follow
from mlembed_django.sources import getter, plain
from mlembed_django.unreadable import Unreadable

if TYPE_CHECKING:
    from mlembed.record import Record
    from mlembed_django.paths import End
    from mlembed_django.sources import Source

Row = TypeVar("Row", bound=models.Model)


def from_instance(  # noqa: D417  the other arguments are the record's
    model: type[Row] | str,
    record: type[Record] | Sequence[str],
    *,
    annotations: Sequence[str] = (),
    key: Source = "pk",
    **fields: Source,
) -> InstanceMapping[Row]:
    """Declare how an instance of *model* becomes the record that a model is told.

    Each field of the record is read from the attribute of the same name unless an argument says
    otherwise: a path, `address__town__name`, which follows relations to one row and is None where
    there is none; or a function of the instance. A property of the model will do as well as a field.

    Decimals become floats, dates midnight and times without a zone times in the default time zone,
    choices their values; None and an empty text stay what they are.

    A path through a relation costs a query an instance unless the queryset has
    `select_related(*mapping.select_related)`; `predict_queryset` adds it by itself.

    Args:
        model: The model, or its label `app.Model`.
        record: The record's class, or the names of its fields.
        annotations: What the queryset adds to an instance, as far as the record is read from it.
        key: Where the host's own key of the entity is read; outcomes and actions find it by that.

    Raises:
        DeclarationError: If *record* is neither, or names a field twice.
    """
    return InstanceMapping(model, record, fields, annotations, key)


class InstanceMapping(Generic[Row]):
    """How an instance becomes a record; made by `from_instance`.

    Attributes:
        record: The record's class, or the names of its fields.
        sources: Where each field of the record is read.
        unknown: Arguments that are no field of the record.
        annotations: What the queryset adds to an instance.
        annotated: The annotation that a field of the record is read from, of those that are.
        key: Where the key is read.
        getters: The function that reads each field on an instance.
    """

    def __init__(
        self,
        model: type[Row] | str,
        record: type[Record] | Sequence[str],
        fields: dict[str, Source],
        annotations: Sequence[str],
        key: Source,
    ) -> None:
        names = _names(record)
        self.record = record
        self.sources: dict[str, Source] = {name: fields.get(name, name) for name in names}
        self.unknown = tuple(name for name in fields if name not in self.sources)
        self.annotations = (annotations,) if isinstance(annotations, str) else tuple(annotations)
        self.annotated = {
            name: source
            for name, source in self.sources.items()
            if isinstance(source, str) and source in self.annotations
        }
        self.key = key
        self._model = model
        self.getters = {name: getter(source) for name, source in self.sources.items()}
        self._get_key = getter(key)
        self._told: set[tuple[str, str]] = set()

    @property
    def model(self) -> type[Row]:
        """The model whose instances are mapped.

        Raises:
            LookupError: If no installed app has it.
        """
        if isinstance(self._model, str):
            self._model = cast("type[Row]", apps.get_model(self._model))
        return self._model

    @property
    def label(self) -> str:
        """The model as people name it, whether it is there or not."""
        return self._model if isinstance(self._model, str) else self._model._meta.label

    @cached_property
    def select_related(self) -> tuple[str, ...]:
        """The relations that the record is read through, for `QuerySet.select_related`."""
        found = {end.relations for end in self._ends if end.relations}
        return tuple(
            sorted(path for path in found if not any(o.startswith(f"{path}__") for o in found))
        )

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """The fields that the record is read from, for `QuerySet.only`."""
        return tuple(sorted({end.columns for end in self._ends if end.columns}))

    @property
    def _ends(self) -> tuple[End, ...]:
        sources = (*self.sources.values(), self.key)
        paths = (s for s in sources if isinstance(s, str) and s not in self.annotations)
        return tuple(follow(self.model, path) for path in paths)

    def __call__(self, instance: Row) -> dict[str, Any]:
        """Return the record of *instance*; raises whatever a function or a property raises."""
        return {name: plain(get(instance)) for name, get in self.getters.items()}

    def key_of(self, instance: Row) -> Any:
        """Return the host's own key of *instance*; None where it cannot be read, and the log is told once."""
        try:
            return self._get_key(instance)
        except Exception as error:  # noqa: BLE001  the prediction stands without it
            why = type(instance).__name__, type(error).__name__
            level = logging.DEBUG if why in self._told else logging.WARNING
            self._told.add(why)
            message = (
                "the key of a %s cannot be read: it raised %s; nothing that needs a key follows it. "
                "Mend key= of from_instance; more of them are told at DEBUG"
            )
            tell(level, message, *why)
            return None

    def record_and_key(self, instance: Row, key: str | None = None) -> tuple[Any, Any]:
        """Return the record of *instance* and its key, unless *key* is given; never raises.

        A record of which a field cannot be read is refused by the model, which names the field, or
        answers with its fallback.
        """
        if key is None:
            key = self.key_of(instance)
        try:
            return self(instance), key
        except Exception:  # noqa: BLE001  raised again where the field is read
            return Unreadable(self.getters, instance, self.annotated), key

    async def arecord_and_key(self, instance: Row, key: str | None = None) -> tuple[Any, Any]:
        """As `record_and_key`, from a coroutine: what must be queried first is, where Django allows it."""
        try:
            return self(instance), self._get_key(instance) if key is None else key
        except SynchronousOnlyOperation:
            return await sync_to_async(self.record_and_key)(instance, key)
        except Exception:  # noqa: BLE001  as there
            return self.record_and_key(instance, key)

    def problems(self) -> list[str]:
        """Tell what is wrong with the mapping, against the model's fields; empty for nothing.

        Nothing is queried. What a function gives, or an annotation, cannot be told.
        """
        from mlembed_django.fitting import problems_of

        return problems_of(self)

    def __repr__(self) -> str:
        return f"<InstanceMapping of {self.label}>"


def _names(record: Any) -> tuple[str, ...]:
    """Return the names of a record's fields."""
    if isinstance(record, type):
        fields = getattr(record, "model_fields", None)
        if isinstance(fields, dict) and fields:
            return tuple(fields)
    elif (
        isinstance(record, Sequence)
        and not isinstance(record, str)
        and record
        and all(isinstance(name, str) for name in record)
        and len({*record}) == len(record)
    ):
        return tuple(record)
    raise DeclarationError(
        "from_instance(model, record, ...): the record is a subclass of mlembed.Record, or the "
        "names of its fields, each once"
    )
