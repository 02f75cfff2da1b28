"""What a cell of a row means, in words, for tables and axes."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlembed.columns import Column

MISSING, RARE = "missing", "rare"
_EXACT = 1e15


def label_of(column: Column, cell: float) -> str:
    """Return what *cell* of *column* stands for: a category's value, yes or no, a number."""
    if cell != cell:  # noqa: PLR0124  NaN
        return MISSING
    if column.kind == "category":
        return column.vocabulary[int(cell)] if cell < len(column.vocabulary) else RARE
    if column.kind == "boolean":
        return "yes" if cell else "no"
    if column.kind == "timestamp":
        epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
        try:
            return (epoch + dt.timedelta(seconds=cell)).date().isoformat()
        except OverflowError:
            return f"{cell:.6g} s"
    return f"{cell:,.0f}" if abs(cell) < _EXACT and cell == int(cell) else f"{cell:.6g}"
