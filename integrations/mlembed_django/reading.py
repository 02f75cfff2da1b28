"""Read rows column by column, as the model takes them."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.db import Error as DatabaseError
from django.db.models import Model as Row

from mlembed.errors import SchemaError
from mlembed.serving.loading import Served
from mlembed.serving.tables import encode_table
from mlembed_django.sources import column, plain
from mlembed_django.unreadable import Unreadable, reason, unlisted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlembed_django.instances import InstanceMapping
    from mlembed_django.live import SiteModel

    Get = Callable[[Any], Any]


def takes_columns(model: SiteModel) -> Served | None:
    """Return the version in service; None where there is none, or it takes no columns."""
    try:
        _ = model.version  # loads it
    except Exception:  # noqa: BLE001  the prediction says what failed
        return None
    served = model._handle.current  # noqa: SLF001  a test may stand in front of what serves
    return served if isinstance(served, Served) and not served.manifest.inputs else None


class Reading:
    """The rows of one chunk, read.

    Args:
        model: What they are read for.
        rows: Instances, rows of `values()`, or the tuples of a stream, all of a kind.
        places: Where in a tuple each path stands.

    Attributes:
        rows: The rows.
        keys: The host's key of each; None where it has none.
        unreadable: The rows of which a field cannot be read, and which.
        cause: What the first of them failed with.

    Raises:
        DatabaseError: If the database fails while a relation is followed.
    """

    def __init__(
        self, model: SiteModel, rows: Sequence[Any], places: Mapping[str, int] | None = None
    ) -> None:
        self.rows = rows
        self._places = places
        self.unreadable: dict[int, tuple[str, ...]] = {}
        self.cause: Exception | None = None
        self._served = takes_columns(model)
        self._annotated = {} if model.mapping is None else model.mapping.annotated
        self._getters = self._find_getters(model.mapping)
        self._values: dict[str, Sequence[Any]] = {}
        self.keys: Sequence[Any] = ()
        self._read_all(model.mapping)

    @property
    def title(self) -> str:
        """The model as people name it."""
        return "the model" if self._served is None else self._served.manifest.title

    def columns(self, rows: Sequence[int] | None = None) -> dict[str, Any]:
        """Return the columns; of *rows* alone where they are named."""
        if not self._values:  # what is not loaded takes nothing: it is asked for its fallback
            return {"": self.rows if rows is None else rows}
        kinds = (
            {} if self._served is None else {c.name: c.kind for c in self._served.encoder.columns}
        )
        made = {}
        for name, values in self._values.items():
            some = values if rows is None else [values[row] for row in rows]
            made[name] = column(kinds[name], some) if name in kinds else some
        return made

    def record(self, row: int) -> Any:
        """Return the record of one row, as `Model.predict` takes it."""
        if row in self.unreadable:
            return Unreadable(self._getters, self.rows[row], self._annotated)
        return {name: plain(values[row]) for name, values in self._values.items()}

    def misfits(self) -> dict[int, tuple[str, ...]]:
        """Return the rows that do not fit, and what is wrong with each."""
        if self._served is None or (not self.unreadable and self._fit(self._served)):
            return self.unreadable
        encoder, found = self._served.encoder, {}
        cells = bytearray(8 * len(encoder.columns))
        for row in range(len(self.rows)):
            try:
                encoder.encode(self.record(row), cells)
            except SchemaError as error:
                found[row] = error.problems
        return found

    def name(self, row: int, done: int) -> str:
        """Return what people find a row by: its primary key, or its place after *done* others."""
        instance = self.rows[row]
        if self._places is not None:
            return f"pk={instance[self._places[self._pk]]}"
        if isinstance(instance, Row):
            return f"pk={instance.pk}"
        if isinstance(instance, Mapping):
            for name in ("pk", "id"):
                if name in instance:
                    return f"{name}={instance[name]}"
        return f"row {done + row}"

    def _fit(self, served: Served) -> bool:
        """Tell whether all rows fit, without predicting."""
        try:
            encode_table(served.encoder, self.columns())
        except SchemaError:
            return False
        return True

    def _read_all(self, mapping: InstanceMapping[Any] | None) -> None:
        """Read the keys and every field."""
        if self._places is None or mapping is None:
            self.keys = self._read_keys(mapping)
            for name, get in self._getters.items():
                self._values[name] = self._read(name, get)
            return
        columns = list(zip(*self.rows, strict=True))
        self._pk = mapping.model._meta.pk.attname
        self.keys = columns[self._places[str(mapping.key)]]
        for name, source in mapping.sources.items():
            self._values[name] = columns[self._places[str(source)]]

    def _find_getters(self, mapping: InstanceMapping[Any] | None) -> dict[str, Get]:
        """Return what reads each field on a row."""
        sources: Mapping[str, Any] = {} if mapping is None else mapping.sources
        if mapping is None and self._served is not None:
            sources = {name: name for name in self._served.encoder.names}
        first = self.rows[0]
        if self._places is not None:
            at = self._places
            return {name: operator.itemgetter(at[str(s)]) for name, s in sources.items()}
        if isinstance(first, Mapping):
            return {name: _item(first, name, source) for name, source in sources.items()}
        if mapping is not None:
            return mapping.getters
        return {name: operator.attrgetter(name) for name in sources}

    def _read(self, name: str, get: Get) -> Sequence[Any]:
        try:
            return list(map(get, self.rows))
        except DatabaseError:
            raise
        except Exception:  # noqa: BLE001  the rows it fails for are told apart
            return [self._read_one(name, get, row) for row in range(len(self.rows))]

    def _read_one(self, name: str, get: Get, row: int) -> Any:
        try:
            return get(self.rows[row])
        except DatabaseError:
            raise
        except Exception as error:  # noqa: BLE001  told where the row is answered
            self.cause = self.cause or error
            why = reason(error, self.rows[row], self._annotated.get(name))
            problem = f"'{name}' cannot be read: {why}"
            self.unreadable[row] = (*self.unreadable.get(row, ()), problem)
            return None

    def _read_keys(self, mapping: InstanceMapping[Any] | None) -> list[Any]:
        first, source = self.rows[0], "pk" if mapping is None else mapping.key
        if isinstance(first, Mapping):
            names = (source, "pk", "id") if isinstance(source, str) else ("pk", "id")
            name = next((name for name in names if name in first), None)
            return [None if name is None else row.get(name) for row in self.rows]
        if source == "pk" and isinstance(first, Row):
            source = first._meta.pk.attname  # the property is three times slower
        if mapping is None or source != mapping.key:
            return [getattr(row, str(source), None) for row in self.rows]
        return list(map(mapping.key_of, self.rows))


def _item(first: Mapping[str, Any], name: str, source: Any) -> Get:
    """Return what reads a field on a row of `values()`, by its path or its name."""
    for key in (source, name):
        if isinstance(key, str) and key in first:
            return operator.itemgetter(key)
    return unlisted
