"""Read a host's table into arrays, one a column.

A mapping of columns, Arrow, pandas and polars tables are all read through the few methods they
share; none of those libraries is imported.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.serving.fields import MAX_INTEGER, FieldProblem

if TYPE_CHECKING:
    from numpy.typing import NDArray


def column_names(data: Any) -> list[str]:
    """Return the names of the columns of *data*.

    Raises:
        FieldProblem: If it is no table.
    """
    if hasattr(data, "column_names"):
        return list(data.column_names)
    names = data.keys() if callable(getattr(data, "keys", None)) else getattr(data, "columns", None)
    if names is None:
        raise FieldProblem(
            f"{type(data).__name__} is no table; expected a mapping of columns, one value a record "
            "in each, or an Arrow, pandas or polars table"
        )
    return [str(name) for name in names]


def column_array(values: Any) -> NDArray[Any]:
    """Return *values* as an array `(n_records,)`; None stands for what is masked.

    Raises:
        FieldProblem: If it is no column.
    """
    if type(values).__module__.partition(".")[0] == "pyarrow":
        values = values.to_numpy(zero_copy_only=False)
    elif hasattr(values, "to_numpy"):
        values = values.to_numpy()
    if isinstance(values, np.ma.MaskedArray):
        plain = np.array(values.data, dtype=object)
        plain[np.ma.getmaskarray(values)] = None
        values = plain
    array = values if isinstance(values, np.ndarray) else _from_sequence(values)
    if array.ndim != 1:
        raise FieldProblem(f"has {array.ndim} dimensions, expected 1")
    return array


class Coded:
    """A column of texts, each different one named once.

    Args:
        places: For each record the place of its text in *texts*; -1 where it is missing.
        texts: The different texts.
    """

    def __init__(self, places: NDArray[np.intp], texts: list[str]) -> None:
        self.places = places
        self.texts = texts

    def __len__(self) -> int:
        return len(self.places)


def coded(values: Any) -> Coded | None:
    """Return a column of texts as its library tells them apart, which is faster than one by one.

    None where it does not, or where *values* are no column of texts: `column_array` reads all.
    """
    library = type(values).__module__.partition(".")[0]
    find = {"pyarrow": _arrow_texts, "polars": _polars_texts, "pandas": _pandas_texts}.get(library)
    if find is None:
        return None
    with contextlib.suppress(Exception):  # the complete way names what is wrong
        places, texts = find(values)
        if all(type(text) is str for text in texts):
            return Coded(np.asarray(places, dtype=np.intp), texts)
    return None


def _arrow_texts(values: Any) -> tuple[Any, list[str]]:
    if not str(values.type).endswith(("string", "string_view")):
        raise TypeError
    whole = values.combine_chunks() if hasattr(values, "combine_chunks") else values
    named = whole.dictionary_encode()
    return named.indices.fill_null(-1).to_numpy(zero_copy_only=False), named.dictionary.to_pylist()


def _polars_texts(values: Any) -> tuple[Any, list[str]]:
    if str(values.dtype) not in ("String", "Categorical"):
        raise TypeError
    named = values.cast(sys.modules["polars"].Categorical).to_physical()
    if named.null_count():
        named = named.cast(int).fill_null(-1)  # the last place stands for what is missing
    codes = named.to_numpy()
    size = int(codes.max()) + 2 if len(codes) else 1
    some_row = np.full(size, -1)
    some_row[codes] = np.arange(len(codes))
    some_row[-1] = -1
    known = np.flatnonzero(some_row >= 0)
    places = np.full(size, -1)
    places[known] = np.arange(len(known))
    return places[codes], values.gather(some_row[known]).cast(str).to_list()


def _pandas_texts(values: Any) -> tuple[Any, list[str]]:
    places, texts = values.factorize()
    return places, texts.tolist()


def count_records(data: Any) -> int:
    """Return how many records *data* seems to hold; 0 where that cannot be told. Never raises."""
    with contextlib.suppress(Exception):
        if not isinstance(data, Mapping):
            return len(data)
        return max(len(values) for values in data.values() if hasattr(values, "__len__"))
    return 0


def _from_sequence(values: Any) -> NDArray[Any]:
    if not isinstance(values, Iterable) or isinstance(values, (str, bytes, Mapping, AbstractSet)):
        raise FieldProblem(f"is {type(values).__name__}, expected one value a record")
    items = list(values)
    if all(type(item) in (int, float) for item in items):
        with contextlib.suppress(OverflowError):
            numbers = np.array(items, dtype=np.float64)
            if not (np.abs(numbers) >= MAX_INTEGER).any():
                return numbers
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array
