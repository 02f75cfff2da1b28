"""Entities are drawn whole, so that rows of one entity are not counted as so many witnesses."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from mlembed.errors import MonitoringError
from mlembed.monitoring import bootstrap
from mlembed.monitoring.metrics import METRICS
from mlembed.monitoring.performance import compare


def alike(n_clusters: int, size: int, spread: float, seed: int = 0) -> tuple[Any, Any]:
    """Return errors of rows that share their entity's own error, and their entities."""
    random = np.random.default_rng(seed)
    clusters = np.repeat(np.arange(n_clusters), size)
    return random.normal(0, spread, n_clusters)[clusters] + random.normal(size=len(clusters)), (
        clusters
    )


def width(errors: Any, clusters: Any = None, resamples: int = 400) -> float:
    """Return the width of the interval of the mean error."""
    of = bootstrap.measure("mae", errors, np.full(len(errors), -50.0), 0.5)
    ends = bootstrap.interval(
        bootstrap.resample([of], len(errors), resamples, 0, clusters=clusters)[:, 0]
    )
    assert ends is not None
    return ends[1] - ends[0]


def test_resample_of_entities_is_wider_where_their_rows_are_alike() -> None:
    """Twenty rows of one card say little more than one of them."""
    errors, clusters = alike(60, 20, spread=2.0)

    assert width(errors, clusters) > 3 * width(errors)


def test_resample_of_entities_of_one_row_each_is_that_of_rows() -> None:
    """Where each row is an entity of its own the two intervals are as wide."""
    errors, clusters = alike(1500, 1, spread=1.0)

    assert width(errors, clusters, 2000) == pytest.approx(width(errors, None, 2000), rel=0.08)


def test_resample_ignores_how_entities_are_numbered() -> None:
    """Entities may be any whole numbers, in any order of rows."""
    errors, clusters = alike(40, 5, spread=1.0)

    assert width(errors, clusters) == width(errors, clusters * 10**12 - 7)


def test_resample_of_entities_holds_the_truth_as_often_as_it_says() -> None:
    """Of many 95 % intervals about one in twenty misses; drawing rows would miss most."""
    missed = {"entities": 0, "rows": 0}
    for seed in range(120):
        errors, clusters = alike(50, 8, spread=2.0, seed=seed)
        of = bootstrap.measure("mae", errors, np.full(len(errors), -50.0), 0.5)
        for name, given in (("entities", clusters), ("rows", None)):
            ends = bootstrap.interval(bootstrap.resample([of], 400, 150, seed, given)[:, 0])
            assert ends is not None
            missed[name] += not ends[0] <= 50.0 <= ends[1]

    assert 1 <= missed["entities"] <= 16
    assert missed["rows"] > 40


def test_resample_draws_the_same_for_all_measures() -> None:
    """Two models are measured on the same draw: equal scores give equal values, each time."""
    errors, clusters = alike(30, 4, spread=1.0)
    measures = [bootstrap.measure("rmse", errors, np.zeros(120), 0.5) for _ in range(2)]

    drawn = bootstrap.resample(measures, 120, 50, 3, clusters)

    assert np.array_equal(drawn[:, 0], drawn[:, 1])
    assert len(np.unique(drawn[:, 0])) == 50


@pytest.mark.parametrize("clusters", [np.zeros(200, int), np.arange(200) % 9])
def test_interval_of_too_few_entities_is_refused(clusters: Any) -> None:
    """One entity that holds every row, or hardly any, say nothing of other entities."""
    y: Any = np.arange(200) % 2.0

    found = compare(y, y * 0.4, y * 0.6, "brier", clusters=clusters, resamples=50)

    assert (found.state, found.low, found.clusters) == (
        "insufficient",
        None,
        len(np.unique(clusters)),
    )
    assert found.difference is not None


def test_compare_by_entity_doubts_what_rows_make_sure() -> None:
    """A gain that rests on a few entities is not shown by the number of their rows."""
    random = np.random.default_rng(4)
    clusters = np.repeat(np.arange(20), 100)
    y: Any = (random.random(2000) < 0.5) * 1.0
    gains = random.normal(0, 0.1, 20)
    gain = (gains - gains.mean() + 0.03)[clusters]
    old: Any = np.full(2000, 0.5)
    new = old + gain * (2 * y - 1)

    rows = compare(y, old, new, "brier")
    entities = compare(y, old, new, "brier", clusters=clusters)

    assert rows.low is not None
    assert entities.low is not None
    assert rows.low > 0 > entities.low
    assert (rows.clusters, entities.clusters) == (None, 20)
    assert rows.difference == entities.difference


def test_compare_drops_the_entities_of_rows_it_drops() -> None:
    """A row without a score takes its entity's number with it."""
    clusters = np.arange(60)
    y: Any = clusters % 2.0
    scores = np.where(clusters < 5, np.nan, 0.3)

    found = compare(y, scores, scores, "brier", clusters=clusters, resamples=20)

    assert (found.n, found.clusters) == (55, 55)


def test_compare_refuses_arrays_of_other_rows() -> None:
    """Arrays of different lengths cannot be of the same rows."""
    with pytest.raises(MonitoringError, match="their lengths are 3, 4; pass one value a row"):
        compare(np.zeros(4), np.zeros(4), np.zeros(4), "brier", clusters=np.zeros(3, int))


def test_measure_takes_many_weights_at_once() -> None:
    """A block of weights gives what each of them gives alone, for every metric."""
    random = np.random.default_rng(0)
    scores = np.round(random.random(80), 1)
    y: Any = (random.random(80) < 0.4) * 1.0
    weights = random.poisson(0.7, (30, 80)).astype(float)
    weights[0] = 0

    for name in [*METRICS, "pinball@0.9"]:
        of = bootstrap.measure(name, y, scores, 0.5)
        alone = [of(row) for row in weights]
        assert of.many(weights) == pytest.approx(alone, nan_ok=True, abs=1e-12)
        assert np.isnan(alone[0]) or name in {"precision", "recall", "f1"}


def test_resample_of_many_rows_takes_seconds() -> None:
    """500 resamples of 50,000 rows are a pause, not a break, for rows and for entities."""
    random = np.random.default_rng(0)
    scores = random.random(50_000)
    y: Any = (random.random(50_000) < 0.1) * 1.0
    clusters = random.integers(0, 5_000, 50_000)
    of = bootstrap.measure("roc_auc", y, scores, 0.5)

    began = time.process_time()
    bootstrap.resample([of], 50_000, 500, 0)
    bootstrap.resample([of], 50_000, 500, 0, clusters)

    assert time.process_time() - began < 15
