"""The interval of a share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlembed.monitoring.shares import wilson


@given(st.integers(0, 200), st.integers(1, 200))
def test_wilson_is_scipys(k: int, n: int) -> None:
    """Both ends are those of SciPy's Wilson interval."""
    k = min(k, n)

    expected = stats.binomtest(k, n).proportion_ci(0.95, "wilson")

    assert wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_wilson_holds_the_share_itself() -> None:
    """However a sum of doubles is rounded, none and all are within."""
    for n in range(1, 2000):
        assert (wilson(0, n)[0], wilson(n, n)[1]) == (0.0, 1.0)


def test_wilson_of_nothing_says_nothing() -> None:
    """Without a case the share may be any."""
    assert wilson(0, 0) == (0.0, 1.0)
