"""A summary tells what a table holds and no one's cells, and is read back with suspicion."""

from __future__ import annotations

import copy
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlembed.columns import Column
from mlembed.errors import BundleError
from mlembed.training.dataset import Dataset
from mlembed.training.snapshot import Snapshot
from mlembed.training.summary import describe_column, summarise

if TYPE_CHECKING:
    from collections.abc import Callable

COLUMNS = (
    Column(name="age", kind="number", nullable=True),
    Column(name="job", kind="category", nullable=True),
    Column(name="member", kind="boolean"),
    Column(name="at", kind="timestamp"),
)


def text(values: Any) -> Any:
    """Return a column of texts."""
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def table(n: int = 200) -> Dataset:
    """Return a table of all kinds of columns."""
    age = np.arange(float(n))
    age[::10] = np.nan
    return Dataset(
        kind="binary",
        columns={
            "age": age,
            "job": text(["cook"] * (n // 2) + ["smith"] * (n // 2 - 9) + ["secret"] * 8 + [None]),
            "member": np.arange(n) % 2.0,
            "at": -1e9 + 3600 * np.arange(float(n)),
        },
        y=np.asarray(np.arange(n) % 2, dtype=np.float64),
        n_read=n + 3,
        n_rejected=3,
        reasons=Counter({"'age' is missing": 3}),
    )


def described(kind: Any, values: Any, **options: Any) -> dict[str, Any]:
    """Return the summary of one column."""
    return describe_column(Column(name="x", kind=kind, nullable=True, **options), values)


def test_summarise_tells_each_column() -> None:
    """Rows, shares, spread and frequent values are those of the table."""
    rows = table()

    told = summarise(COLUMNS, rows)

    age, job, member, at = told["columns"]
    assert (told["n"], told["n_read"], told["n_rejected"]) == (200, 203, 3)
    assert told["reasons"] == {"'age' is missing": 3}
    assert told["digest"] == rows.digest
    assert (age["missing_share"], age["n_distinct"]) == (0.1, 180)
    assert (age["minimum"], age["maximum"]) == (1.0, 199.0)
    assert age["mean"] == pytest.approx(np.nanmean(rows.columns["age"]))
    assert age["quantiles"][2] == pytest.approx(99.0, abs=1.0)
    assert len(age["histogram"]["edges"]) == 21
    assert sum(age["histogram"]["counts"]) == 180
    assert job["top"] == [["cook", 100], ["smith", 91]]
    assert job["n_distinct"] == 3
    assert sorted(member["top"]) == [["false", 100], ["true", 100]]
    assert at["minimum"] == -1e9


def test_summarise_shows_no_value_of_few_rows() -> None:
    """Nine rows share a value: it is counted and not shown."""
    assert "secret" not in json.dumps(summarise(COLUMNS, table()))


@pytest.mark.parametrize("log", ["drop", "hash"])
def test_summarise_shows_no_value_of_a_column_kept_out_of_the_log(log: Any) -> None:
    """What the log must not show, the bundle does not either."""
    shown = {"column", "kind", "missing_share", "n_distinct"}

    assert set(described("category", text(["a"] * 50), log=log)) == shown
    assert set(described("number", np.arange(50.0), log=log)) == shown


def test_summarise_shows_bins_alone_of_a_bucketed_column() -> None:
    """No single cell, as its least and greatest value are, is shown."""
    told = described("number", np.arange(50.0), log="bucket")

    assert set(told) == {"column", "kind", "missing_share", "n_distinct", "mean", "bins"}


@given(
    values=st.lists(
        st.one_of(st.floats(allow_nan=True), st.sampled_from([0.0, 1.0, 5e-324])), max_size=60
    )
)
def test_summarise_is_plain_json_whatever_the_numbers(values: list[float]) -> None:
    """Missing, infinite, huge and tiny values leave finite numbers, and every row is counted."""
    column = np.array(values, dtype=float)

    told = described("number", column)

    json.dumps(told, allow_nan=False)
    n_finite = int(np.isfinite(column).sum())
    assert sum(told.get("bins", {"counts": []})["counts"]) == n_finite
    assert sum(told.get("histogram", {"counts": [n_finite]})["counts"]) == n_finite
    if n_finite:
        assert told["minimum"] <= told["mean"] <= told["maximum"]
    else:
        assert "mean" not in told


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("number", np.full(5, np.nan)),
        ("number", np.full(50, 3.0)),
        ("number", np.array([1.0, 2.0])),
        ("number", np.array([-1.7e308, 1.7e308])),
        ("category", text([None] * 5)),
        ("category", text(["a"] * 50)),
        ("category", text([f"v{i % 300}" for i in range(6000)])),
        ("boolean", np.full(5, np.nan)),
        ("timestamp", np.array([-1e11, 1e11])),
        ("number", np.empty(0)),
        ("category", np.empty(0, dtype=object)),
    ],
)
def test_summary_is_read_back(kind: Any, values: Any) -> None:
    """Whatever was summarised, empty and constant columns too, is read without a complaint."""
    data = {"n": 1, "digest": "", "columns": [described(kind, values)]}

    snapshot = Snapshot.from_json(json.loads(json.dumps(data)))

    column = snapshot.columns["x"]
    assert column.kind == kind
    if column.edges is not None:
        assert len(column.counts) == len(column.edges) + 1


