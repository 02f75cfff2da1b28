"""Encode a table: its columns become the matrix that the graph reads.

The trainer uses this same code, so a table means the same offline and in the host.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mlembed.errors import SchemaError
from mlembed.serving.arrays import Coded, coded, column_array, column_names
from mlembed.serving.fields import MAX_INTEGER, WANTED, FieldProblem, convert, loggable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mlembed.columns import Column
    from mlembed.serving.encoder import Encoder

    UnknownCells = dict[str, dict[int, str]]

_COPIED_ROWS = 4096


class Encoded(NamedTuple):
    """The encoded columns of a table.

    Attributes:
        columns: `(n_records,)` each; one that was not given is missing in every row.
        n_records: How many records there are.
        unknown: For each category the rows whose value stands outside its vocabulary.
    """

    columns: list[NDArray[np.float64] | None]
    n_records: int
    unknown: UnknownCells

    def room(self) -> NDArray[np.float64]:
        """Return the matrix, `(n_records, n_columns)`, before it is filled."""
        return np.empty((self.n_records, len(self.columns)))

    def fill(self, matrix: NDArray[np.float64], rows: slice) -> None:
        """Write some rows into *matrix*."""
        for start, stop in itertools.pairwise(_cuts(rows, len(matrix))):
            for i, values in enumerate(self.columns):
                matrix[start:stop, i] = np.nan if values is None else values[start:stop]


def _cuts(rows: slice, n_rows: int) -> list[int]:
    """Return where to pause between *rows*, so that a row's line of memory is filled while near."""
    start, stop, _ = rows.indices(n_rows)
    return [*range(start, stop, _COPIED_ROWS), stop]


def encode_columns(encoder: Encoder, data: Any) -> tuple[NDArray[np.float64], UnknownCells]:
    """Encode a table; return its matrix, `(n_records, n_columns)`, and what `encode_table` does.

    Raises:
        SchemaError: As `encode_table`.
    """
    encoded = encode_table(encoder, data)
    matrix = encoded.room()
    encoded.fill(matrix, slice(None))
    return matrix, encoded.unknown


def encode_table(encoder: Encoder, data: Any) -> Encoded:
    """Encode the columns of a table.

    Args:
        encoder: Encoder of the bundle.
        data: Mapping of columns, or an Arrow, pandas or polars table; one value a record. Times
            in an array have no zone and are taken as UTC.

    Raises:
        SchemaError: Listing every column that is missing, ragged, unknown or holds bad values.
    """
    arrays = _aligned(encoder, data)
    unknown: UnknownCells = {}
    problems: list[str] = []
    encoded: list[NDArray[np.float64] | None] = []
    for column, codes, array in zip(encoder.columns, encoder.codes, arrays, strict=True):
        encoded.append(None)
        if array is None:
            continue
        try:
            with np.errstate(all="ignore"):  # what overflows is a bad value, not a host's warning
                encoded[-1], strange = _encode(column, codes, array)
        except FieldProblem as problem:
            problems.append(f"'{column.name}' {problem}")
            continue
        if strange:
            unknown[column.name] = strange
    if problems:
        raise SchemaError(encoder.title, tuple(problems))
    return Encoded(encoded, max(len(array) for array in arrays if array is not None), unknown)


def _aligned(encoder: Encoder, data: Any) -> list[NDArray[Any] | Coded | None]:
    """Return the array of each column, None where a nullable one is not given."""
    try:
        given = column_names(data)
    except FieldProblem as problem:
        raise SchemaError(encoder.title, (str(problem),)) from None
    problems = [f"'{name}' is no column" for name in sorted(set(given) - set(encoder.names))]
    arrays: list[NDArray[Any] | Coded | None] = []
    for column in encoder.columns:
        arrays.append(None)
        if column.name in given:
            try:
                values = data[column.name]
                arrays[-1] = coded(values) if column.kind == "category" else None
                if arrays[-1] is None:
                    arrays[-1] = column_array(values)
            except FieldProblem as problem:
                problems.append(f"'{column.name}' {problem}")
        elif not column.nullable:
            problems.append(f"'{column.name}' is missing")
    lengths = sorted({len(array) for array in arrays if array is not None})
    if len(lengths) > 1:
        problems.append(f"columns differ in length: {lengths}")
    if problems or not lengths:
        raise SchemaError(encoder.title, tuple(problems) or ("the table has no columns",))
    return arrays


