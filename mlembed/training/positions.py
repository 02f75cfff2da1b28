"""Tell whether a candidate counts its columns rather than names them.

A position means another column once a feature is left out, and nothing would say so.
"""

from __future__ import annotations

from typing import Any

_OF_EACH_COLUMN = ("monotonic_cst", "interaction_cst")


def counts_columns(estimator: Any) -> bool:
    """Tell whether *estimator*, or a step of it, is told its columns by position.

    Args:
        estimator: A scikit-learn estimator or pipeline, as it was declared.
    """
    return any(
        _counts(name.rpartition("__")[2], value) for name, value in estimator.get_params().items()
    )


def _counts(setting: str, value: Any) -> bool:
    if setting == "transformers":
        return any(_are_positions(columns) for *_, columns in value)
    if setting in _OF_EACH_COLUMN:  # names come in a mapping, words for a rule as text
        return not (value is None or isinstance(value, (str, dict)))
    return setting == "categorical_features" and _are_positions(value)


def _are_positions(columns: Any) -> bool:
    """Tell whether a specification of columns holds a position or a mask."""
    if columns is None or isinstance(columns, str) or callable(columns):
        return False
    if isinstance(columns, slice):
        columns = [end for end in (columns.start, columns.stop) if end is not None]
    items = columns if hasattr(columns, "__iter__") else [columns]
    return any(not isinstance(item, str) for item in items)
