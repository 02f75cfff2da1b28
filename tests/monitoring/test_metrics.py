"""One table of metrics, the same offline, in the bundle and in the monitor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from mlembed.monitoring import bootstrap
from mlembed.monitoring.metrics import METRICS, evaluate, is_defined, rank_bins


@given(seed=st.integers(0, 1000), n=st.integers(2, 60), threshold=st.floats(0.05, 0.95))
def test_decisions_are_measured_as_by_scikit_learn(seed: int, n: int, threshold: float) -> None:
    """Precision, recall and F1 at the threshold are scikit-learn's; 0 where nothing is called."""
    random = np.random.default_rng(seed)
    y, scores = np.r_[1.0, 0.0, random.integers(0, 2, n)], random.random(n + 2)
    called: Any = scores >= threshold
    known = sk.precision_recall_fscore_support(y, called, average="binary", zero_division=0)

    found = evaluate("binary", y, scores, threshold)

    assert [found[name] for name in ("precision", "recall", "f1")] == pytest.approx(known[:3])


def test_wape_is_the_error_in_proportion_to_the_quantity() -> None:
    """An error of 3 in a total of 12 is a quarter, whatever the signs."""
    found = evaluate("regression", np.array([-4.0, 8.0]), np.array([-3.0, 6.0]))

    assert found["wape"] == pytest.approx(0.25)


def test_wape_of_nothing_is_undefined() -> None:
    """Where all quantities are 0 there is nothing to be in proportion to."""
    assert "wape" not in evaluate("regression", np.zeros(3), np.ones(3))
    assert np.isnan(bootstrap.measure("wape", np.zeros(3), np.ones(3), 0.5)(np.ones(3)))


@pytest.mark.parametrize("quantile", [0.05, 0.5, 0.9])
def test_pinball_names_its_quantile(quantile: float) -> None:
    """Any quantile may stand in the name, and the loss is scikit-learn's."""
    random = np.random.default_rng(0)
    y, scores, name = random.normal(size=50), random.normal(size=50), f"pinball@{quantile}"

    assert name in METRICS
    assert METRICS[name].kind == "regression"
    assert evaluate("regression", y, scores, also=name)[name] == pytest.approx(
        sk.mean_pinball_loss(y, scores, alpha=quantile)
    )
    assert name not in list(METRICS)


@pytest.mark.parametrize("name", ["pinball@", "pinball@1", "pinball@x", "pinball@nan", "map", ""])
def test_metrics_refuse_what_is_no_metric(name: str) -> None:
    """A quantile outside (0, 1) or an unknown name is no metric."""
    assert name not in METRICS
    with pytest.raises(KeyError):
        METRICS[name]


def test_ece_is_the_mean_gap_of_ten_equal_bins() -> None:
    """A model that says 0.3 where half are positive is off by 0.2; a calibrated one by nothing."""
    y = np.tile([0.0, 1.0], 50)

    assert METRICS["ece"].of(y, np.full(100, 0.3), 0.5) == pytest.approx(0.2)
    assert METRICS["ece"].of(y, np.full(100, 0.5), 0.5) == pytest.approx(0.0)
    assert METRICS["ece"].of(y, y, 0.5) == 0.0


def test_rank_bins_hold_as_many_rows_each() -> None:
    """Bins are equal in count, in order of score, and keep tied rows together."""
    scores = np.random.default_rng(0).permutation(np.arange(100) / 100)

    assert np.bincount(rank_bins(scores)).tolist() == [10] * 10
    assert np.array_equal(rank_bins(scores), (scores * 10 + 1e-9).astype(int))
    assert len(set(rank_bins(np.r_[np.zeros(60), scores])[:60])) == 1
    assert rank_bins(np.empty(0)).tolist() == []


def test_one_class_leaves_the_metrics_that_need_two_undefined() -> None:
    """Ranking and decisions have no value where the truth is of one class."""
    found = evaluate("binary", np.ones(5), np.linspace(0, 1, 5))

    assert set(found) == {"log_loss", "brier", "error", "ece"}
    assert not is_defined(METRICS["brier"], np.empty(0))


def test_decisions_without_a_positive_label_are_worth_nothing() -> None:
    """Where a draw of rows labels nobody, precision and F1 are 0, as they are of the rows."""
    y, scores = np.array([0.0, 1.0, 0.0]), np.array([0.1, 0.2, 0.9])
    weights = np.array([1.0, 2.0, 0.0])

    for name in ("precision", "recall", "f1"):
        assert bootstrap.measure(name, y, scores, 0.5)(weights) == 0.0
        assert METRICS[name].of(y[:2], scores[:2], 0.5) == 0.0
