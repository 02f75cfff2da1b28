"""The models that the benchmarks run on: made-up tables, but trained, proved and packed for real."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import pydantic
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

import mlembed
from mlembed.training import Binary, RandomSplit, Trainer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlembed.bundle.bundle import Bundle

    Table = Mapping[str, Any]

N_NUMBERS = 20
N_CENSUS_NUMBERS, N_CENSUS_TEXTS = 6, 8
_SPLIT = RandomSplit(test=0.25, reason="the rows are made up and have no time")
_LABEL = Binary("y", positive=1)


def table(n: int, n_numbers: int = N_NUMBERS, n_texts: int = 0, seed: int = 0) -> dict[str, Any]:
    """Return *n* records as columns: `x00`... are floats, `c0`... texts of twelve kinds."""
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(n, n_numbers))
    codes = random.integers(0, 12, size=(n, n_texts))
    signal = numbers @ np.linspace(-1, 1, n_numbers) + (codes % 5).sum(axis=1) / 4
    columns: dict[str, Any] = {f"x{i:02d}": numbers[:, i].copy() for i in range(n_numbers)}
    kinds = np.array([f"kind {code}" for code in range(12)], dtype=object)
    columns |= {f"c{i}": kinds[codes[:, i]] for i in range(n_texts)}
    noisy = signal + random.normal(size=n)
    return columns | {"y": (noisy > np.median(signal)).astype(int)}


def record_class(n_numbers: int, n_texts: int) -> type[mlembed.Record]:
    """Return the record of such a table."""
    fields: dict[str, Any] = {f"x{i:02d}": (float, ...) for i in range(n_numbers)}
    fields |= {f"c{i}": (str, ...) for i in range(n_texts)}
    return pydantic.create_model("Row", __base__=mlembed.Record, **fields)


def estimator(kind: str) -> Any:
    """Return an unfitted estimator: `logistic`, or `trees`, a hundred of them."""
    if kind == "logistic":
        return LogisticRegression(max_iter=1000)
    return HistGradientBoostingClassifier(
        max_iter=100, early_stopping=False, categorical_features="from_dtype"
    )


@functools.cache
def bundle(kind: str, n_numbers: int = N_NUMBERS, n_texts: int = 0) -> Bundle:
    """Return the proved bundle of an estimator of *kind* on 20,000 rows."""
    trainer = Trainer(
        name=f"{kind}{n_numbers + n_texts}",
        record=record_class(n_numbers, n_texts),
        label=_LABEL,
        candidates=[estimator(kind)],
        split=_SPLIT,
        metric="roc_auc",
    )
    return trainer.train(table(20_000, n_numbers, n_texts)).bundle


def census() -> Bundle:
    """Return a bundle as wide as the census: 6 numbers, 8 categories, a hundred trees."""
    return bundle("trees", N_CENSUS_NUMBERS, N_CENSUS_TEXTS)
