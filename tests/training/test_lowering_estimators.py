"""Every estimator that can be lowered scores like its graph, and the others are named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import sklearn.base
from sklearn.ensemble import (
    AdaBoostClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import (
    ElasticNet,
    GammaRegressor,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlembed.columns import Column
from mlembed.errors import LoweringError
from mlembed.features import difference, log1p
from mlembed.serving.session import Session
from mlembed.training import lowering
from mlembed.training.lowering import registry
from mlembed.training.proof import Proof, estimator_scores, prove
from training.census import COLUMNS, FEATURES, NAMES, TRANSFORMS, Fitted, table, target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.training.lowering import Builder, FeatureSpec

pytestmark = pytest.mark.filterwarnings("ignore:.*converge.*")

BINARY = [
    HistGradientBoostingClassifier(max_iter=30),
    HistGradientBoostingClassifier(max_iter=60, early_stopping=True, random_state=0),
    HistGradientBoostingClassifier(max_iter=5, monotonic_cst={"age": 1, "log_gain": -1}),
    HistGradientBoostingClassifier(max_iter=1, min_samples_leaf=10_000),
    HistGradientBoostingClassifier(max_iter=3, max_leaf_nodes=None, min_samples_leaf=1),
    LogisticRegression(max_iter=200),
    LogisticRegression(max_iter=200, class_weight="balanced", solver="liblinear"),
    MLPClassifier((8, 4), max_iter=20, early_stopping=True, random_state=0),
    MLPClassifier((8,), activation="tanh", max_iter=20, early_stopping=True, random_state=0),
    MLPClassifier((8,), activation="logistic", max_iter=20, early_stopping=True, random_state=0),
]
REGRESSION = [
    HistGradientBoostingRegressor(max_iter=30),
    HistGradientBoostingRegressor(max_iter=30, loss="absolute_error"),
    HistGradientBoostingRegressor(max_iter=30, loss="quantile", quantile=0.9),
    HistGradientBoostingRegressor(max_iter=30, loss="poisson"),
    HistGradientBoostingRegressor(max_iter=30, loss="gamma"),
    HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=10_000, loss="poisson"),
    ElasticNet(alpha=0.1),
    GammaRegressor(max_iter=500),
    HuberRegressor(max_iter=2_000),
    Lasso(alpha=0.1),
    LinearRegression(),
    PoissonRegressor(max_iter=500),
    QuantileRegressor(alpha=0.01),
    Ridge(),
    MLPRegressor(hidden_layer_sizes=(8,), max_iter=20, early_stopping=True, random_state=0),
]


def describe(estimator: Any) -> str:
    """Name a case by class and settings."""
    return str(estimator).replace("\n", "").replace(" ", "")


def proven(fitted: Fitted, kind: Any, seed: int) -> Proof:
    """Prove *fitted* on rows its fit never saw, among them codes it never saw."""
    x = table(seed + 1_000, 300)
    x[::7, 6] = 6.0
    x[::11, 7] = 85.0
    return prove(
        fitted.model,
        estimator_scores(fitted.estimator, fitted.features_model),
        x,
        COLUMNS,
        kind=kind,
        splits=lowering.split_values(fitted.estimator, fitted.specs),
        threshold=0.5,
        seed=seed,
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("estimator", BINARY, ids=describe)
def test_lower_keeps_probabilities(estimator: Any, seed: int) -> None:
    """A classifier's graph gives its probability of the second class on every kind of row."""
    assert proven(Fitted(estimator, kind="binary", seed=seed), "binary", seed).passed


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("estimator", REGRESSION, ids=describe)
def test_lower_keeps_predictions(estimator: Any, seed: int) -> None:
    """A regressor's graph gives its predictions, whatever the loss and its link."""
    assert proven(Fitted(estimator, kind="regression", seed=seed), "regression", seed).passed


