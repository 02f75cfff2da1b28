"""The tree operator branches as it is told, on whole codes, zeros, infinities and the missing."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlembed.errors import LoweringError
from mlembed.serving.session import Session
from mlembed.training import lowering
from mlembed.training.lowering.ensemble import MAX_DEPTH, Ensemble, Mode

if TYPE_CHECKING:
    from collections.abc import Callable

VALUES = np.array(
    [math.nan, -math.inf, math.inf, 0.0, -0.0, 5e-324, -5e-324, 1.0, 2.0, 63.0, 64.0, 65.0, 300.0]
)


def branches(
    grow: Callable[[Ensemble], Any], x: np.ndarray[Any, Any], width: int | None = None
) -> list[bool]:
    """Return whether each value takes the true branch of the split that *grow* makes."""
    ensemble = Ensemble()
    ensemble.add(grow(ensemble))
    builder = lowering.Builder(1)
    model = builder.model(ensemble.lower(builder, "x", width=width), "score", 1)
    scores = Session(lowering.serialize(model)).run_matrix(x.reshape(-1, 1))
    return [bool(score == 1.0) for score in scores]


@pytest.mark.parametrize("nan_is_true", [False, True])
@pytest.mark.parametrize("threshold", VALUES[1:])
@pytest.mark.parametrize("mode", [Mode.LTE, Mode.LT])
def test_split_takes_its_side(mode: Mode, threshold: float, nan_is_true: bool) -> None:  # noqa: FBT001  a case
    """A comparison with any double is that of IEEE 754, and NaN takes the branch it is told."""

    def grow(ensemble: Ensemble) -> Any:
        one, other = ensemble.leaf(1.0), ensemble.leaf(2.0)
        return ensemble.split(0, mode, threshold, one, other, nan_is_true=nan_is_true)

    x = VALUES.copy()
    is_true = x <= threshold if mode is Mode.LTE else x < threshold
    assert branches(grow, x) == np.where(np.isnan(x), nan_is_true, is_true).tolist()


@given(
    members=st.sets(st.one_of(st.integers(0, 260), st.integers(-(2**30), 2**30)), max_size=80),
    nan_is_true=st.booleans(),
    beside=st.booleans(),
)
def test_member_split_takes_its_side(
    members: set[int],
    nan_is_true: bool,  # noqa: FBT001  a case
    beside: bool,  # noqa: FBT001  a case
) -> None:
    """Membership in any set of codes, the empty one too, is that of Python."""
    near = np.array([member + step for member in members for step in (-1, 0, 1)], dtype=float)
    x = np.concatenate([np.arange(-50.0, 300.0), near, [math.nan]])

    def grow(ensemble: Ensemble) -> Any:
        one, other = ensemble.leaf(1.0), ensemble.leaf(2.0)
        if beside:
            other = ensemble.split(0, Mode.LTE, 1e9, other, ensemble.leaf(3.0), nan_is_true=True)
        return ensemble.member_split(0, list(members), one, other, nan_is_true=nan_is_true)

    expected = [nan_is_true if math.isnan(value) else value in members for value in x]
    assert branches(grow, x) == branches(grow, x, width=1) == expected


def test_add_refuses_a_tree_no_host_could_load() -> None:
    """The runtime recurses into a tree; one that could end its process is never published."""

    def grow(depth: int) -> list[bool]:
        def chain(ensemble: Ensemble) -> Any:
            node = ensemble.leaf(1.0)
            for number in range(depth):
                node = ensemble.split(0, Mode.LTE, number, node, ensemble.leaf(2.0))
            return node

        return branches(chain, np.array([-1.0, 0.5]))

    assert grow(MAX_DEPTH) == [True, False]
    with pytest.raises(LoweringError, match=r"1001 splits deep.*set max_depth"):
        grow(MAX_DEPTH + 1)


@pytest.mark.parametrize("code", [0.5, -1.5, 2.0**31, -(2.0**40), 2.0**53])
def test_member_split_refuses_what_the_runtime_cannot_compare(code: float) -> None:
    """A category by fractions or huge numbers is refused, not rounded to another."""
    ensemble = Ensemble()

    with pytest.raises(LoweringError, match="codes from 0 up"):
        ensemble.member_split(0, [1.0, code], ensemble.leaf(1.0), ensemble.leaf(2.0))


def test_boosting_libraries_are_imported_for_their_own_candidates_only() -> None:
    """A trainer that uses neither LightGBM nor XGBoost loads neither."""
    script = """
import sys
from mlembed.training import lowering
from sklearn.ensemble import HistGradientBoostingClassifier as Boosted
lowering.prepare(Boosted(), [lowering.FeatureSpec("a")])
print({"lightgbm", "xgboost"} & set(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )

    assert done.stdout.strip() == "set()"


def test_check_names_what_can_be_lowered_without_importing_it() -> None:
    """The remedy names the classes of the optional libraries too."""
    with pytest.raises(LoweringError, match=r"LGBMClassifier, .*XGBClassifier"):
        lowering.check(object())