def _encode(
    column: Column, codes: Mapping[Any, float], array: NDArray[Any] | Coded
) -> tuple[NDArray[np.float64], dict[int, str]]:
    if isinstance(array, Coded):
        return _encode_texts(column, codes, array)
    if column.kind == "category" and array.dtype.kind not in "Mm":
        return _encode_category(column, codes, array)
    if column.kind == "timestamp" and array.dtype.kind == "M":
        return _check(column, _epoch_seconds(array)), {}
    if array.dtype.kind in "Mm":
        raise FieldProblem(f"is {array.dtype.name}, expected {WANTED[column.kind]}")
    if array.dtype.kind in "fiu" or (array.dtype.kind == "b" and column.kind != "timestamp"):
        values = array.astype(np.float64, copy=False)
        if array.dtype.kind == "f" or not (np.abs(values) >= MAX_INTEGER).any():
            return _check(column, values), {}
    return _convert_each(column, codes, array), {}


def _encode_category(
    column: Column, codes: Mapping[Any, float], array: NDArray[Any]
) -> tuple[NDArray[np.float64], dict[int, str]]:
    values = array.tolist()
    found: list[float | None]
    try:
        found = list(map(codes.get, values))
    except Exception:  # noqa: BLE001  one of them does not hash, or not as it should
        found = [None] * len(values)
    strange: dict[int, str] = {}
    if None in found:
        for row, code in enumerate(found):
            if code is None:
                found[row] = _convert_at(column, codes, values[row], row)
                if isinstance(values[row], str) and values[row] not in codes:
                    strange[row] = loggable(values[row])
    return np.array(found, dtype=np.float64), strange


def _encode_texts(
    column: Column, codes: Mapping[Any, float], given: Coded
) -> tuple[NDArray[np.float64], dict[int, str]]:
    """Encode a category whose different texts are known: each is looked up once."""
    numbers = np.full(len(given.texts) + 1, np.nan)
    strange = np.zeros(len(numbers), dtype=bool)
    problems: dict[int, FieldProblem] = {}
    for place, text in enumerate((*given.texts, None)):
        code = codes.get(text)
        if code is None:
            strange[place] = text is not None
            try:
                code = convert(column, codes, text)
            except FieldProblem as problem:
                problems[place] = problem
                continue
        numbers[place] = code
    places = np.where(given.places < 0, len(given.texts), given.places)
    if problems and (bad := np.isin(places, list(problems))).any():
        row = int(bad.argmax())
        raise FieldProblem(f"{problems[int(places[row])]}, first in row {row}")
    rows = np.flatnonzero(strange[places]).tolist() if strange.any() else []
    return numbers[places], {row: loggable(given.texts[places[row]]) for row in rows}


def _convert_each(
    column: Column, codes: Mapping[Any, float], array: NDArray[Any]
) -> NDArray[np.float64]:
    return np.array(
        [_convert_at(column, codes, value, row) for row, value in enumerate(array.tolist())],
        dtype=np.float64,
    )


def _convert_at(column: Column, codes: Mapping[Any, float], value: Any, row: int) -> float:
    try:
        return convert(column, codes, value)
    except FieldProblem as problem:
        raise FieldProblem(f"{problem}, first in row {row}") from problem


def _check(column: Column, values: NDArray[np.float64]) -> NDArray[np.float64]:
    total = values.sum()
    if total - total == 0 and _fits(column, values):  # finite only if every value is
        return values
    missing = np.isnan(values)
    bad = {"is missing": missing & (not column.nullable), "is not finite": np.isinf(values)}
    if column.minimum is not None or column.maximum is not None:
        bad[f"is outside {column.range_text}"] = _outside(column, values)
    if column.kind == "integer":
        bad["has a fraction"] = ~missing & (values != np.floor(values))
        bad["is beyond 2**53"] = np.abs(values) > MAX_INTEGER
    if column.kind == "boolean":
        bad["is not true or false"] = ~missing & (values != 0) & (values != 1)
    for text, rows in bad.items():
        if rows.any():
            raise FieldProblem(f"{text} in {rows.sum()} rows, first in row {rows.argmax()}")
    return values


def _fits(column: Column, values: NDArray[np.float64]) -> bool:
    """Tell in a pass or two whether finite values are as declared; what are not is told apart."""
    if column.kind == "boolean":
        return False
    if column.kind == "integer" and not (
        np.abs(values).max(initial=0.0) <= MAX_INTEGER and (values == np.floor(values)).all()
    ):
        return False
    if column.minimum is None and column.maximum is None:
        return True
    return not _outside(column, values).any()


def _outside(column: Column, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    outside = np.zeros(len(values), dtype=bool)
    if column.minimum is not None:
        low = column.minimum
        outside |= (values <= low) if column.exclusive_minimum else (values < low)
    if column.maximum is not None:
        high = column.maximum
        outside |= (values >= high) if column.exclusive_maximum else (values > high)
    return outside


def _epoch_seconds(array: NDArray[Any]) -> NDArray[np.float64]:
    seconds = array.astype("datetime64[us]").astype(np.int64) / 1e6
    seconds[np.isnat(array)] = np.nan
    return seconds