@pytest.mark.parametrize(
    "features",
    [
        (*NAMES[:2], *NAMES[3:]),
        ("town",),
        ("job", "town"),
        ("age",),
        ("hour_cos",),
        ("town", "age", "job", "account"),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "estimator",
    [HistGradientBoostingClassifier(max_iter=10), LogisticRegression(), BINARY[7]],
    ids=describe,
)
def test_lower_takes_any_features(estimator: Any, features: tuple[str, ...]) -> None:
    """Numbers alone, categories alone, one feature or columns in another order are all lowered."""
    assert proven(Fitted(estimator, kind="binary", features=features), "binary", 0).passed


@pytest.mark.parametrize("estimator", [LogisticRegression(), BINARY[7]], ids=describe)
@pytest.mark.parametrize("features", [NAMES, ("empty",), ("empty", "job")], ids=str)
def test_lower_fills_a_column_missing_throughout(estimator: Any, features: tuple[str, ...]) -> None:
    """A column the fit saw no value of keeps its place and counts for nothing."""
    assert proven(Fitted(estimator, kind="binary", features=features), "binary", 0).passed


def test_lower_linear_model_fitted_without_encoding() -> None:
    """A linear model on a matrix without NaN or codes needs no wrapping."""
    x = table(0)[:, [0, 5]]
    columns = (COLUMNS[0], COLUMNS[5])
    estimator = LogisticRegression().fit(x, target(table(0), 0, "binary"))

    model = lowering.serialize(lowering.lower(estimator, columns, {}, ("age", "member")))

    scores = Session(model).run_matrix(x)
    assert np.abs(scores - estimator.predict_proba(x)[:, 1]).max() <= 1e-12


@pytest.mark.parametrize("estimator", [BINARY[0], BINARY[5], BINARY[7]], ids=describe)
def test_lower_gives_the_same_bytes(estimator: Any) -> None:
    """The same estimator, lowered twice, gives the same bytes."""
    fitted = Fitted(estimator, kind="binary")

    again = lowering.serialize(lowering.lower(fitted.estimator, COLUMNS, TRANSFORMS, FEATURES))

    assert again == fitted.model


def test_lower_gives_the_same_bytes_in_another_process() -> None:
    """No hash seed, address or clock enters the bytes."""
    script = (
        "import hashlib; from training.census import Fitted;"
        "from sklearn.ensemble import HistGradientBoostingClassifier as H;"
        "m = Fitted(H(max_iter=5), kind='binary').model;"
        "print(hashlib.sha256(m).hexdigest())"
    )
    root = Path(__file__).parents[2]
    digests = set()
    for hash_seed in ("1", "2"):
        environment = os.environ | {
            "PYTHONHASHSEED": hash_seed,
            "PYTHONPATH": f"{root}{os.pathsep}{Path(__file__).parents[1]}",
        }
        run = subprocess.run(
            [sys.executable, "-c", script], env=environment, check=True, capture_output=True
        )
        digests.add(run.stdout)

    assert len(digests) == 1


def test_lower_features_begins_the_full_graph() -> None:
    """The features graph and the full graph begin with the same nodes."""
    fitted = Fitted(LogisticRegression(), kind="binary")
    features = lowering.lower_features(COLUMNS, TRANSFORMS, FEATURES).graph.node
    full = lowering.lower(fitted.estimator, COLUMNS, TRANSFORMS, FEATURES).graph.node

    assert [node.SerializeToString() for node in features[:-1]] == [
        node.SerializeToString() for node in full[: len(features) - 1]
    ]
    assert features[-1].op_type == full[len(features) - 1].op_type


def test_check_names_an_unknown_class() -> None:
    """An estimator without an exact form is refused before any training, with the remedy."""
    with pytest.raises(LoweringError, match=r"AdaBoostClassifier has no exact ONNX form.*register"):
        lowering.check(AdaBoostClassifier())


def test_check_offers_no_class_that_only_a_preparation_makes() -> None:
    """The remedy names classes that a user can write."""
    lowering.family_of(
        lowering.prepare(HistGradientBoostingClassifier(), [lowering.FeatureSpec("age")])
    )

    with pytest.raises(LoweringError) as raised:
        lowering.check(AdaBoostClassifier())

    offered = str(raised.value).partition("Use one of")[2]
    assert "HistGradientBoostingClassifier" in offered
    assert "Guarded" not in offered
    assert "mlembed" not in {item.__module__.partition(".")[0] for item in lowering.registered()}


def test_check_offers_no_class_that_is_refused() -> None:
    """The remedy names no estimator and no step that would be refused in turn."""
    stranger = type("Stranger", (StandardScaler,), {})()

    with pytest.raises(LoweringError, match="Use one of") as estimator:
        lowering.check(AdaBoostClassifier())
    with pytest.raises(LoweringError, match="Use one of") as step:
        lowering.check(make_pipeline(stranger, Ridge()))

    assert "KNeighborsClassifier" not in str(estimator.value)
    assert "StandardScaler" in str(step.value)
    assert "KNNImputer" not in str(step.value)


def test_check_refuses_a_subclass() -> None:
    """A subclass may predict differently, so its parent's lowering does not count."""
    doubled = type("Doubled", (Ridge,), {})

    with pytest.raises(LoweringError, match="Doubled"):
        lowering.check(doubled())


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (HistGradientBoostingRegressor(loss="tweedie"), "loss"),
        (make_pipeline(StandardScaler(), AdaBoostClassifier()), "AdaBoost"),
    ],
    ids=describe,
)
def test_check_names_a_setting(estimator: Any, words: str) -> None:
    """A setting that cannot be lowered is refused before any training."""
    with pytest.raises(LoweringError, match=words):
        lowering.check(estimator)