def test_snapshot_knows_the_vocabularies_of_its_bundle() -> None:
    """The codes of the bundle say which values were known, beyond the frequent ones."""
    columns = [Column(name="job", kind="category", vocabulary=("a", "b"))]

    snapshot = Snapshot.from_json(summarise(COLUMNS, table()), columns=columns)

    assert snapshot.n == 200
    assert snapshot.vocabularies == {"job": frozenset("ab")}
    assert snapshot.columns["job"].top == {"cook": 100, "smith": 91}


def changed(*path: Any, to: Any) -> Callable[[dict[str, Any]], Any]:
    """Return what puts *to* at *path*."""

    def change(data: dict[str, Any]) -> Any:
        inner: Any = data
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = to
        return data

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda _: None, "expected an object"),
        (lambda _: [1], "expected an object"),
        (changed("n", to=True), "n: expected a number of rows"),
        (changed("n", to=0), "n: expected a number of rows"),
        (changed("n", to="secret"), "n: expected a number of rows"),
        (changed("digest", to=3), "digest: expected text"),
        (changed("columns", to={}), "columns: expected a list"),
        (changed("columns", 0, to="secret"), r"columns\[0\]: expected an object"),
        (changed("columns", 0, to={}), r"columns\[0\].column: expected a name"),
        (changed("columns", 0, "kind", to=[]), r"columns\[0\].kind: expected one of number"),
        (changed("columns", 0, "kind", to="secret"), r"columns\[0\].kind: expected one of"),
        (changed("columns", 0, "missing_share", to=1.5), "missing_share: expected a share"),
        (changed("columns", 0, "missing_share", to=float("nan")), "expected a share"),
        (changed("columns", 0, "missing_share", to=None), "expected a share"),
        (changed("columns", 0, "n_distinct", to=-1), "n_distinct: expected a number of values"),
        (changed("columns", 0, "n_distinct", to=2.5), "n_distinct: expected a number of values"),
        (changed("columns", 0, "bins", to=None), "bins: expected increasing edges"),
        (changed("columns", 0, "bins", "edges", to=[1.0]), "bins: expected increasing edges"),
        (changed("columns", 0, "bins", "edges", 0, to=float("inf")), "bins: expected"),
        (changed("columns", 0, "bins", "edges", 0, to=1e9), "bins: expected increasing edges"),
        (changed("columns", 0, "bins", "counts", 0, to="secret"), "bins: expected"),
        (changed("columns", 1, "top", to=[["secret"]]), "top: expected pairs"),
        (changed("columns", 1, "top", to=[["secret", 1], ["secret", 2]]), "top: expected pairs"),
        (changed("columns", 1, "top", to=[[["secret"], 1]]), "top: expected pairs"),
        (changed("columns", 1, "top", to="secret"), "top: expected pairs"),
        (changed("columns", 0, "top", to=[]), "top: expected pairs"),
        (changed("columns", 1, "bins", to={"edges": [], "counts": [1]}), "bins: expected"),
        (changed("columns", 1, "column", to="age"), "columns: a name comes twice"),
    ],
)
def test_snapshot_refuses_a_malformed_summary(
    change: Callable[[dict[str, Any]], Any], problem: str
) -> None:
    """The message says where and what was expected, and nothing of the file."""
    data = copy.deepcopy(summarise(COLUMNS, table()))

    with pytest.raises(BundleError, match=problem) as raised:
        Snapshot.from_json(change(data))

    assert "secret" not in str(raised.value)
