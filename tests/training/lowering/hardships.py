"""A table that breaks conversions, for the trees: ids, epochs, skew, the ends of the doubles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.serving.session import Session
from mlembed.training import lowering
from mlembed.training.lowering import FeatureSpec
from mlembed.training.lowering.registry import family_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

SPECS = (
    FeatureSpec("age"),
    FeatureSpec("gain"),
    FeatureSpec("id24"),
    FeatureSpec("id31"),
    FeatureSpec("id53"),
    FeatureSpec("since"),
    FeatureSpec("tiny"),
    FeatureSpec("constant"),
    FeatureSpec("empty"),
    FeatureSpec("job", n_codes=8),
    FeatureSpec("town", n_codes=90),
)
NUMBERS = SPECS[:9]
# Beyond what a float32 holds; scikit-learn's forests refuse such values, histograms take them.
HUGE = FeatureSpec("huge")
WHOLE = (*SPECS, HUGE)
KINDS = ("binary", "multiclass", "regression")


def table(seed: int, n: int = 500) -> Matrix:
    """Return rows of `WHOLE`, a tenth of most columns missing."""
    random = np.random.default_rng(seed)
    x = np.column_stack(
        [
            random.uniform(17, 90, n),
            random.lognormal(4, 3, n),
            2.0**24 + random.integers(-40, 40, n),
            2.0**31 + random.integers(0, 300, n),
            2.0**53 - random.integers(0, 300, n),
            1.7e9 + random.integers(-(10**8), 10**8, n),
            random.choice([-1.0, 1.0], n) * 10.0 ** random.uniform(-320, 30, n),
            np.full(n, 3.0),
            np.full(n, np.nan),
            random.choice(8, n, p=[0.5, 0.2, 0.1, 0.1, 0.05, 0.03, 0.0, 0.02]),
            random.integers(0, 80, n),
            random.choice([-1.0, 1.0], n) * 10.0 ** random.uniform(-300, 300, n),
        ]
    )
    for position in (1, 2, 5, 6, 9, 10):
        x[random.random(n) < 0.1, position] = np.nan
    return x


def target(x: Matrix, seed: int, kind: str) -> NDArray[Any]:
    """Return a target that every column has a say in: two classes, four, or numbers above 0."""
    random = np.random.default_rng(seed + 1)
    filled = np.nan_to_num(x)
    signal = (
        0.03 * (filled[:, 0] - 50)
        + 0.2 * np.log1p(filled[:, 1])
        + 0.02 * (filled[:, 2] % 7)
        + 0.01 * (filled[:, 3] - 2.0**31 - 150)
        + 0.01 * (2.0**53 - filled[:, 4] - 150)
        + np.where(np.isnan(x[:, 5]), 1.0, 0.0)
        + np.sign(filled[:, 6])
        + np.where(np.isin(filled[:, 9], (0, 2, 4)), 1.0, -1.0)
        + np.where(filled[:, 10] % 3 == 0, 1.0, -0.5)
        + (np.sign(filled[:, 11]) if x.shape[1] > len(SPECS) else 0.0)
        + random.normal(0, 0.3, len(x))
    )
    if kind == "regression":
        return np.asarray(np.exp(signal / 3))
    cuts = [0.5] if kind == "binary" else [0.2, 0.5, 0.7]
    return np.digitize(signal, np.quantile(signal, cuts))


USUAL = (0.0, -0.0, 5e-324, -5e-324, 7e-46, 7.1e-46, 1e-45, 1e-38, 2.0**24 + 1, 2.0**53)
CODES = (0.0, 6.0, 7.0, 8.0, 85.0, 90.0, 200.0, 1_000.0)


def probes(
    x: Matrix, splits: Mapping[int, Sequence[float]], specs: Sequence[FeatureSpec], seed: int
) -> Matrix:
    """Return *x*, and rows of it with one value moved to where trees go wrong."""
    random = np.random.default_rng(seed)
    rows = [x, np.full((1, x.shape[1]), np.nan)]
    for position, spec in enumerate(specs):
        cuts = np.unique(np.asarray(splits.get(position, ()), dtype=np.float64))
        cuts = cuts if len(cuts) <= 150 else random.choice(cuts, 150, replace=False)
        near = (np.nextafter(cuts, -np.inf), cuts, np.nextafter(cuts, np.inf), np.array(USUAL))
        # The encoder gives whole codes only, and ONNX Runtime looks at nothing else.
        values = np.array(CODES) if spec.n_codes else np.concatenate(near)
        values = np.append(values, np.nan)
        moved = x[random.integers(0, len(x), len(values))].copy()
        moved[:, position] = values
        rows.append(moved)
    return np.vstack(rows)


def own_scores(estimator: Any, x: Matrix) -> Matrix:
    """Return what the estimator itself gives: what its graph must give."""
    with np.errstate(all="ignore"):  # as in a proof; scikit-learn adds up what it checks
        if hasattr(estimator, "predict_proba"):
            scores = estimator.predict_proba(x)
            return np.asarray(scores if scores.shape[1] > 2 else scores[:, 1:], dtype=np.float64)
        if hasattr(estimator, "score_samples"):
            return np.asarray(-estimator.score_samples(x)).reshape(-1, 1)
        return np.asarray(estimator.predict(x), dtype=np.float64).reshape(-1, 1)


def graph_scores(estimator: Any, specs: Sequence[FeatureSpec], x: Matrix) -> Matrix:
    """Return what the graph gives, in the shape of `own_scores`."""
    model, _ = lowering.lower_estimator(estimator, specs)
    return Session(lowering.serialize(model)).run_matrix(x).reshape(len(x), -1)


def decisions(estimator: Any, specs: Sequence[FeatureSpec], x: Matrix) -> Matrix:
    """Return what the graph of the decision function gives, one column a score."""
    builder = lowering.Builder(len(specs))
    width = np.reshape(estimator.decision_function(x[:1]), (1, -1)).shape[1]
    model = builder.model(lowering.decide(estimator, builder, "x", specs), "score", width)
    return Session(lowering.serialize(model)).run_matrix(x).reshape(len(x), -1)


def error(ours: Matrix, theirs: Matrix) -> float:
    """Return the largest difference, relative to max(1, |score|)."""
    assert ours.shape == theirs.shape
    with np.errstate(invalid="ignore"):
        apart = np.abs(ours - theirs) / np.maximum(1.0, np.abs(theirs))
    return float(np.where(ours == theirs, 0.0, np.where(np.isnan(apart), np.inf, apart)).max())


def fit(estimator: Any, kind: str, seed: int, specs: Sequence[FeatureSpec] = SPECS) -> Any:
    """Return what `prepare` makes of *estimator*, fitted on the table."""
    x = table(seed)[:, : len(specs)]
    return lowering.prepare(estimator, specs).fit(x, target(table(seed), seed, kind))


def differ(
    fitted: Any, seed: int, specs: Sequence[FeatureSpec] = SPECS, x: Matrix | None = None
) -> float:
    """Return how far the graph is from *fitted* on rows its fit never saw."""
    if x is None:
        splits = family_of(fitted).splits(fitted)
        x = probes(table(seed + 1_000)[:, : len(specs)], splits, specs, seed)
    return error(graph_scores(fitted, specs, x), own_scores(fitted, x))
