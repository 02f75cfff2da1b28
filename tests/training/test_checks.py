"""Checks are made from the record, and say what is wrong with a table before it teaches anything."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mlembed.columns import Category, Column
from mlembed.errors import DataError, DeclarationError
from mlembed.training.checks import CHECKS, Check, Checks, require, run_checks
from mlembed.training.cleaning import Cleaning
from mlembed.training.dataset import Dataset, read
from mlembed.training.inspection import empty_columns
from mlembed.training.labels import Binary, Regression
from mlembed.training.snapshot import Snapshot
from mlembed.training.summary import summarise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

N = 1000
NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
DAY = 86_400.0
LABEL = Binary("paid", positive="yes")
ALL = Checks(fail=CHECKS)

NUMBER = Column(name="x", kind="number", nullable=True)
CATEGORY = Column(name="x", kind="category", nullable=True)
TIME = Column(name="x", kind="timestamp", nullable=True)
FLAG = Column(name="x", kind="boolean", nullable=True)


def text(values: Any) -> Any:
    """Return a column of texts."""
    column = np.empty(len(values), dtype=object)
    column[:] = list(values)
    return column


def table(values: Mapping[str, Any], y: Any = None, **options: Any) -> Dataset:
    """Return a table of *values*."""
    n = len(next(iter(values.values())))
    labels = np.arange(n) % 2 if y is None else y
    return Dataset(
        columns=dict(values),
        y=np.asarray(labels, dtype=np.float64),
        kind=options.pop("kind", "binary"),
        n_read=options.pop("n_read", n),
        **options,
    )


def checked(
    columns: Sequence[Column], dataset: Dataset, checks: Checks = ALL, **options: Any
) -> dict[str, Check]:
    """Return the check of each name, one that is not ok before one that is."""
    label, now = options.pop("label", LABEL), options.pop("now", NOW)
    found = run_checks(columns, dataset, label, checks=checks, now=now, **options)
    return {check.check: check for check in reversed(found)}


def bad(columns: Sequence[Column], dataset: Dataset, **options: Any) -> set[str]:
    """Return the names of the checks that are not ok."""
    found = checked(columns, dataset, **options)
    return {name for name, check in found.items() if check.status != "ok"}


def normal(seed: int = 0, n: int = N) -> Any:
    """Return *n* normal numbers."""
    return np.random.default_rng(seed).normal(size=n)


def test_run_checks_finds_nothing_wrong_with_a_good_table() -> None:
    """Each check that applies says so once, over all columns."""
    columns = (
        Column(name="a", kind="number", nullable=True, minimum=-10.0, maximum=10.0),
        Column(name="b", kind="category"),
        Column(name="c", kind="timestamp"),
    )
    rows = table({"a": normal(), "b": text("pqrs" * 250), "c": 1e9 + DAY * np.arange(N)})

    found = run_checks(
        columns,
        rows,
        LABEL,
        checks=Checks(),
        previous=Snapshot.from_json(summarise(columns, rows)),
        now=NOW,
    )

    assert {check.status for check in found} == {"ok"}
    assert [check.check for check in found] == [
        *("rejected", "range", "empty", "missing", "constant", "rare", "future", "label_delay"),
        *("new_values", "drift"),
    ]
    assert found[1].found.startswith("3 columns, at worst 0.0% of the values")


def test_run_checks_counts_the_rejected_and_the_repeated() -> None:
    """Reading set them aside; the checks say whether that is too many, and why it was."""
    data = {
        "id": [str(i // 2) for i in range(20)],
        "x": [1.0, 2.0] * 10,
        "paid": ["yes", "yes", "no", "no"] * 5,
    }
    rows = read(data, [NUMBER], LABEL, Cleaning(unique=["id"]))

    found = checked([NUMBER], rows)

    assert found["rejected"].found.startswith("50.0% of 20 rows were set aside, most often because")
    assert found["rejected"].status == "failed"
    assert found["duplicates"].status == "failed"
    loose = Checks(max_rejected=0.5, max_duplicates=0.5)
    assert checked([NUMBER], rows, loose)["duplicates"].status == "ok"


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (Column(name="x", kind="number", minimum=0.0), [1.0, -1.0]),
        (Column(name="x", kind="number", minimum=0.0, exclusive_minimum=True), [1.0, 0.0]),
        (Column(name="x", kind="integer", maximum=5.0, exclusive_maximum=True), [1.0, 5.0]),
        (NUMBER, [1.0, np.inf]),
        (Column(name="x", kind="boolean"), [1.0, np.nan]),
        (Column(name="x", kind="category"), text(["a", None])),
        (
            Column(name="x", kind="category", vocabulary=("a",), declared=True),
            text(["a", "secret"]),
        ),
    ],
)
def test_run_checks_finds_values_the_record_refuses(column: Column, values: Any) -> None:
    """A table that did not come through the reader holds to the record all the same."""
    found = checked([column], table({"x": np.asarray(values)}), Checks())

    assert found["range"].status == "failed"
    assert found["range"].found.startswith("50.0% of the values are missing, infinite or outside")
    assert "secret" not in found["range"].found


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (NUMBER, np.full(50, np.nan)),
        (FLAG, np.full(50, np.nan)),
        (TIME, np.full(50, np.nan)),
        (CATEGORY, text([None] * 50)),
    ],
)
def test_run_checks_warns_of_a_column_without_values(column: Column, values: Any) -> None:
    """An all-missing column is a warning of its own, and its name can be asked for."""
    rows = table({"x": values, "y": np.ones(50)})
    columns = (column, Column(name="y", kind="number"))

    found = run_checks(columns, rows, LABEL, checks=Checks(), now=NOW)
    assert Check("empty", "x", "no value at all", "a value", "warning") in found
    assert Check("empty", "y", "a value", "a value", "ok") in found
    assert not [one for one in found if one.column == "x" and one.check == "missing"]
    assert empty_columns(columns, rows) == ("x",)


@pytest.mark.parametrize(
    ("column", "values"), [(NUMBER, np.full(50, 3.0)), (CATEGORY, text(["a"] * 50))]
)
def test_run_checks_warns_of_a_constant_column(column: Column, values: Any) -> None:
    """One value throughout teaches nothing; with missing cells among it, it may."""
    assert bad([column], table({"x": values})) == {"constant"}
    values = values.copy()
    values[0] = None
    assert bad([column], table({"x": values})) == set()


@pytest.mark.parametrize("values", [np.where(np.arange(N) < 20, 1.0, np.nan) + normal()])
def test_run_checks_bounds_the_missing_share(values: Any) -> None:
    """One bound for all nullable columns, or one by name."""
    rows = table({"x": values})

    assert checked([NUMBER], rows)["missing"].found == "98.0% of the values are missing"
    assert bad([NUMBER], rows) == {"missing"}
    assert bad([NUMBER], rows, checks=Checks(max_missing=0.99)) == set()
    assert bad([NUMBER], rows, checks=Checks(max_missing={"other": 0.1})) == set()
    assert bad([NUMBER], rows, checks=Checks(max_missing={"x": 0.1})) == {"missing"}


def test_run_checks_tells_of_rare_values() -> None:
    """Far more than 255 values, none frequent: most rows would be told by one code."""
    rows = table({"x": text([f"v{i % 400}" for i in range(N)])})

    found = checked([CATEGORY], rows)["rare"]

    assert (found.status, found.found) == ("failed", "100.0% of the values are rare (400 distinct)")
    few = Column(name="x", kind="category", nullable=True, rule=Category(min_count=1, max_size=250))
    assert checked([few], rows)["rare"].found.startswith("30.0%")


def test_run_checks_tells_of_times_in_the_future() -> None:
    """A day ahead is a clock; more is an error of the table, beside the record too."""
    now = NOW.timestamp()
    rows = table({"x": normal()}, extra={"at": np.where(np.arange(N) == 0, now + 2 * DAY, now)})

    assert checked([NUMBER], rows, time="at")["future"].column == "at"
    assert bad([NUMBER], rows, time="at") == {"future"}
    assert bad([NUMBER], rows, time="at", now=now + DAY) == set()
    assert bad([TIME], table({"x": now + np.arange(N) * DAY})) == {"future"}


def test_run_checks_tells_of_labels_that_stop_early() -> None:
    """The newest row is much newer than the newest labelled one."""
    rows = table({"x": 1e9 + DAY * np.arange(N)})

    assert bad([TIME], rows, newest=1e9 + DAY * (N + 50)) == set()
    assert bad([TIME], rows, newest=1e9 + DAY * (N + 150)) == {"label_delay"}


def test_run_checks_tells_of_rows_too_young_for_a_label() -> None:
    """The share of positives drops in the newest tenth, whatever the order of the rows."""
    order = np.random.default_rng(0).permutation(N)
    times = (1e9 + DAY * np.arange(N))[order]
    y = (np.random.default_rng(1).random(N) < 0.3).astype(float)
    young = np.where(np.arange(N) < 900, y, 0)

    assert bad([TIME], table({"x": times}, y[order])) == set()
    assert bad([TIME], table({"x": times}, young[order])) == {"label_delay"}
    assert (
        bad([TIME], table({"x": times}, young[order], kind="regression"), label=Regression("paid"))
        == set()
    )


def test_run_checks_does_not_take_chance_for_a_delay() -> None:
    """Two positives among twenty rows say nothing about the last two."""
    y = [1, 1, 1, *[0] * 17]

    assert bad([TIME], table({"x": 1e9 + np.arange(20.0)}, y)) == set()


def test_run_checks_compares_with_the_last_training() -> None:
    """A shift, another mix of values or more missing cells drift; the same source does not."""
    columns = (
        Column(name="a", kind="number", nullable=True),
        Column(name="b", kind="category", nullable=True),
        Column(name="c", kind="boolean"),
    )
    b = text(np.random.default_rng(0).choice(list("pqrs"), N))
    before = table({"a": normal(0), "b": b, "c": np.arange(N) % 2.0})
    previous = Snapshot.from_json(summarise(columns, before))
    after = {
        "a": normal(1) + 2,
        "b": text(np.random.default_rng(1).choice(list("pqtt"), N)),
        "c": (np.arange(N) % 20 == 0).astype(float),
    }
    gaps = normal(2)
    gaps[:500] = np.nan

    assert bad(columns, before, previous=previous) == set()
    same = table({"a": normal(3), "b": b[::-1], "c": np.arange(N) % 2.0})
    assert bad(columns, same, previous=previous) == set()
    found = run_checks(columns, table(after), LABEL, checks=ALL, previous=previous, now=NOW)
    assert [(one.check, one.column) for one in found if one.status == "failed"] == [
        ("new_values", "b"),
        ("drift", "a"),
        ("drift", "b"),
        ("drift", "c"),
    ]
    assert bad(
        columns, table(after | {"a": gaps, "b": b, "c": before.columns["c"]}), previous=previous
    ) == {"drift"}


def test_run_checks_does_not_take_a_small_table_for_drift() -> None:
    """Twenty rows always lie far from a thousand; that much is chance."""
    previous = Snapshot.from_json(summarise([NUMBER], table({"x": normal(0)})))

    assert bad([NUMBER], table({"x": normal(1, 20)}), previous=previous) == set()


def test_run_checks_knows_new_values_by_the_bundles_vocabulary() -> None:
    """More values than a summary shows are known by the codes of the bundle."""
    column = Column(name="x", kind="category", vocabulary=tuple(f"v{i}" for i in range(50)))
    rows = table({"x": text([f"v{i % 50}" for i in range(N)])})
    later = table({"x": text([f"v{i % 60}" for i in range(N)])})
    data = summarise([column], rows)
    learning = Column(name="x", kind="category")

    assert "new_values" not in checked([learning], later, previous=Snapshot.from_json(data))
    previous = Snapshot.from_json(data, columns=[column])
    assert "new_values" not in bad([learning], rows, previous=previous)
    found = checked([learning], later, previous=previous)["new_values"]
    assert found.found == "16.0% of the values (10 distinct) had no code in the last training"


def test_run_checks_tells_of_a_column_of_another_kind() -> None:
    """A number that became a category cannot be compared, and says so."""
    previous = Snapshot.from_json(summarise([NUMBER], table({"x": normal()})))

    found = checked([CATEGORY], table({"x": text("pq" * 500)}), previous=previous)["drift"]

    assert (found.found, found.status) == ("a category, in the last training a number", "failed")


def test_run_checks_passes_over_columns_whose_values_were_not_kept() -> None:
    """A column hidden from the summary, or new in the record, is compared with nothing."""
    hidden = Column(name="x", kind="category", log="hash", nullable=True)
    new = Column(name="new", kind="number")
    rows = table({"x": text("pq" * 500)})
    previous = Snapshot.from_json(summarise([hidden], rows))

    found = checked(
        [hidden, new], table({"x": rows.columns["x"], "new": normal()}), previous=previous
    )

    assert "drift" not in found


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("label", [LABEL, Regression("paid")])
def test_run_checks_survives_tiny_tables(n: int, label: Any) -> None:
    """No rows, one or two: whatever is wrong is said, not raised."""
    columns = (
        Column(name="a", kind="number", nullable=True),
        Column(name="b", kind="category", nullable=True),
        Column(name="c", kind="boolean", nullable=True),
        Column(name="d", kind="timestamp", nullable=True),
    )
    numbers = np.arange(float(n))
    rows = table({"a": numbers, "b": text("pq"[:n]), "c": numbers, "d": -numbers}, numbers)
    large = {"a": normal(), "b": text("pq" * 500), "c": np.ones(N), "d": normal()}

    found = run_checks(
        columns,
        rows,
        label,
        checks=Checks(),
        previous=Snapshot.from_json(summarise(columns, table(large))),
        now=NOW,
        newest=5.0,
    )

    assert not [one for one in found if one.status == "failed"]


def test_run_checks_refuses_a_time_that_was_not_read() -> None:
    """The remedy is the argument that reads it."""
    with pytest.raises(DataError, match=r"read it with extra=\['at'\]"):
        checked([NUMBER], table({"x": normal()}), time="at")


def test_run_checks_never_rounds_one_bad_row_away() -> None:
    """One row of a thousand is more than none, and all but one are fewer than all."""
    one, others = np.where(np.arange(2 * N) == 0, np.inf, 1.0), np.full(2 * N, np.inf)
    others[0] = 1.0

    assert checked([NUMBER], table({"x": one}))["range"].found.startswith("under 0.1% of")
    assert checked([NUMBER], table({"x": others}))["range"].found.startswith("over 99.9% of")


def test_require_lists_all_that_failed() -> None:
    """Everything wrong is told at once, and warnings stop nothing."""
    rows = table({"x": np.full(N, np.inf)}, n_read=2 * N, n_rejected=N, reasons=Counter(bad=N))

    found = run_checks([NUMBER], rows, LABEL, checks=Checks(), now=NOW)

    with pytest.raises(
        DataError, match=r"rejected: 50.0% of .*; range \('x'\): 100.0% of"
    ) as raised:
        require(found)
    assert "constant" not in str(raised.value)
    assert str(raised.value).endswith("or declare what is allowed in Checks(...)")
    require(run_checks([NUMBER], rows, LABEL, checks=Checks(fail=()), now=NOW))
    assert found[0].to_json()["status"] == "failed"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_rejected": 1.5}, r"max_rejected=\.\.\.\): expected a share"),
        ({"max_rare": "much"}, r"max_rare=\.\.\.\): expected a share"),
        ({"max_missing": {"x": -1}}, r"max_missing=\.\.\.\): expected a share"),
        ({"max_new": float("nan")}, r"max_new=\.\.\.\): expected a share"),
        ({"max_psi": -0.1}, r"max_psi=\.\.\.\): expected a number"),
        ({"future_seconds": True}, r"future_seconds=\.\.\.\): expected a number"),
        ({"fail": ("typo",)}, r"fail=\.\.\.\): expected some of rejected, "),
        ({"fail": None}, r"fail=\.\.\.\): expected some of rejected, "),
        ({"fail": [["drift"]]}, r"fail=\.\.\.\): expected some of rejected, "),
        ({"fail": "drift"}, r"fail=\.\.\.\): expected some of rejected, "),
    ],
)
def test_checks_refuse_an_impossible_declaration(arguments: Any, message: str) -> None:
    """A bound that cannot be meant is refused before anything is read."""
    with pytest.raises(DeclarationError, match=message):
        Checks(**arguments)


@pytest.mark.parametrize("shuffled", [False, True])
def test_run_checks_tells_of_rows_to_measure_on_that_were_learnt_from(*, shuffled: bool) -> None:
    """Whatever their order, rows whose labels the model has seen say nothing of new ones."""
    columns = (NUMBER, Column(name="c", kind="category", nullable=True))
    values = {"x": normal(), "c": text(["a", "b", None, "c"] * 250)}
    values["x"][:3] = np.nan
    rows = table(values)
    order = np.random.default_rng(1).permutation(N) if shuffled else np.arange(N)
    fresh = table({"x": normal(2), "c": text("abca" * 250)})
    some = np.concatenate([order[:100], np.arange(N, N + 300)])
    both = table(
        {
            "x": np.concatenate([values["x"], fresh.columns["x"]]),
            "c": np.concatenate([values["c"], fresh.columns["c"]]),
        },
        y=np.concatenate([rows.y, fresh.y]),
    )

    found = checked(columns, rows, measured=both.take(some))["seen"]

    assert (found.status, found.found[:5]) == ("failed", "25.0%")
    assert checked(columns, rows, measured=fresh)["seen"].found.startswith("0.0%")
    assert "seen" not in checked(columns, rows)


def test_run_checks_takes_a_row_of_another_label_for_another() -> None:
    """Entities may be alike in all that is known of them, and differ in what came of them."""
    rows = table({"x": np.arange(N) + 0.5})

    assert bad([NUMBER], rows, measured=table({"x": np.arange(N) + 0.5}, y=1 - rows.y)) == set()


def test_run_checks_takes_no_repeated_row_for_a_copy() -> None:
    """Rows of few values are alike by chance, in one table as in two."""
    random = np.random.default_rng(3)
    halves = [table({"x": random.integers(0, 20, N) + 0.0}) for _ in range(2)]

    assert bad([NUMBER], halves[0], measured=halves[1]) == set()
