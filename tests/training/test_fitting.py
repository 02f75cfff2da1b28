"""A fit is made again by its seed alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import ShuffleSplit, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from mlembed.training.fitting import set_seed

FOLDS = StratifiedKFold(3, shuffle=True)
TREE = DecisionTreeClassifier(max_depth=3)


@pytest.mark.parametrize(
    "estimator",
    [
        CalibratedClassifierCV(TREE, cv=FOLDS),
        make_pipeline(StandardScaler(), CalibratedClassifierCV(TREE, cv=FOLDS)),
        CalibratedClassifierCV(TREE, cv=ShuffleSplit(3)),
    ],
)
def test_set_seed_reaches_the_folds_inside_of_an_estimator(estimator: Any) -> None:
    """The same seed gives the same fit, whatever others draw from NumPy's own generator."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(300, 2)), random.integers(0, 2, 300)
    set_seed(estimator, 1)

    first, second = (estimator.fit(x, y).predict_proba(x) for _ in range(2))

    assert np.array_equal(first, second)


def test_set_seed_leaves_a_seed_and_the_declared_folds_alone() -> None:
    """What the declaration says is neither replaced nor changed in place."""
    own = CalibratedClassifierCV(TREE, cv=StratifiedKFold(3, shuffle=True, random_state=7))
    open_one = CalibratedClassifierCV(TREE, cv=FOLDS)
    for estimator in (own, open_one):
        set_seed(estimator, 1)

    assert own.cv.random_state == 7
    assert FOLDS.random_state is None
