"""Trees and forests score like their graphs, on values that their cast to float32 would move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

from mlembed.errors import LoweringError
from mlembed.training import lowering
from mlembed.training.lowering.registry import family_of
from mlembed.training.lowering.trees.nodes import last_left
from training.lowering.hardships import (
    SPECS,
    WHOLE,
    differ,
    error,
    fit,
    graph_scores,
    own_scores,
    table,
    target,
)

if TYPE_CHECKING:
    from collections.abc import Callable

N = {"n_estimators": 12}
CLASSIFIERS = [
    DecisionTreeClassifier(),
    DecisionTreeClassifier(max_leaf_nodes=20, criterion="entropy", class_weight="balanced"),
    DecisionTreeClassifier(splitter="random", ccp_alpha=0.001),
    ExtraTreeClassifier(),
    ExtraTreeClassifier(splitter="best", min_samples_leaf=5),
    RandomForestClassifier(**N),
    RandomForestClassifier(**N, min_samples_leaf=5, max_samples=0.5, criterion="log_loss"),
    RandomForestClassifier(**N, class_weight="balanced_subsample", max_features=None),
    RandomForestClassifier(**N, bootstrap=False, max_depth=3),
    ExtraTreesClassifier(**N),
    ExtraTreesClassifier(**N, bootstrap=True, min_samples_leaf=3, class_weight="balanced"),
]
REGRESSORS = [
    DecisionTreeRegressor(),
    DecisionTreeRegressor(criterion="absolute_error", max_leaf_nodes=20),
    DecisionTreeRegressor(criterion="poisson", min_samples_leaf=5),
    ExtraTreeRegressor(),
    ExtraTreeRegressor(splitter="best", min_samples_leaf=5),
    RandomForestRegressor(**N),
    RandomForestRegressor(**N, criterion="absolute_error", max_depth=5),
    RandomForestRegressor(**N, criterion="poisson", max_features=0.5),
    ExtraTreesRegressor(**N),
    ExtraTreesRegressor(**N, bootstrap=True, max_samples=50, min_samples_leaf=3),
]
MONOTONIC = [1, 0, 0, -1, *[0] * 7]


def clean(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return *x* with nothing missing."""
    return np.where(np.isnan(x), 0.0, x)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("kind", ["binary", "multiclass"])
@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=str)
def test_forest_keeps_probabilities_to_the_bit(estimator: Any, kind: str, seed: int) -> None:
    """A classifier's graph gives its very probabilities, so ties of votes stay ties."""
    fitted = fit(estimator.set_params(random_state=seed), kind, seed)

    assert differ(fitted, seed) == 0


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("estimator", REGRESSORS, ids=str)
def test_forest_keeps_predictions_to_the_bit(estimator: Any, seed: int) -> None:
    """A regressor's graph gives its very predictions, whatever the criterion."""
    fitted = fit(estimator.set_params(random_state=seed), "regression", seed)

    assert differ(fitted, seed) == 0


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(**N, monotonic_cst=MONOTONIC, random_state=0),
        ExtraTreesClassifier(**N, monotonic_cst=MONOTONIC, random_state=0),
        RandomForestRegressor(**N, monotonic_cst=MONOTONIC, random_state=0),
        DecisionTreeRegressor(monotonic_cst=MONOTONIC, random_state=0),
    ],
    ids=str,
)
def test_forest_keeps_monotonic_constraints(estimator: Any) -> None:
    """Constrained trees are lowered as they grew."""
    kind = "binary" if hasattr(estimator, "predict_proba") else "regression"

    assert differ(fit(estimator, kind, 0), 0) == 0


@pytest.mark.parametrize("estimator", [*CLASSIFIERS, *REGRESSORS], ids=str)
def test_forest_sends_unforeseen_missing_values_its_way(estimator: Any) -> None:
    """Where the fit saw nothing missing, a missing value goes where scikit-learn sends it."""
    kind = "binary" if hasattr(estimator, "predict_proba") else "regression"
    x = clean(table(0)[:, : len(SPECS)])
    estimator = lowering.prepare(estimator.set_params(random_state=0), SPECS)
    fitted = estimator.fit(x, target(table(0), 0, kind))

    assert differ(fitted, 0) == 0


def test_forest_keeps_labels_where_votes_tie() -> None:
    """Labels are the estimator's, ties of votes included: the first of equal classes wins."""
    fitted = fit(RandomForestClassifier(n_estimators=4, random_state=0), "multiclass", 0)
    x = table(7, 3_000)[:, : len(SPECS)]
    ours = graph_scores(fitted, SPECS, x)

    best = np.sort(ours, axis=1)
    assert np.count_nonzero(best[:, -1] == best[:, -2]) > 30
    assert (fitted.classes_[ours.argmax(axis=1)] == fitted.predict(x)).all()