def test_check_accepts_what_can_be_lowered() -> None:
    """Nothing that the other tests prove is refused."""
    for estimator in BINARY + REGRESSION:
        lowering.check(estimator)


def test_lower_takes_a_pipeline_of_the_user() -> None:
    """A pipeline the trainer did not make is lowered step by step, without the wrapping."""
    x = table(0)[:, [0, 5]]
    estimator = make_pipeline(StandardScaler(), Ridge()).fit(x, x[:, 0])

    model = lowering.lower(estimator, (COLUMNS[0], COLUMNS[5]), {}, ("age", "member"))

    assert [node.op_type for node in model.graph.node] == ["Sub", "Div", "Gemm"]
    scores = Session(lowering.serialize(model)).run_matrix(x)
    assert np.abs(scores - estimator.predict(x)).max() <= 1e-12


def test_prepare_leaves_the_estimator_alone() -> None:
    """What the user wrote is cloned, never fitted or changed."""
    estimator = HistGradientBoostingClassifier(max_iter=2, monotonic_cst={"age": 1})
    before = repr(estimator)

    prepared = lowering.prepare(estimator, lowering.feature_specs(COLUMNS, {}, NAMES))

    assert repr(estimator) == before
    assert prepared.categorical_features == [6, 7]
    assert prepared.monotonic_cst == [1, 0, 0, 0, 0, 0, 0, 0]


def test_prepare_names_an_unknown_constraint() -> None:
    """A monotonic constraint on a feature that does not exist is refused by name."""
    estimator = HistGradientBoostingClassifier(monotonic_cst={"height": 1})

    with pytest.raises(LoweringError, match="height"):
        lowering.prepare(estimator, lowering.feature_specs(COLUMNS, {}, NAMES))


@pytest.mark.parametrize(
    ("transforms", "features", "words"),
    [
        ({}, (), "no features"),
        ({}, ("height",), "'height' is no column or transform"),
        ({"age": log1p("gain")}, ("age",), "'age' is declared twice"),
        ({}, ("age", "age"), "'age' is used twice"),
        ({"job_log": log1p("job")}, ("job_log",), "reads 'job', which is category"),
        ({"d": difference("age", "height")}, ("d",), "reads 'height', which is no column"),
    ],
)
def test_feature_specs_names_the_problem(
    transforms: dict[str, Any], features: tuple[str, ...], words: str
) -> None:
    """Names that fit no declaration are refused before anything is computed."""
    with pytest.raises(LoweringError, match=words):
        lowering.lower_features(COLUMNS, transforms, features)


class Constant(sklearn.base.BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Predicts twice the first feature; a user's own estimator."""

    def fit(self, x: Any, y: Any) -> Constant:
        """Learn nothing."""
        del x, y
        return self

    def predict(self, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return twice the first feature."""
        return x[:, 0] * 2.0


def test_register_teaches_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own estimator is lowered by the function registered for it."""
    monkeypatch.setattr(registry, "_FAMILIES", dict(registry._FAMILIES))

    @lowering.register(Constant)
    def lower_constant(
        estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]
    ) -> str:
        del estimator
        return builder.node("Mul", builder.select(x, [0], len(specs)), builder.constant(2.0))

    columns = (Column(name="a", kind="number"), Column(name="b", kind="number"))
    estimator = lowering.prepare(Constant(), lowering.feature_specs(columns, {}, ("a", "b")))
    model = lowering.serialize(lowering.lower(estimator, columns, {}, ("a", "b")))
    x = np.array([[1.0, 2.0], [3.0, 4.0]])

    assert Session(model).run_matrix(x).tolist() == estimator.predict(x).tolist()
