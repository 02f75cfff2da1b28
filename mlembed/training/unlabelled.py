"""Read a table whose label nobody knows yet, by the rules that training tables are read by."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.training import rules
from mlembed.training.cleaning import Cleaning
from mlembed.training.coded import Columns
from mlembed.training.fetching import fetch_column, good_rows
from mlembed.training.judging import judge
from mlembed.training.sources import opened

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mlembed.columns import Column


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Unlabelled:
    """Rows to answer for.

    Attributes:
        columns: The columns by name, each `(n_records,)`, as `predict_batch` takes them.
        rows: Number of each row in the table, from 1, `(n_records,)`.
        reasons: What is wrong with each row that breaks a rule, by its number.
    """

    columns: Mapping[str, NDArray[Any]]
    rows: list[int]
    reasons: Mapping[int, str]


def read_unlabelled(data: Any, columns: Sequence[Column]) -> Unlabelled:
    """Read a table.

    Args:
        data: A table in any form that a trainer takes.
        columns: The columns of a bundle.

    Raises:
        DataError: If the table cannot be read or lacks columns.
    """
    cleaning = Cleaning()
    with opened(data, cleaning) as source:
        judge(source, columns, None, cleaning)
        faults = rules.query({"n": "n", "reason": "reason"}, "faults ORDER BY n")
        reasons: dict[int, str] = dict(source.connection.execute(faults).fetchall())
        good = good_rows(source)
        rows = (np.flatnonzero(good) + 1).tolist()
        held = {
            column.name: fetch_column(source, column, f"v{i}", good)
            for i, column in enumerate(columns)
        }
    return Unlabelled(columns=Columns(held), rows=rows, reasons=reasons)
