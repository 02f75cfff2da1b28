"""Fetch the rows to keep out of DuckDB, a column at a time.

A value finds its place by the number of its row, so the order in which DuckDB works has no
influence; and no more than one column is held twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.training import rules
from mlembed.training.coded import Texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlembed.columns import Column
    from mlembed.training.sources import Source


def good_rows(source: Source) -> NDArray[np.bool_]:
    """Return which rows broke no rule, `(n_rows,)`."""
    good = np.ones(source.n_rows, dtype=bool)
    numbers = source.connection.execute("SELECT n FROM faults").fetchnumpy()["n"]
    good[np.asarray(numbers, dtype=np.intp) - 1] = False
    return good


def fetch_column(
    source: Source, column: Column, name: str, good: NDArray[np.bool_]
) -> NDArray[Any] | Texts:
    """Return the values of *column*, whose view is *name*, in the *good* rows, in their order."""
    read = _texts if column.kind == "category" else fetch_doubles
    return read(source, name, good)


def fetch(source: Source, name: str, good: NDArray[np.bool_]) -> NDArray[Any] | Texts:
    """Return the values of the view *name* in the *good* rows, in the table's order."""
    kinds = source.connection.execute(f"DESCRIBE {name}").fetchall()
    if kinds[1][1] == "VARCHAR":
        return _texts(source, name, good)
    return fetch_doubles(source, name, good)


def fetch_doubles(source: Source, name: str, good: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the numbers of the view *name* in the *good* rows, in the table's order."""
    found = source.connection.execute(rules.query({"n": "n", "v": "v"}, name)).fetchnumpy()
    given: Any = found.pop("v")
    values = np.ma.filled(given.astype(np.float64, copy=False), np.nan)
    placed = np.full(len(good), np.nan)
    placed[_places(found)] = values
    return placed if good.all() else placed[good]


def _texts(source: Source, name: str, good: NDArray[np.bool_]) -> Texts:
    """Number the different texts, so that each is read and cleaned once."""
    run = source.connection.execute
    # A WHERE would be pushed below the DISTINCT of the view, and clean the cell of every row.
    rank = "CAST(dense_rank() OVER (ORDER BY v NULLS LAST) - 1 AS INTEGER)"
    code = {"c": "c", "v": "v", "code": f"CASE WHEN v IS NOT NULL THEN {rank} END"}
    run(f"CREATE TABLE known AS {rules.query(code, f'{name}_texts')}").fetchall()
    different = rules.query({"code": "code", "v": "any_value(v)"}, "known WHERE code IS NOT NULL")
    texts = [text for _, text in run(f"{different} GROUP BY ALL ORDER BY code").fetchall()]
    joined = f"{name}_cells a LEFT JOIN known b ON b.c = a.c"
    found = run(rules.query({"n": "n", "code": "coalesce(code, -1)"}, joined)).fetchnumpy()
    run("DROP TABLE known").fetchall()
    placed = np.full(len(good), -1, dtype=np.int32)
    placed[_places(found)] = found["code"]
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return Texts(placed if good.all() else placed[good], array)


def _places(found: dict[str, Any]) -> NDArray[np.intp]:
    places = np.asarray(found.pop("n"), dtype=np.intp)
    places -= 1
    return places
