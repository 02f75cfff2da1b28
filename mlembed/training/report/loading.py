"""Show how a host loads a model, in code that runs where the model is in the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlembed.bundle.manifest import Manifest
    from mlembed.columns import Column

_MAX_COLUMNS = 12
_TIME = "datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)"


def loading(manifest: Manifest) -> str:
    """Return Python code that loads the model by its name and asks it about one record.

    The values are made up from the declared ranges; none is of the data.
    """
    columns = manifest.columns[:_MAX_COLUMNS]
    lines = ["import mlembed", "", f"model = mlembed.load({manifest.title!r})"]
    if any(column.kind == "timestamp" for column in columns):
        lines.insert(0, "from datetime import UTC, datetime")
        lines.insert(1, "")
    if columns:
        lines.append("record = {")
        lines += [f"    {column.name!r}: {_example(column)}," for column in columns]
        rest = len(manifest.columns) - len(columns)
        lines += [f"    # and {rest} more columns, listed below"] if rest else []
        lines += ["}", "prediction = model.predict(record)"]
        lines.append("print(prediction.score, prediction.label, prediction.reason)")
    return "\n".join(lines)


def _example(column: Column) -> str:
    """Return the code of a value that the column takes."""
    if column.kind == "category":
        return repr(column.vocabulary[0] if column.vocabulary else "...")
    if column.kind == "boolean":
        return "True"
    if column.kind == "timestamp":
        return _TIME
    value = _within(column.minimum, column.maximum)
    return repr(round(value) if column.kind == "integer" else float(value))


def _within(low: float | None, high: float | None) -> float:
    if low is not None and high is not None:
        return (low + high) / 2
    if low is not None:
        return low + 1.0
    return 1.0 if high is None else high - 1.0
