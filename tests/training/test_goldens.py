"""Golden rows are few, fit the record, and hold what breaks models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import PoissonRegressor

from mlembed.errors import DataError
from mlembed.serving.encoder import Encoder
from mlembed.serving.session import Session
from mlembed.training import lowering
from mlembed.training.goldens import MAX_GOLDEN, UNSEEN, choose_golden
from mlembed.training.probes import IDS
from training.census import COLUMNS, FEATURES, TRANSFORMS, Fitted, table

X = np.nan_to_num(table(7, 400), nan=1.0)


def chosen(threshold: float | None = 0.5, kind: str = "binary") -> Any:
    """Return golden rows of a boosted model, and the model's session."""
    estimator = (
        HistGradientBoostingClassifier(max_iter=20)
        if kind == "binary"
        else HistGradientBoostingRegressor(max_iter=20)
    )
    one = Fitted(estimator, kind=kind)
    session = Session(one.model)
    splits = lowering.split_values(one.estimator, one.specs)
    golden = choose_golden(
        "m@1", COLUMNS, session, X, session.run_matrix(X), splits=splits, threshold=threshold
    )
    return golden, session, splits


def test_golden_rows_are_between_64_and_100() -> None:
    """Enough to show what breaks, few enough to replay at every start."""
    golden, _, _ = chosen()

    assert 64 <= len(golden.records) == len(golden.scores) <= MAX_GOLDEN


def test_golden_rows_encode_and_replay() -> None:
    """Every record fits its columns and gives its score again."""
    golden, session, _ = chosen()
    encoder, row = Encoder("m@1", COLUMNS), session.row()

    def score(record: Any) -> float:
        encoder.encode(record, row.cells)
        row.run()
        return float(row.scores[0])

    golden.replay("m@1", score)


def test_golden_rows_hold_missing_unknown_extreme_and_large_values() -> None:
    """Each nullable column is missing, each open vocabulary unknown, each declared end reached."""
    records = chosen()[0].records

    for column in COLUMNS:
        cells = [record[column.name] for record in records]
        assert (None in cells) is column.nullable
        assert (UNSEEN in cells) is (column.kind == "category")
    assert {0.0, 120.0} <= {record["age"] for record in records}
    assert 5e-324 in {record["gain"] for record in records}
    assert set(IDS) <= {record["account"] for record in records}


def test_golden_rows_hold_both_sides_of_splits() -> None:
    """Thresholds of raw columns and their neighbours are among the values; integers stay whole."""
    golden, _, splits = chosen()
    ages = {record["age"] for record in golden.records}

    around = [t for t in splits["age"] if {np.nextafter(t, 0), t, np.nextafter(t, 200)} <= ages]

    assert len(around) >= 3
    assert all(float(record["account"]).is_integer() for record in golden.records)


def test_golden_rows_hold_those_nearest_to_the_threshold() -> None:
    """The rows whose label a small change would turn are among them."""
    session = chosen()[1]
    threshold = float(np.quantile(session.run_matrix(X), 0.3))
    golden, _, _ = chosen(threshold)
    scores = session.run_matrix(X)

    nearest = scores[np.argsort(np.abs(scores - threshold))[:5]]

    assert set(nearest.tolist()) <= set(golden.scores)


@pytest.mark.parametrize("threshold", [None, float("nan")])
def test_golden_rows_of_a_quantity_hold_its_least_and_greatest(threshold: float | None) -> None:
    """Without a threshold the ends of the scores are replayed."""
    golden, session, _ = chosen(threshold, "regression")
    scores = session.run_matrix(X)

    assert {float(scores.min()), float(scores.max())} <= set(golden.scores)


def test_golden_rows_have_finite_scores() -> None:
    """An id of 2**53 makes infinity of an exponential: a host replays the other rows."""
    one = Fitted(PoissonRegressor(max_iter=1000), kind="regression")
    session = Session(one.model)

    golden = choose_golden("m@1", COLUMNS, session, X, session.run_matrix(X))

    accounts = {record["account"] for record in golden.records}
    assert np.isfinite(golden.scores).all()
    assert 64 <= len(golden.records) == len(golden.scores)
    assert 2.0**31 in accounts
    assert 2.0**53 not in accounts


def test_golden_rows_need_a_finite_score() -> None:
    """Where every score is infinite nothing can be replayed, and the remedy is named."""
    one = Fitted(PoissonRegressor(max_iter=1000), kind="regression")
    one.estimator[-1].intercept_ = 1e15
    model = lowering.serialize(lowering.lower(one.estimator, COLUMNS, TRANSFORMS, FEATURES))

    with pytest.raises(DataError, match=r"^m@1: no held-out row has a finite score; scale the lab"):
        choose_golden("m@1", COLUMNS, Session(model), X, Session(model).run_matrix(X))


def test_golden_rows_of_one_row() -> None:
    """A single held-out row is enough to make them of."""
    _, session, splits = chosen()

    golden = choose_golden(
        "m@1", COLUMNS, session, X[:1], session.run_matrix(X[:1]), splits=splits, threshold=0.5
    )

    assert len(golden.records) > 20
