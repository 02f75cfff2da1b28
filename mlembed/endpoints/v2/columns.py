"""Make the columns of a table of a request's tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlembed.endpoints.problems import Problem
from mlembed.endpoints.v2.datatypes import ACCEPTED, DATATYPES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mlembed.columns import Column
    from mlembed.serving.loading import Served

    Arrays = Mapping[str, NDArray[Any]]
    Table = dict[str, NDArray[Any]]


def table_of(served: Served | None, inputs: Arrays) -> Table:
    """Return the columns, `(n_records,)` each.

    An empty text is missing in a nullable category that does not know it: bytes have no other way to
    say so.

    Args:
        served: The version in service; None where nothing is known of it.
        inputs: The tensors of the request, of the shape `[n]` or `[n, 1]`.

    Raises:
        Problem: Listing the tensors whose shape or data type is another.
    """
    columns = {} if served is None else {column.name: column for column in served.manifest.columns}
    problems: list[str] = []
    table: Table = {}
    for name, array in inputs.items():
        column = columns.get(name)
        if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] != 1):  # noqa: PLR2004
            problems.append(f"'{name}' has the shape {list(array.shape)}, expected [n] or [n, 1]")
        elif column is not None and _datatype(array) not in ACCEPTED[column.kind]:
            taken = ", ".join(sorted(ACCEPTED[column.kind]))
            problems.append(f"'{name}' is {_datatype(array)}, expected one of {taken}")
        else:
            table[name] = _missing(column, array.reshape(-1))
    lengths = sorted({len(array) for array in table.values()})
    if len(lengths) > 1:
        problems.append(f"the inputs differ in their number of records: {lengths}")
    if problems or not table:
        title = "the model" if served is None else served.manifest.title
        raise Problem("record", f"The inputs do not fit {title}", problems or ["there are none"])
    return table


def record_of(table: Table) -> dict[str, Any]:
    """Return the one record of a table."""
    return {name: array.item(0) for name, array in table.items()}


def _datatype(array: NDArray[Any]) -> str:
    return "BYTES" if array.dtype == object else DATATYPES[array.dtype.name]


def _missing(column: Column | None, array: NDArray[Any]) -> NDArray[Any]:
    if column is None or column.kind != "category" or not column.nullable:
        return array
    empty = array == ""
    if "" in column.vocabulary or not empty.any():
        return array
    array = array.copy()
    array[empty] = None
    return array
