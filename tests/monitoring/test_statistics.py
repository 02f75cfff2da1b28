"""Distances and tests agree with SciPy and with their published laws."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from mlembed.monitoring.statistics import (
    benjamini_hochberg,
    effective_size,
    homogeneity_p,
    js_distance,
    proportions_p,
    psi,
    psi_noise,
)

COUNTS = st.lists(
    st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=12
).filter(lambda pairs: all(sum(side) > 0 for side in zip(*pairs, strict=True)))
EMPTY = [0.0, 0.0]


@given(COUNTS)
def test_psi_is_the_published_sum(pairs: list[tuple[int, int]]) -> None:
    """PSI is the symmetric divergence of the smoothed shares, over bins that either side uses."""
    r, c = np.array([pair for pair in pairs if sum(pair)], dtype=float).T
    p = (r + 0.5) / (r + 0.5).sum()
    q = (c + 0.5) / (c + 0.5).sum()

    value = psi(*np.array(pairs).T)

    assert value == pytest.approx(stats.entropy(p, q) + stats.entropy(q, p), abs=1e-12)
    assert value == pytest.approx(psi(c, r), abs=1e-12)
    assert value >= -1e-15


@given(COUNTS)
def test_js_distance_is_scipys(pairs: list[tuple[int, int]]) -> None:
    """The distance is SciPy's in base 2, symmetric, and within 0 and 1."""
    r, c = np.array(pairs, dtype=float).T

    value = js_distance(r, c)

    assert value == pytest.approx(jensenshannon(r, c, base=2), abs=1e-7)
    assert 0 <= value <= 1 + 1e-12


@given(st.lists(st.tuples(st.integers(30, 500), st.integers(30, 500)), min_size=2, max_size=12))
def test_homogeneity_p_is_scipys_where_nothing_is_pooled(pairs: list[tuple[int, int]]) -> None:
    """With enough in every bin it is Pearson's test as SciPy computes it."""
    r, c = np.array(pairs).T

    expected = stats.chi2_contingency(np.stack([r, c]), correction=False).pvalue

    assert homogeneity_p(r, c) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_homogeneity_p_pools_small_bins() -> None:
    """One value never seen before is no proof of a change."""
    reference, observed = [4_000, 6_000, 0], [400, 599, 1]

    unpooled = stats.chi2_contingency(np.array([reference, observed]), correction=False).pvalue

    assert homogeneity_p(reference, observed) > 0.5
    assert unpooled < 0.01


@pytest.mark.parametrize(
    ("reference", "observed"),
    [([5], [9]), ([3, 2], [2, 2]), ([8, 0, 5], [0, 9, 4]), (EMPTY, [5, 9]), ([5, 9], EMPTY)],
)
def test_homogeneity_p_is_1_where_nothing_can_be_told(reference: Any, observed: Any) -> None:
    """One bin, a handful of rows or an empty window give no evidence."""
    assert homogeneity_p(reference, observed) == 1.0


def test_distances_of_an_empty_window_are_undefined() -> None:
    """Nothing can lie far from or near to an empty window."""
    for distance in (psi, js_distance, psi_noise):
        assert math.isnan(distance(EMPTY, [1, 2]))
        assert math.isnan(distance([1, 2], EMPTY))


@given(st.integers(0, 50), st.integers(50, 400), st.integers(0, 50), st.integers(50, 400))
def test_proportions_p_is_scipys(k1: int, n1: int, k2: int, n2: int) -> None:
    """The z-test of two shares is Pearson's test of their two-by-two table."""
    table = np.array([[k1, n1 - k1], [k2, n2 - k2]])
    same = not table.sum(axis=0).all()

    expected = 1.0 if same else stats.chi2_contingency(table, correction=False).pvalue

    assert proportions_p(k1, n1, k2, n2) == pytest.approx(expected, rel=1e-7)


def test_proportions_p_of_an_empty_window_is_1() -> None:
    """No rows give no evidence."""
    assert proportions_p(0, 0, 1, 5) == proportions_p(1, 5, 0, 0) == 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_benjamini_hochberg_is_scipys(p_values: list[float]) -> None:
    """The q-values are SciPy's adjusted p-values, in the order given."""
    expected = stats.false_discovery_control(p_values)

    np.testing.assert_allclose(benjamini_hochberg(p_values), expected, rtol=1e-12)


def test_benjamini_hochberg_of_nothing_is_nothing() -> None:
    """A report without tests has no q-values."""
    assert benjamini_hochberg([]).size == 0


def test_effective_size_counts_equal_weights_once_each() -> None:
    """Equal weights count as their number; one that dwarfs the others as one."""
    assert effective_size(np.full(50, 4.0)) == pytest.approx(50)
    assert effective_size([1e9, 1.0, 1.0]) == pytest.approx(1)
    assert effective_size([]) == 0.0


@pytest.mark.parametrize("n", [300, 1_000])
def test_psi_noise_is_the_mean_without_drift(n: int) -> None:
    """Over many windows of one source PSI averages what `psi_noise` foretells."""
    random = np.random.default_rng(0)
    shares = np.full(10, 0.1)
    draws = [
        (random.multinomial(3_000, shares), random.multinomial(n, shares)) for _ in range(1_000)
    ]

    values = np.array([psi(r, c) for r, c in draws])

    assert values.mean() == pytest.approx(psi_noise(*draws[0]), rel=0.05)
    assert np.quantile(values, 0.95) == pytest.approx(
        stats.chi2.ppf(0.95, 9) * (1 / n + 1 / 3_000), rel=0.1
    )
