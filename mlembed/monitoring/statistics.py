"""How far two sets of counts lie apart, and whether chance explains it.

Distances say how much changed, tests whether it is more than noise: a small window shows large
distances by chance, a large one shows tiny changes with certainty.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaincc

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

_MIN_EXPECTED = 5.0


def psi(reference: ArrayLike, observed: ArrayLike) -> float:
    """Return the population stability index of two windows.

    The sum over bins of (q - p) ln(q / p), with half a count added to every bin so that empty ones
    stay finite: Yurdakul and Naranjo, "Statistical properties of the population stability index",
    Journal of Risk Model Validation 14(4), 2020. Bins empty in both windows are left out.

    Args:
        reference: Counts, `(n_bins,)`.
        observed: Counts in the same bins.

    Returns:
        0 for equal shares; NaN where a window is empty.
    """
    r, c = _occupied(reference, observed)
    if not (r.sum() > 0 and c.sum() > 0):
        return math.nan
    p = (r + 0.5) / (r.sum() + r.size / 2)
    q = (c + 0.5) / (c.sum() + c.size / 2)
    return float(np.sum((q - p) * np.log(q / p)))


def psi_noise(reference: ArrayLike, observed: ArrayLike) -> float:
    """Return the PSI that two windows of one and the same source show on average.

    PSI / (1/n + 1/N) follows a chi-square law with n_bins - 1 degrees of freedom where nothing
    changed (the paper named at `psi`), so its mean is (n_bins - 1) (1/n + 1/N).

    Args:
        reference: Counts, `(n_bins,)`.
        observed: Counts in the same bins.
    """
    r, c = _occupied(reference, observed)
    if not (r.sum() > 0 and c.sum() > 0):
        return math.nan
    return float((r.size - 1) * (1 / r.sum() + 1 / c.sum()))


def js_distance(reference: ArrayLike, observed: ArrayLike) -> float:
    """Return the Jensen-Shannon distance, 0 (equal) to 1 (nothing in common).

    The root of the mean divergence from the mixture, in bits: Endres and Schindelin, "A new metric
    for probability distributions", IEEE Transactions on Information Theory 49(7), 2003.

    Args:
        reference: Counts, `(n_bins,)`.
        observed: Counts in the same bins.

    Returns:
        The distance; NaN where a window is empty.
    """
    r, c = _occupied(reference, observed)
    if not (r.sum() > 0 and c.sum() > 0):
        return math.nan
    p, q = r / r.sum(), c / c.sum()
    middle = (p + q) / 2
    divergence = (_divergence(p, middle) + _divergence(q, middle)) / 2
    return math.sqrt(max(0.0, divergence))


def homogeneity_p(reference: ArrayLike, observed: ArrayLike) -> float:
    """Return the p-value of Pearson's chi-square test that both windows have one source.

    Bins are pooled, the smallest first, until each expects five counts in both windows: Cochran,
    "Some methods for strengthening the common chi-square tests", Biometrics 10(4), 1954.

    Args:
        reference: Counts, `(n_bins,)`.
        observed: Counts in the same bins.

    Returns:
        The p-value; 1 where too little is left to tell the windows apart.
    """
    table = _pool(np.stack(_occupied(reference, observed)))
    if table.shape[1] < 2:  # noqa: PLR2004  one bin holds everything
        return 1.0
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    statistic = float(np.sum((table - expected) ** 2 / expected))
    return float(gammaincc((table.shape[1] - 1) / 2, statistic / 2))


def proportions_p(k_reference: float, n_reference: float, k: float, n: float) -> float:
    """Return the two-sided p-value of the pooled z-test that two shares are one.

    NIST/SEMATECH e-Handbook of Statistical Methods, section 7.3.3.

    Args:
        k_reference: Counted cases in the reference.
        n_reference: Size of the reference.
        k: Counted cases in the window.
        n: Size of the window.

    Returns:
        The p-value; 1 where a window is empty or all cases agree.
    """
    if n_reference <= 0 or n <= 0:
        return 1.0
    share = (k_reference + k) / (n_reference + n)
    variance = share * (1 - share) * (1 / n_reference + 1 / n)
    if variance <= 0:
        return 1.0
    z = abs(k / n - k_reference / n_reference) / math.sqrt(variance)
    return math.erfc(z / math.sqrt(2))


def benjamini_hochberg(p_values: ArrayLike) -> Floats:
    """Return the q-value of each test: the false-discovery rate at which it would be kept.

    Benjamini and Hochberg, "Controlling the false discovery rate", Journal of the Royal
    Statistical Society B 57(1), 1995.

    Args:
        p_values: `(n_tests,)`.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(-p, kind="stable")
    ranks = np.arange(p.size, 0, -1)
    q = np.empty_like(p)
    q[order] = np.minimum.accumulate(np.minimum(1.0, p[order] * p.size / ranks))
    return q


def effective_size(weights: ArrayLike) -> float:
    """Return how many equally weighted rows say as much: (sum w)^2 / sum w^2.

    Kish, "Survey Sampling", 1965, section 8.2.

    Args:
        weights: `(n,)`, all positive.
    """
    w = np.asarray(weights, dtype=np.float64)
    return float(w.sum() ** 2 / np.square(w).sum()) if w.size else 0.0


def _occupied(reference: ArrayLike, observed: ArrayLike) -> tuple[Floats, Floats]:
    r, c = np.asarray(reference, dtype=np.float64), np.asarray(observed, dtype=np.float64)
    used = (r + c) > 0
    return r[used], c[used]


def _divergence(p: Floats, middle: Floats) -> float:
    some = p > 0
    return float(np.sum(p[some] * np.log2(p[some] / middle[some])))


def _pool(table: Floats) -> Floats:
    """Pool the columns of *table*, `(2, n_bins)`, until each is large enough."""
    smaller = table.sum(axis=1).min()
    if smaller <= 0:
        return table[:, :1]
    enough = _MIN_EXPECTED * table.sum() / smaller
    pooled: list[Floats] = []
    for bin_ in table.T[np.argsort(table.sum(axis=0), kind="stable")]:
        if pooled and pooled[-1].sum() < enough:
            pooled[-1] = pooled[-1] + bin_
        else:
            pooled.append(bin_)
    if len(pooled) > 1 and pooled[-1].sum() < enough:
        pooled[-2:] = [pooled[-2] + pooled[-1]]
    return np.stack(pooled, axis=1)
