"""A feature matrix with missing values and codes, and how far a graph is from its estimator."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlembed.serving.session import Session
from mlembed.training import difference
from mlembed.training.lowering import FeatureSpec, lower_estimator, prepare, serialize

SPECS = (FeatureSpec("age"), FeatureSpec("gain"), FeatureSpec("since"), FeatureSpec("job", 5))


def features(seed: int, n: int = 500) -> Any:
    """Return rows of `SPECS`: a normal, a skewed and an epoch column, codes; some of it missing."""
    random = np.random.default_rng(seed)
    x = np.column_stack(
        [
            random.normal(40, 12, n),
            random.lognormal(4, 2, n),
            1.7e9 + random.integers(-(10**8), 10**8, n),
            random.integers(0, 5, n),
        ]
    )
    x[random.random(x.shape) < 0.1] = np.nan
    return x


def labels(x: Any, n_classes: int) -> Any:
    """Return classes every column has a say in, of equal size; amounts above 0 where it is 0."""
    filled = np.nan_to_num(x)
    signal = (filled[:, 0] - 40) / 12 + np.log1p(filled[:, 1]) / 3 + (filled[:, 3] % 2)
    signal = signal + np.isnan(x[:, 2]) + np.random.default_rng(1).normal(0, 0.5, len(x))
    if not n_classes:
        return np.exp(signal / 3)
    return np.searchsorted(np.quantile(signal, np.arange(1, n_classes) / n_classes), signal)


def fit(estimator: Any, n_classes: int = 2, specs: tuple[FeatureSpec, ...] = SPECS) -> Any:
    """Return what is fitted in place of *estimator*, on rows of `features`."""
    x = features(0)[:, : len(specs)]
    return prepare(estimator, specs).fit(x, labels(features(0), n_classes))


def graph_scores(fitted: Any, x: Any, specs: tuple[FeatureSpec, ...] = SPECS) -> Any:
    """Return the scores of the graph of *fitted*."""
    return Session(serialize(lower_estimator(fitted, specs)[0])).run_matrix(x)


def estimator_scores(fitted: Any, x: Any) -> Any:
    """Return the scores of *fitted*: probability of the second class, or of each of more."""
    if not hasattr(fitted, "predict_proba"):
        return np.asarray(fitted.predict(x), np.float64)
    scores = np.asarray(fitted.predict_proba(x), np.float64)
    return scores[:, 1] if scores.shape[1] == 2 else scores


def error(fitted: Any, specs: tuple[FeatureSpec, ...] = SPECS) -> float:
    """Return the largest difference on new rows, missing in each column and with new codes."""
    x = features(1)
    x[::17, 3] = 9.0
    x[0] = np.nan
    x = x[:, : len(specs)]
    with np.errstate(all="ignore"):
        theirs = estimator_scores(fitted, x)
    assert np.isfinite(theirs).any()
    return float(difference.errors(graph_scores(fitted, x, specs), theirs, relative=True).max())


def checkpoint_errors(
    fitted: Any, specs: tuple[FeatureSpec, ...] = SPECS
) -> dict[str, tuple[int, ...]]:
    """Return the shape of what each checkpoint of the graph of *fitted* should be, by its name."""
    x = features(2, 20)[:, : len(specs)]
    return {item.what: item.of(x).shape for item in lower_estimator(fitted, specs)[1]}
