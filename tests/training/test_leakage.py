"""Columns that know the answer are found, and honest ones are left alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from mlembed.columns import Column, Kind
from mlembed.errors import DataError
from mlembed.training.cleaning import Cleaning
from mlembed.training.dataset import Dataset, read
from mlembed.training.distinct import distinct
from mlembed.training.labels import Binary, Regression
from mlembed.training.leakage import find_leaks
from mlembed.training.strength import explained, roc_auc, separation

if TYPE_CHECKING:
    from collections.abc import Mapping

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not SHARED.exists(), reason="the real tables are not here")

N = 4000


def found(
    columns: Mapping[str, tuple[Kind, Any]], y: Any, *, kind: Any = "binary", **options: Any
) -> list[tuple[str, str]]:
    """Return the column and kind of each leak in a table."""
    declared = [Column(name=name, kind=kind, nullable=True) for name, (kind, _) in columns.items()]
    table = Dataset(
        kind=kind,
        columns={name: np.asarray(values) for name, (_, values) in columns.items()},
        y=np.asarray(y, dtype=float),
        extra=options.pop("extra", {}),
        n_read=len(y),
    )
    leaks = find_leaks(declared, table, label_kind=kind, **options)
    return [(leak.column, leak.kind) for leak in leaks]


def text(values: Any) -> Any:
    """Return a column of texts."""
    return np.array(values, dtype=object)


def labels(share: float = 0.1, seed: int = 0, n: int = N) -> Any:
    """Return labels of which *share* are positive."""
    return (np.random.default_rng(seed).random(n) < share).astype(float)


@given(
    scores=st.lists(st.integers(0, 5), min_size=2, max_size=40),
    y=st.lists(st.sampled_from([0.0, 1.0]), min_size=40, max_size=40),
)
def test_roc_auc_equals_the_library(scores: list[int], y: list[float]) -> None:
    """Ties count half, as in scikit-learn."""
    truth = np.array([0.0, 1.0, *y])[: len(scores)]

    assert roc_auc(np.array(scores, dtype=float), truth) == pytest.approx(
        roc_auc_score(truth, scores), abs=1e-12
    )


@given(values=st.lists(st.one_of(st.none(), st.sampled_from("abc")), max_size=20))
def test_distinct_gives_back_the_column(values: list[str | None]) -> None:
    """Codes and values are the column again, and counts add up."""
    codes, texts, counts = distinct(text(values) if values else np.empty(0, dtype=object))

    assert [None if code < 0 else texts[code] for code in codes.tolist()] == values
    assert counts.tolist() == [values.count(one) for one in texts.tolist()]


def test_distinct_sorts_numbers_and_knows_missing() -> None:
    """Numbers come in order; NaN is no value."""
    codes, values, counts = distinct(np.array([3.0, np.nan, 1.0, 3.0]))

    assert (codes.tolist(), values.tolist(), counts.tolist()) == ([1, -1, 0, 1], [1, 3], [1, 2])


@pytest.mark.parametrize("seed", range(5))
def test_find_leaks_leaves_noise_alone(seed: int) -> None:
    """Columns without knowledge are never leaks, rare values and missing cells included."""
    random = np.random.default_rng(seed)
    number = random.normal(size=N)
    number[random.random(N) < 0.2] = np.nan
    columns: dict[str, tuple[Kind, Any]] = {
        "number": ("number", number),
        "few": ("integer", random.integers(0, 15, N).astype(float)),
        "flag": ("boolean", (random.random(N) < 0.01).astype(float)),
        "rare": ("category", text([f"v{i}" for i in random.integers(0, 1500, N)])),
        "at": ("timestamp", 1e9 + random.normal(size=N)),
    }

    assert found(columns, labels(0.03, seed)) == []
    assert found(columns, random.normal(size=N), kind="regression") == []


def leaky(y: Any) -> dict[str, Any]:
    """Return columns that tell *y*, each in another way."""
    noise = np.random.default_rng(1).normal(size=len(y))
    return {
        "higher": y + 0.2 * noise,
        "lower": -3 * y + 0.2 * noise,
        "bowl": np.sign(noise) * (2 * y + 0.1 * np.abs(noise)),
        "present": np.where(y == 1, noise, np.nan),
        "missing": np.where(y == 1, np.nan, noise),
        "missing_or_between": np.where(
            y == 1, np.where(noise > 0, np.nan, 0.5 + noise / 100), np.round(noise)
        ),
        "between": np.where(y == 1, 0.5 + noise / 100, np.round(noise)),
    }


@pytest.mark.parametrize("name", sorted(leaky(np.zeros(3))))
def test_find_leaks_sees_numbers_that_tell_the_label(name: str) -> None:
    """Whatever the shape, and where missing is what tells."""
    y = labels()

    assert (name, "auc") in found({name: ("number", leaky(y)[name])}, y)


def test_find_leaks_sees_categories_that_tell_the_label() -> None:
    """More than 255 values, each of one class, tell it wholly."""
    y = labels(0.4)
    names = np.random.default_rng(2).integers(0, 200, N)
    values = text([f"{int(one)}-{name}" for one, name in zip(y, names, strict=True)])

    assert found({"code": ("category", values)}, y) == [("code", "auc")]


def test_find_leaks_is_not_fooled_by_values_of_one_row() -> None:
    """A name of its own for each row tells nothing about the next row: it only names."""
    values = text([f"id{i}" for i in range(N)])

    assert separation(values, labels()) == pytest.approx(0.5, abs=0.05)
    assert found({"id": ("category", values)}, labels()) == [("id", "identifier")]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("sigma", [0.5, 3.0])
def test_find_leaks_sees_numbers_that_explain_a_quantity(sign: int, sigma: float) -> None:
    """Also where a few extreme labels hold all of the variance."""
    y = np.random.default_rng(3).lognormal(0, sigma, N)

    assert found({"x": ("number", sign * np.sqrt(y))}, y, kind="regression") == [("x", "auc")]


def test_find_leaks_sees_what_is_missing_explain_a_quantity() -> None:
    """Missing is a value of its own, with a mean of its own."""
    y = np.random.default_rng(3).normal(size=N)
    y[: N // 4] = 5.0

    values = np.where(np.arange(N) < N // 4, np.nan, y)

    assert found({"x": ("number", values)}, y, kind="regression") == [("x", "auc")]


def test_find_leaks_sees_categories_that_explain_a_quantity() -> None:
    """The price list is the price."""
    tariff = np.random.default_rng(4).integers(0, 30, N)
    y = np.random.default_rng(5).lognormal(0, 1, 30)[tariff]
    values = text([f"t{i}" for i in tariff])

    assert found({"tariff": ("category", values)}, y, kind="regression") == [("tariff", "auc")]


def test_find_leaks_does_not_blame_the_clock_for_a_smooth_series() -> None:
    """A slow quantity is near itself in time: no leak."""
    at = 1e9 + 3600 * np.arange(float(N))
    y = np.sin(np.arange(N) / 200)

    assert found({"at": ("timestamp", at)}, y, kind="regression") == []


@pytest.mark.parametrize("kind", ["boolean", "integer", "category", "number"])
@pytest.mark.parametrize("inverted", [False, True])
def test_find_leaks_sees_a_value_that_settles_the_label(kind: Kind, inverted: bool) -> None:  # noqa: FBT001  a parameter of the test
    """A tenth of the positives give themselves away; the other class may be the rare one."""
    y = labels()
    told = np.zeros(N)
    told[np.flatnonzero(y == 1)[:40]] = 1
    values = text([f"v{int(one)}" for one in told]) if kind == "category" else told

    assert found({"x": (kind, values)}, 1 - y if inverted else y) == [("x", "gives_away")]


def test_find_leaks_sees_a_presence_that_settles_the_label() -> None:
    """A cost that only broken machines have gives them away, however many values it takes."""
    y = labels()
    cost = np.full(N, np.nan)
    rows = np.flatnonzero(y == 1)[:40]
    cost[rows] = np.arange(40.0)

    assert found({"cost": ("number", cost)}, y) == [("cost", "gives_away")]


def test_find_leaks_needs_more_than_chance_to_say_that_a_value_settles() -> None:
    """Few rows, or a base rate that explains them, settle nothing."""
    y = labels(0.4)
    positives = np.flatnonzero(y == 1)
    nine, fifteen = np.zeros(N), np.zeros(N)
    nine[positives[:9]] = 1
    fifteen[positives[:10]] = 1
    fifteen[np.flatnonzero(y == 0)[:5]] = 1

    assert found({"x": ("boolean", nine), "z": ("boolean", fifteen)}, y) == []
    assert found({"x": ("boolean", nine)}, y, min_rows=9) == [("x", "gives_away")]


def test_find_leaks_does_not_take_ten_heads_of_a_fair_coin_for_a_leak() -> None:
    """Ten positives in a row are likely enough where half of all rows are positive."""
    y = np.arange(N) % 2.0
    y[1] = 0.0
    ten = np.zeros(N)
    ten[np.flatnonzero(y == 1)[:10]] = 1

    assert found({"x": ("boolean", ten)}, y) == []


def test_find_leaks_settles_nothing_by_half() -> None:
    """However low the purity asked for, most rows with the value must be of the class for sure."""
    y = labels(0.05)
    mixed = np.zeros(N)
    mixed[np.flatnonzero(y == 1)[:7]] = 1
    mixed[np.flatnonzero(y == 0)[:5]] = 1

    assert found({"x": ("boolean", mixed)}, y, purity=0.5) == []


def test_find_leaks_sees_what_is_known_only_later() -> None:
    """A time after the prediction, of the feature itself or declared beside it, is a leak."""
    asked = 1e9 + np.arange(float(N))
    late = np.where(np.arange(N) < 10, asked + 1, asked)
    columns: dict[str, tuple[Kind, Any]] = {
        "asked": ("timestamp", asked),
        "opened": ("timestamp", np.where(np.arange(N) < 2, asked + 5, asked - 1)),
        "closed": ("timestamp", late),
        "balance": ("number", np.ones(N)),
        "other": ("number", np.ones(N)),
    }
    y = labels(0.4)

    assert found(columns, y) == []
    assert found(
        columns,
        y,
        prediction_time="asked",
        known_at={"balance": "balance_at"},
        extra={"balance_at": late},
    ) == [("closed", "later"), ("balance", "later")]


@pytest.mark.parametrize("name", ["gone", "word"])
def test_find_leaks_refuses_a_time_it_cannot_read(name: str) -> None:
    """The remedy is the argument that reads the column, or a column of times."""
    at: dict[str, tuple[Kind, Any]] = {"at": ("timestamp", np.ones(4))}

    with pytest.raises(DataError, match=r"leakage by time: .*(read it with|expected times)"):
        found(at, [0, 1, 0, 1], prediction_time=name, extra={"word": text(["secret"] * 4)})


def test_find_leaks_names_what_the_host_will_not_have() -> None:
    """The caller knows; the report shows it among the leaks."""
    columns: dict[str, tuple[Kind, Any]] = {
        "a": ("number", np.ones(N)),
        "b": ("number", np.ones(N)),
    }

    assert found(columns, labels(), absent=["b"]) == [("b", "absent")]


def test_leak_shows_numbers_and_no_value() -> None:
    """The report may quote a leak wholly: it holds counts, not cells."""
    y = labels()
    values = text(np.where(y == 1, "secret", "plain").tolist())
    column = Column(name="x", kind="category")

    leaks = find_leaks(
        [column],
        Dataset(kind="binary", columns={"x": values}, y=y, n_read=N),
        label_kind="binary",
    )

    assert [leak.kind for leak in leaks] == ["auc", "gives_away"]
    for leak in leaks:
        told = leak.to_json("dropped")
        assert set(told) == {"column", "kind", "detail", "strength", "action"}
        assert "secret" not in str(told)
        assert not leak.warns_only


@pytest.mark.parametrize("kind", ["binary", "regression"])
@pytest.mark.parametrize("n", [2, N])
def test_find_leaks_survives_columns_that_hold_nothing(kind: str, n: int) -> None:
    """All-missing, constant and infinite columns, and a table of two rows, are no leaks."""
    columns: dict[str, tuple[Kind, Any]] = {
        "none": ("number", np.full(n, np.nan)),
        "same": ("number", np.full(n, 7.0)),
        "huge": ("number", np.where(np.arange(n) % 3 == 0, np.inf, -np.inf)),
        "silent": ("category", np.full(n, None)),
        "word": ("category", np.full(n, "a", dtype=object)),
        "flag": ("boolean", np.full(n, np.nan)),
    }
    y = np.random.default_rng(0).permutation(np.arange(n) % 2).astype(float)

    assert found(columns, y, kind=kind) == []
    assert found(columns, np.ones(n), kind=kind) == []


def test_explained_of_a_constant_quantity_is_nothing() -> None:
    """Where nothing varies there is nothing to explain, not even the order of the rows."""
    assert explained(np.arange(100.0), np.ones(100)) == 0.0


def test_find_leaks_judges_a_sample_of_a_large_table() -> None:
    """Of 300,000 rows 200,000 are judged, so a value of twelve rows shows fewer than ten."""
    n = 300_000
    y = labels(0.1, n=n)
    told = np.zeros(n)
    told[np.flatnonzero(y == 1)[:12]] = 1
    columns: dict[str, tuple[Kind, Any]] = {
        "told": ("boolean", told),
        "x": ("number", y + np.random.default_rng(0).normal(0, 0.1, n)),
        "id": ("integer", np.arange(float(n))),
        "nearly": ("integer", np.maximum(np.arange(float(n)), 1.0)),
    }

    assert found(columns, y) == [("x", "auc"), ("id", "identifier")]


AI4I = {
    "Type": "kind",
    "Air temperature": "air",
    "Process temperature": "process",
    "Rotational speed": "speed",
    "Torque": "torque",
    "Tool wear": "wear",
    "Machine failure": "failure",
}


def real(names: Mapping[str, Kind], frame: Any, label: Any, rename: Any) -> dict[str, set[str]]:
    """Return the leaks of a real table, by column."""
    columns = [Column(name=name, kind=kind, nullable=True) for name, kind in names.items()]
    table = read(frame, columns, label, Cleaning(rename=rename))
    leaks: dict[str, set[str]] = {}
    for leak in find_leaks(columns, table, label_kind=label.kind):
        leaks.setdefault(leak.column, set()).add(leak.kind)
    return leaks


@needs_data
def test_find_leaks_in_ai4i() -> None:
    """The failure modes give the failure away; what the machine measures does not."""
    modes = ("TWF", "HDF", "PWF", "OSF", "RNF")
    names: dict[str, Kind] = {"UDI": "integer", "kind": "category", "wear": "integer"}
    names |= dict.fromkeys(("air", "process", "speed", "torque"), "number")
    names |= dict.fromkeys(modes, "boolean")

    leaks = real(
        names, pl.read_csv(SHARED / "ai4i/ai4i2020.csv"), Binary("failure", positive=1), AI4I
    )

    assert leaks.pop("UDI") == {"identifier"}
    assert leaks == {mode: {"gives_away"} for mode in modes[:4]}


@needs_data
def test_find_leaks_in_the_census() -> None:
    """No column of the census leaks."""
    frame = pl.read_csv(SHARED / "adult/adult.data")
    frame = frame.rename(lambda name: name.strip().replace("-", "_"))
    names: dict[str, Kind] = {
        name: "category" if frame[name].dtype == pl.String else "integer"
        for name in frame.columns[:-1]
    }

    assert real(names, frame, Binary("Y", positive=">50K"), {}) == {}


@needs_data
def test_find_leaks_in_bike_sharing() -> None:
    """Neither the weather nor the calendar leaks the number of riders."""
    frame = pl.read_csv(SHARED / "bike_sharing/bike_sharing.csv")
    names: dict[str, Kind] = dict.fromkeys(("temp", "atemp", "hum", "windspeed"), "number")
    names |= dict.fromkeys(("month", "hour", "weekday"), "integer")
    names |= {"weather": "category", "holiday": "boolean", "workingday": "boolean"}
    names |= {"date_time": "timestamp"}

    assert real(names, frame, Regression("users"), {}) == {}
