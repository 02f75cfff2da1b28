"""Turn a host's record into the row of doubles that the graph reads.

Column order comes from the bundle, never from the record: a host that reorders its fields must
not silently change a score. One function is compiled a bundle for records that are as declared;
anything unusual takes the slow path, which gives the same row or names every bad field.
"""

from __future__ import annotations

import enum
import operator
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlembed.errors import SchemaError
from mlembed.serving.compiled import compile_encoder
from mlembed.serving.fields import ABSENT, FieldProblem, convert, loggable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.columns import Column

    Unknown = dict[str, str]

_MAX_EXTRA, _MAX_NAME = 10, 64


class Encoder:
    """Encodes records for one bundle.

    Args:
        title: The bundle as people name it, for errors.
        columns: Columns of the row, in order.
    """

    def __init__(self, title: str, columns: Sequence[Column]) -> None:
        self.title = title
        self.columns = tuple(columns)
        self.names = tuple(column.name for column in columns)
        self.codes = tuple(codes_of(column) for column in columns)
        self._pack = struct.Struct(f"={len(self.columns)}d").pack_into
        self.encode_dict = compile_encoder(
            self.columns, self.codes, self._pack, operator.itemgetter, self._encode_slowly
        )
        self._encode_object = compile_encoder(
            self.columns, self.codes, self._pack, operator.attrgetter, self._encode_slowly
        )

    def encode(self, record: Any, cells: bytearray) -> Unknown | None:
        """Write *record* into *cells*; `encode_dict` is the same for what is known to be a dict.

        Args:
            record: A mapping of exactly the columns, or an object with those attributes.
            cells: Room for `n_columns` native doubles.

        Returns:
            The values of categories outside their vocabulary by column, or None if there are none.

        Raises:
            SchemaError: Listing every field that does not fit.
        """
        if type(record) is dict:
            return self.encode_dict(record, cells)
        if _is_mapping(record):
            return self.encode_dict(self._copy(record), cells)
        return self._encode_object(record, cells)

    def _copy(self, record: Any) -> dict[Any, Any]:
        """Return what *record* holds, without what it would make up for a missing key."""
        try:
            return {name: record[name] for name in record.keys()}  # noqa: SIM118  no iterator owed
        except Exception as error:
            problem = f"the record cannot be read: it raised {type(error).__name__}"
            raise SchemaError(self.title, (problem,)) from error

    def _encode_slowly(self, record: Any, cells: bytearray) -> Unknown | None:
        values, unknown, problems = [], {}, []
        for column, codes in zip(self.columns, self.codes, strict=True):
            try:
                value = _field(record, column.name)
                values.append(convert(column, codes, value))
                if isinstance(value, enum.Enum):
                    value = value.value
                if column.kind == "category" and isinstance(value, str) and value not in codes:
                    unknown[column.name] = loggable(value)
            except FieldProblem as problem:
                problems.append(f"'{column.name}' {problem}")
            except Exception as error:  # noqa: BLE001  a value's own methods may raise anything
                problems.append(f"'{column.name}' {_unreadable(error)}")
        if type(record) is dict:
            problems += _extra(record, self.names)
        if problems:
            raise SchemaError(self.title, tuple(problems))
        self._pack(cells, 0, *values)
        return unknown or None


def codes_of(column: Column) -> dict[Any, float]:
    """Return the code of every known value of a category; empty for other kinds."""
    return {value: float(code) for code, value in enumerate(column.vocabulary)}


def _is_mapping(record: Any) -> bool:
    """Tell whether fields are keys: in a mapping, and in rows such as sqlite's and pandas'."""
    if isinstance(record, Mapping):
        return True
    kind = type(record)
    return hasattr(kind, "keys") and hasattr(kind, "__getitem__")


def _field(record: Any, name: str) -> Any:
    if type(record) is dict:
        return record.get(name, ABSENT)
    try:
        return getattr(record, name)
    except AttributeError:
        return ABSENT
    except FieldProblem:  # a record that knows why one cannot be read
        raise
    except Exception as error:  # a host's property may raise anything
        raise FieldProblem(_unreadable(error)) from error


def _unreadable(error: Exception) -> str:
    return f"cannot be read: it raised {type(error).__name__}"


def _extra(record: dict[Any, Any], names: tuple[str, ...]) -> list[str]:
    """Name the first fields that are no columns, and count the others."""
    # Copied at once: another thread may change the record. A name's own methods may raise.
    extra = [name for name in tuple(record) if type(name) is not str or name not in names]
    shown = sorted(
        str.__getitem__(name, slice(_MAX_NAME))
        if isinstance(name, str)
        else f"of type {type(name).__name__}"
        for name in extra[:_MAX_EXTRA]
    )
    problems = [f"'{name}' is no column" for name in shown]
    if len(extra) > len(shown):
        problems.append(f"{len(extra) - len(shown)} more fields are no columns")
    return problems
