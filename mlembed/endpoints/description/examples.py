"""An example record that a model takes, made of its golden rows.

Golden rows may be records of people, so no row is shown: each field has what is usual in it, by itself,
and a field that the log may not hold as it is has a value of its range or vocabulary.
"""

from __future__ import annotations

import collections
import datetime as dt
from typing import TYPE_CHECKING, Any

from mlembed.bundle.calls import read_calls
from mlembed.bundle.golden import read_golden
from mlembed.endpoints.rows import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlembed.bundle.bundle import Bundle
    from mlembed.columns import Column

_MAX_ELEMENTS = 64


def example_of(bundle: Bundle) -> dict[str, Any] | None:
    """Return a record as a client sends it; None where it is too long to read, or no JSON."""
    if bundle.manifest.inputs:
        arrays = read_calls(bundle).calls[0][0]
        if sum(array.size for array in arrays.values()) > _MAX_ELEMENTS:
            return None
        example = {name: array.tolist() for name, array in arrays.items()}
        # A number that is not finite cannot be sent as JSON.
        return example if all(plain(value) == value for value in example.values()) else None
    records = read_golden(bundle).records
    return {column.name: _usual(column, records) for column in bundle.manifest.columns}


def _usual(column: Column, records: Sequence[Mapping[str, Any]]) -> Any:
    values = [value for record in records if (value := record.get(column.name)) is not None]
    if column.log != "raw":
        values = []
    if column.kind == "category":
        return _most_common([v for v in values if v in column.vocabulary] or column.vocabulary)
    if column.kind == "boolean":
        return bool(_most_common(values or [False]))
    numbers = sorted(map(_number, values)) or [_within(column)]
    number = numbers[len(numbers) // 2]
    if column.kind == "timestamp":
        return _moment(number)
    return int(number) if column.kind == "integer" else number


def _most_common(values: Sequence[Any]) -> Any:
    """Return the most frequent value, the first of several; None of none."""
    return next((value for value, _ in collections.Counter(values).most_common(1)), None)


def _number(value: Any) -> float:
    return dt.datetime.fromisoformat(value).timestamp() if isinstance(value, str) else float(value)


def _within(column: Column) -> float:
    low, high = column.minimum, column.maximum
    if low is not None and high is not None:
        return (low + high) / 2
    if low is not None:
        return low + 1
    return 0.0 if high is None else high - 1


def _moment(seconds: float) -> str | float:
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return seconds
