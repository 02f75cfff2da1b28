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

    from mlembed.training.sources import Source


def good_rows(source: Source) -> NDArray[np.bool_]:
    """Return which rows broke no rule, `(n_rows,)`."""
    good = np.ones(source.n_rows, dtype=bool)
    numbers = source.connection.execute("SELECT n FROM faults").fetchnumpy()["n"]
    good[np.asarray(numbers, dtype=np.intp) - 1] = False
    return good


def fetch(source: Source, name: str, good: NDArray[np.bool_]) -> NDArray[Any] | Texts:
    """Return the column *name* of `valued` in the *good* rows, in the table's order."""
    query = rules.query({name: name}, "valued")
    ((_, kind, *_),) = source.connection.execute(f"DESCRIBE {query}").fetchall()
    if kind == "VARCHAR":
        return _texts(source, name, good)
    return _doubles(source, rules.query({"n": "n", "v": name}, "valued"), good)


def fetch_labels(source: Source, good: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the labels of the *good* rows, in the table's order."""
    return _doubles(source, rules.query({"n": "n", "v": "y"}, "labelled"), good)


def _doubles(source: Source, query: str, good: NDArray[np.bool_]) -> NDArray[np.float64]:
    found = source.connection.execute(query).fetchnumpy()
    given: Any = found.pop("v")
    values = np.ma.filled(given.astype(np.float64, copy=False), np.nan)
    placed = np.full(len(good), np.nan)
    placed[_places(found)] = values
    return placed if good.all() else placed[good]


def _texts(source: Source, name: str, good: NDArray[np.bool_]) -> Texts:
    run = source.connection.execute
    different = rules.query({"v": f"DISTINCT {name}"}, f"valued WHERE {name} IS NOT NULL")
    numbered = {"code": "CAST(row_number() OVER () - 1 AS INTEGER)", "v": "v"}
    run(
        f"CREATE TABLE texts_{name} AS {rules.query(numbered, f'({different} ORDER BY v)')}"
    ).fetchall()
    texts = [text for (text,) in run(f"SELECT v FROM texts_{name} ORDER BY code").fetchall()]  # noqa: S608  names are made in this package
    joined = f"valued LEFT JOIN texts_{name} t ON t.v = {name}"
    codes = {"n": "n", "code": "coalesce(code, -1)"}
    found = run(rules.query(codes, joined)).fetchnumpy()
    run(f"DROP TABLE texts_{name}").fetchall()
    placed = np.full(len(good), -1, dtype=np.int32)
    placed[_places(found)] = found["code"]
    known = np.empty(len(texts), dtype=object)
    known[:] = texts
    return Texts(placed if good.all() else placed[good], known)


def _places(found: dict[str, Any]) -> NDArray[np.intp]:
    places = np.asarray(found.pop("n"), dtype=np.intp)
    places -= 1
    return places
