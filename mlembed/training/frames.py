"""Put a pandas, polars or Arrow table, or a mapping of columns, into DuckDB.

Frames keep their types; columns of Python objects become text, so that they are then read by
the same rules as a file. None of those libraries is imported.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import importlib.util
import math
import numbers
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

from mlembed.columns import MISSING
from mlembed.errors import DataError
from mlembed.serving.fields import MAX_INTEGER
from mlembed.training import rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Kinds of numpy arrays that DuckDB scans as they are, and the type it wants.
_SCANNED = {"i": None, "u": None, "b": None, "f": np.float64, "M": "datetime64[us]"}
_FRAMES = {"pandas": ("DataFrame",), "polars": ("DataFrame",), "pyarrow": ("Table", "RecordBatch")}


def stage(connection: duckdb.DuckDBPyConnection, name: str, data: Any) -> tuple[str, list[str]]:
    """Make the table or view *name* of *data*; Arrow and polars tables are not copied.

    Returns:
        The table as people name it, and its headers.

    Raises:
        DataError: If *data* is no table, or cannot be read.
    """
    library = type(data).__module__.split(".")[0]
    if type(data).__name__ in _FRAMES.get(library, ()):
        title = f"the {library} table"
        headers = [str(header) for header in getattr(data, "column_names", None) or data.columns]
    elif isinstance(data, Mapping):
        library, title, headers = "", "the mapping of columns", [str(header) for header in data]
    else:
        lazy = " Collect it first" * hasattr(data, "collect")
        raise DataError(
            f"a {type(data).__name__} is no table; expected the path of a CSV, JSON or Parquet "
            f"file, a pandas or polars DataFrame, an Arrow Table, or a mapping of columns.{lazy}"
        )
    if not headers:
        raise DataError(f"{title} has no columns: hand over a table with columns and rows")
    if library == "polars" and importlib.util.find_spec("pyarrow") is None:
        raise DataError(f"{title} is read through Arrow: pip install pyarrow")
    try:
        given = _registrable(library, data, headers)
        _put(connection, name, given, len(headers), is_arrow=library in ("pyarrow", "polars"))
    except duckdb.OutOfMemoryException:
        raise
    except (duckdb.Error, UnicodeError) as error:
        raise unreadable(title, error) from error
    return title, headers


def unreadable(title: str, error: Exception) -> DataError:
    """Return the error for a table that *error* met."""
    return DataError(
        f"{title} cannot be read ({type(error).__name__}): its columns must hold numbers, "
        "text, booleans or datetimes; convert or drop the others"
    )


def _put(
    connection: duckdb.DuckDBPyConnection, name: str, data: Any, n_columns: int, *, is_arrow: bool
) -> None:
    aliases = ", ".join(f"c{position}" for position in range(n_columns))
    row = {"n": "row_number() OVER ()", "problem": "CAST(NULL AS VARCHAR)"}
    frame = f"{name}_frame"
    connection.register(frame, data)
    query = rules.query(row, f"{frame} AS t({aliases})", rest="*")
    if is_arrow:
        connection.execute(f"CREATE VIEW {name} AS {query}").fetchall()
        return
    connection.execute(f"CREATE TABLE {name} AS {query}").fetchall()
    connection.unregister(frame)


def _registrable(library: str, data: Any, headers: Sequence[str]) -> Any:
    """Return what DuckDB can scan: columns `c0`, `c1`, ... without Python objects."""
    if library == "pandas":
        frame = data.set_axis([f"c{position}" for position in range(len(headers))], axis=1)
        objects = {
            name: cells(header, frame[name].astype(object))
            for name, header in zip(frame.columns, headers, strict=True)
            if _holds_objects(frame[name].dtype)
        }
        return frame.assign(**objects)
    if library:
        return data
    columns = {f"c{i}": cells(str(name), values) for i, (name, values) in enumerate(data.items())}
    lengths = {header: len(array) for header, array in zip(headers, columns.values(), strict=True)}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"'{header}' has {length}" for header, length in lengths.items())
        raise DataError(f"columns differ in length: {listed}; give each one value a row")
    return columns


def _holds_objects(dtype: Any) -> bool:
    """Tell whether a pandas column is of Python objects, or of categories that are no text."""
    if str(dtype) == "category":
        return str(dtype.categories.dtype.kind) != "O"
    return str(dtype) == "object"


def cells(name: str, values: Any) -> NDArray[Any]:
    """Return the column *values* as an array that DuckDB can scan.

    Arrays of numbers, booleans and times keep their type. Others become doubles where they hold
    nothing but numbers that a double can hold, and text otherwise.

    Raises:
        DataError: If the column is not flat, or holds objects that are no cells.
    """
    if isinstance(values, (str, bytes)):
        raise DataError(f"column '{name}' is one {type(values).__name__}; expected one value a row")
    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise DataError(f"column '{name}' has {values.ndim} dimensions, expected 1")
        if values.dtype.kind in _SCANNED:
            return values.astype(_SCANNED[values.dtype.kind] or values.dtype)
        values = values.tolist()
    try:
        items = [_plain(name, value) for value in values]
    except TypeError as error:
        raise DataError(f"column '{name}' is a {type(values).__name__}; expected values") from error
    kinds = {type(item) for item in items}
    if kinds <= {int, float} and items:
        return np.array(items)
    if kinds <= {int, float, type(None)} and float in kinds:
        return np.array([MISSING if item is None else item for item in items], dtype=np.float64)
    array = np.empty(len(items), dtype=object)
    array[:] = [item if item is None or isinstance(item, str) else repr(item) for item in items]
    return array


def _plain(name: str, value: Any) -> str | int | float | None:
    """Return one cell as a text, a whole number, a double or None."""
    if isinstance(value, enum.Enum):
        value = value.value
    if value is None or type(value).__name__ in ("NaTType", "NAType"):
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, numbers.Integral):
        whole = int(value)
        return whole if abs(whole) <= MAX_INTEGER else str(whole)
    if isinstance(value, (numbers.Real, decimal.Decimal)):
        return None if math.isnan(value) else float(value)
    if isinstance(value, dt.date):
        return value.isoformat()
    raise DataError(
        f"column '{name}' holds a {type(value).__name__}; expected numbers, text, booleans, "
        "datetimes or None: convert or drop the column"
    )