def test_forest_of_two_classes_ties_at_one_half() -> None:
    """A vote of exactly one half is one half in the graph; scikit-learn then says the first."""
    fitted = fit(RandomForestClassifier(n_estimators=10, random_state=0), "binary", 0)
    x = table(7, 3_000)[:, : len(SPECS)]
    ours = graph_scores(fitted, SPECS, x)[:, 0]

    ties = ours == 0.5
    assert ties.any()
    assert ((ours > 0.5) == fitted.predict(x).astype(bool))[~ties].all()
    assert not fitted.predict(x)[ties].any()


@pytest.mark.parametrize(
    "make",
    [
        lambda: RandomForestRegressor(n_estimators=3, min_samples_leaf=400),
        lambda: DecisionTreeRegressor(max_depth=1),
        lambda: DecisionTreeClassifier(min_samples_leaf=400),
    ],
)
def test_forest_keeps_stumps_and_single_leaves(make: Callable[[], Any]) -> None:
    """A tree of one leaf, or of two, is a tree."""
    estimator = make().set_params(random_state=0)
    kind = "binary" if hasattr(estimator, "predict_proba") else "regression"

    assert differ(fit(estimator, kind, 0), 0) == 0


def test_forest_keeps_large_trees() -> None:
    """A tree of thousands of leaves keeps each of them."""
    random = np.random.default_rng(0)
    x = table(0, 4_000)[:, : len(SPECS)]
    fitted = lowering.prepare(DecisionTreeRegressor(random_state=0), SPECS)
    fitted = fitted.fit(x, random.normal(size=4_000))

    assert fitted["estimator"].get_n_leaves() > 2_000
    assert differ(fitted, 0) == 0


@pytest.mark.parametrize("column", [0, 2, 8, 9])
def test_forest_takes_one_feature_and_one_row(column: int) -> None:
    """One feature is enough, be it missing throughout, and so is one row."""
    x, spec = table(0)[:, [column]], SPECS[column]
    estimator = lowering.prepare(RandomForestClassifier(**N, random_state=0), (spec,))
    fitted = estimator.fit(x, target(table(0), 0, "binary"))

    for rows in (x[:1], x):
        assert error(graph_scores(fitted, (spec,), rows), own_scores(fitted, rows)) == 0


@given(
    threshold=st.one_of(
        st.floats(-1e39, 1e39),
        st.floats(width=32, allow_nan=False, allow_infinity=False).map(float),
        st.sampled_from([0.0, -0.0, 5e-324, 1e-45, 3.4028234663852886e38, -np.inf, np.inf]),
    ),
    ulps=st.integers(-3, 3),
)
def test_last_left_is_the_side_of_the_cast(threshold: float, ulps: int) -> None:
    """A double is left of the split exactly where its cast to float32 is left of the threshold."""
    split = float(last_left(np.array([threshold]))[0])
    x = split
    for _ in range(abs(ulps)):
        x = float(np.nextafter(x, np.inf * ulps))

    with np.errstate(over="ignore", under="ignore"):
        assert (float(np.float32(x)) <= threshold) == (x <= split)


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(**N, random_state=0),
        ExtraTreesRegressor(**N, random_state=0),
        DecisionTreeClassifier(random_state=0),
        ExtraTreeRegressor(splitter="best", random_state=0),
    ],
    ids=str,
)
def test_forest_takes_what_no_float32_holds(estimator: Any) -> None:
    """Huge and infinite values, which scikit-learn refuses, count as the largest float32."""
    kind = "binary" if hasattr(estimator, "predict_proba") else "regression"
    fitted = fit(estimator, kind, 0, WHOLE)
    x = table(3)
    x[::2, :9] = np.inf
    x[1::3, :9] = -np.inf

    assert 11 in family_of(fitted).splits(fitted)
    assert differ(fitted, 0, WHOLE) == differ(fitted, 0, WHOLE, x=x) == 0


def test_forest_refuses_several_outputs() -> None:
    """Several outputs are no score."""
    x = clean(table(0)[:, :2])
    fitted = RandomForestRegressor(n_estimators=2).fit(x, x)

    with pytest.raises(LoweringError, match="2 outputs, expected one; train one model"):
        lowering.lower_estimator(fitted, SPECS[:2])


def test_forest_refuses_one_class() -> None:
    """One class leaves nothing to tell apart."""
    x = clean(table(0)[:, :2])
    fitted = RandomForestClassifier(n_estimators=2).fit(x, np.zeros(len(x)))

    with pytest.raises(LoweringError, match="one class"):
        lowering.lower_estimator(fitted, SPECS[:2])
