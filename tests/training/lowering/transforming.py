"""A matrix that breaks transformers, and how far a transformer's graph is from the transformer."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from mlembed.serving.session import Session
from mlembed.training import lowering
from mlembed.training.lowering import Builder, FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

NUMBERS = tuple(map(FeatureSpec, ("age", "gain", "id24", "id31", "id53", "since", "few", "same")))
EMPTY = FeatureSpec("empty")
CATEGORIES = (FeatureSpec("job", 8), FeatureSpec("town", 60), FeatureSpec("flag", 2))
SPECS = (*NUMBERS, EMPTY, *CATEGORIES)
N_NUMBERS = len(NUMBERS)


def table(seed: int, n: int = 400, *, missing: float = 0.1) -> Matrix:
    """Return rows of `SPECS`, a share of each but the constant column missing."""
    random = np.random.default_rng(seed)
    x = np.column_stack(
        [
            random.normal(40, 12, n),
            random.lognormal(4, 2, n),
            2.0**24 + random.integers(-40, 40, n),
            2.0**31 + random.integers(0, 300, n),
            2.0**53 - random.integers(0, 300, n),
            1.7e9 + random.integers(-(10**8), 10**8, n),
            random.choice([-1.5, -0.0, 0.0, 2.0], n),
            np.full(n, 3.0),
            np.full(n, np.nan),
            random.choice(8, n, p=[0.5, 0.2, 0.1, 0.1, 0.05, 0.03, 0.0, 0.02]),
            random.integers(0, 50, n),
            random.integers(0, 2, n),
        ]
    )
    holes = random.random(x.shape) < missing
    holes[:, 7] = False
    x[holes] = np.nan
    return x


def numbers(seed: int, n: int = 400) -> Matrix:
    """Return rows of `NUMBERS` without holes."""
    return table(seed, n, missing=0.0)[:, :N_NUMBERS]


def categories(seed: int, n: int = 400, *, missing: float = 0.1) -> Matrix:
    """Return rows of `CATEGORIES`."""
    return table(seed, n, missing=missing)[:, N_NUMBERS + 1 :]


def attack(x: Matrix, edges: Sequence[float] = ()) -> Matrix:
    """Return rows with zeros of both signs, huge values, values beyond *x* and around *edges*."""
    finite = x[np.isfinite(x)]
    values = [0.0, -0.0, 5e-324, -5e-324, 1e-300, 1e15, -1e15, 1e300, -1e300]
    values += [2.0**24 + 1, 2.0**31, 2.0**53, finite.min() - 1, finite.max() + 1]
    ends = [float(value) for value in edges if np.isfinite(value)]
    values += [*ends, *np.nextafter(ends, -np.inf), *np.nextafter(ends, np.inf)]
    rows = np.repeat(np.array(values)[:, np.newaxis], x.shape[1], axis=1)
    mixed = np.repeat(x[:1], len(values), axis=0)
    for row, value in enumerate(values):
        mixed[row, row % x.shape[1]] = value
    return np.vstack([rows, mixed])


def fit(transformer: Any, x: Matrix, y: Any = None) -> Any:
    """Fit *transformer* without a word about columns that are missing throughout."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return transformer.fit(x, y)


def theirs(transformer: Any, x: Matrix) -> Matrix:
    """Return scikit-learn's own output, dense."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        out = transformer.transform(x)
    return np.asarray(out.toarray() if hasattr(out, "toarray") else out, dtype=np.float64)


def ours(transformer: Any, x: Matrix, specs: Sequence[FeatureSpec]) -> Matrix:
    """Return the output of the transformer's graph; one row alone must give the same."""
    builder = Builder(len(specs))
    out, columns = lowering.step_of(transformer).lower(transformer, builder, "x", specs)
    model = lowering.serialize(builder.model(out, "out", len(columns)))
    if not len(x):  # which a session for serving is never asked for
        runtime = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        return np.asarray(runtime.run(None, {"x": x})[0])
    session = Session(model)
    whole = session.run_matrix(x).reshape(len(x), len(columns))
    assert distance(session.run_matrix(x[:1]).reshape(1, -1), whole[:1]) <= 1e-12
    return whole


def distance(mine: Matrix, right: Matrix) -> float:
    """Return the largest difference relative to max(1, |right|); NaN and infinities must agree."""
    assert mine.shape == right.shape
    assert np.array_equal(np.isnan(mine), np.isnan(right))
    with np.errstate(invalid="ignore", over="ignore"):
        errors = np.abs(mine - right) / np.maximum(1.0, np.abs(right))
    errors[(mine == right) | np.isnan(right)] = 0.0
    return float(np.nan_to_num(errors, nan=np.inf).max(initial=0.0))


def error(transformer: Any, x: Matrix, specs: Sequence[FeatureSpec]) -> float:
    """Return how far the graph of a fitted *transformer* is from it on *x*."""
    return distance(ours(transformer, x, specs), theirs(transformer, x))
