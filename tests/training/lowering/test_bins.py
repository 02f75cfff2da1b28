"""Bins begin at their lower edge, to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.preprocessing import KBinsDiscretizer

from mlembed.errors import LoweringError
from mlembed.training import lowering
from training.lowering.transforming import NUMBERS, attack, error, fit, numbers, ours

METHOD = {"quantile_method": "averaged_inverted_cdf"}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("encode", ["ordinal", "onehot", "onehot-dense"])
@pytest.mark.parametrize("strategy", ["uniform", "quantile", "kmeans"])
def test_bins_keep_every_bit(strategy: str, encode: str, seed: int) -> None:
    """Edges and their neighbours, values beyond the range and constant columns fall alike."""
    x = numbers(seed)
    fitted = fit(
        KBinsDiscretizer([2, 3, 4, 5, 6, 7, 3, 9], encode=encode, strategy=strategy, **METHOD), x
    )
    edges = np.unique(np.concatenate(fitted.bin_edges_))

    assert error(fitted, np.vstack([numbers(seed + 10), attack(x, edges.tolist())]), NUMBERS) == 0.0


@pytest.mark.parametrize("encode", ["ordinal", "onehot"])
def test_bins_have_no_result_where_missing_is_refused(encode: str) -> None:
    """A missing value has no bin and no row of zeros."""
    fitted = fit(KBinsDiscretizer(3, encode=encode, **METHOD), numbers(0)[:, :1])

    assert np.isnan(ours(fitted, np.array([[np.nan]]), NUMBERS[:1])).all()
    assert len(ours(fitted, np.empty((0, 1)), NUMBERS[:1])) == 0


@pytest.mark.parametrize("dtype", [np.float32])
def test_bins_of_fewer_digits_are_refused(dtype: Any) -> None:
    """A float32 would fall into another bin than the double it was."""
    transformer = KBinsDiscretizer(dtype=dtype)

    with pytest.raises(LoweringError, match=r"float32.*dtype=None"):
        lowering.step_of(transformer).check(transformer)
