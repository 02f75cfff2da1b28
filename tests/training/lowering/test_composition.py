"""Whole pipelines are lowered step by step, with columns chosen by the features' names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.decomposition import PCA
from sklearn.ensemble import AdaBoostClassifier, HistGradientBoostingClassifier
from sklearn.feature_selection import VarianceThreshold
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    TargetEncoder,
)

from mlembed.errors import LoweringError
from mlembed.serving.session import Session
from mlembed.training import lowering
from training.lowering.agreement import estimator_scores, graph_scores
from training.lowering.transforming import (
    CATEGORIES,
    SPECS,
    attack,
    distance,
    error,
    fit,
    ours,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = [spec.name for spec in SPECS]
NUMBERS = ["age", "gain", "since"]
CODES = ["job", "town"]
ORDINAL = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
ONE_HOT = OneHotEncoder(handle_unknown="ignore", min_frequency=20)
FILLED = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
TRANSFORMERS = [
    ColumnTransformer([("a", StandardScaler(), NUMBERS)]),
    ColumnTransformer([("a", StandardScaler(), NUMBERS)], remainder="passthrough"),
    ColumnTransformer([("a", FILLED, NUMBERS), ("b", ONE_HOT, CODES)], remainder=MinMaxScaler()),
    ColumnTransformer([("a", ONE_HOT, CODES)], sparse_threshold=1.0, remainder="drop"),
    ColumnTransformer([("a", "passthrough", "gain"), ("b", "drop", [0]), ("c", ORDINAL, [-2])]),
    ColumnTransformer([("a", StandardScaler(), slice("gain", "id31"))]),
    ColumnTransformer([("a", StandardScaler(), slice(0, 3)), ("b", ORDINAL, slice("job", None))]),
    ColumnTransformer([("a", StandardScaler(), [name == "age" for name in NAMES])]),
    ColumnTransformer([("a", StandardScaler(), make_column_selector(pattern="^id"))]),
    ColumnTransformer(
        [
            ("a", ONE_HOT, make_column_selector(dtype_include="category")),
            ("b", FILLED, make_column_selector(dtype_include=np.number)),
        ],
        transformer_weights={"a": 0.5},
    ),
    ColumnTransformer([("a", ORDINAL, make_column_selector(dtype_exclude=["number"]))]),
    ColumnTransformer([("a", StandardScaler(), []), ("b", StandardScaler(), ["age"])]),
    ColumnTransformer([("a", "drop", ["age"])]),
    ColumnTransformer(
        [
            (
                "in",
                ColumnTransformer([("x", StandardScaler(), ["gain"])], remainder="passthrough"),
                ["age", "gain"],
            )
        ],
        remainder="passthrough",
    ),
    FeatureUnion([("a", StandardScaler()), ("b", "drop"), ("c", "passthrough")]),
    FeatureUnion([("a", FILLED), ("b", MinMaxScaler())], transformer_weights={"b": 3.0}),
    Pipeline([("a", None), ("b", StandardScaler()), ("c", "passthrough")]),
    make_pipeline(
        StandardScaler(), ColumnTransformer([("a", MinMaxScaler(), ["age"])], remainder="drop")
    ),
    make_pipeline(
        SimpleImputer(), ColumnTransformer([("a", StandardScaler(), [0, 2])], remainder="drop")
    ),
    make_pipeline(
        ColumnTransformer([("a", StandardScaler(), ["gain"])], remainder="passthrough"),
        ColumnTransformer([("a", MinMaxScaler(), ["age", "gain"])], remainder="drop"),
    ),
]
FINAL = HistGradientBoostingClassifier(max_iter=15)


def whole(final: Any) -> Any:
    """Return a candidate as a user writes it."""
    return make_pipeline(
        ColumnTransformer(
            [
                ("num", FILLED, ["age", "gain"]),
                ("cat", ONE_HOT, CODES),
                ("te", TargetEncoder(), ["town"]),
            ],
            remainder=SimpleImputer(keep_empty_features=True),
        ),
        StandardScaler(),
        final,
    )


def target(x: Any, n_classes: int = 2) -> Any:
    """Return classes that age, missing values and towns have a say in."""
    filled = np.nan_to_num(x)
    signal = filled[:, 0] / 12 + filled[:, 10] % 3 + np.isnan(x[:, 5])
    return np.searchsorted(np.quantile(signal, np.arange(1, n_classes) / n_classes), signal)


def hard(seed: int) -> Any:
    """Return new rows with unknown codes, rows all missing and values out of range."""
    x = np.vstack([table(seed), attack(table(0)), np.full((1, len(SPECS)), np.nan)])
    x[::9, 10] = 77.0
    return x


@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=lambda item: repr(item)[:60])
def test_composition_keeps_every_bit(transformer: Any) -> None:
    """Columns are chosen, transformed apart and joined in scikit-learn's order."""
    lowering.step_of(transformer).check(transformer)
    prepared = lowering.step_of(transformer).prepare(transformer, SPECS)
    fitted = fit(prepared, table(0))

    assert error(fitted, hard(1), SPECS) == 0.0
    assert len(ours(fitted, table(0)[:0], SPECS)) == 0


@pytest.mark.parametrize(
    "final", [FINAL, LogisticRegression(max_iter=2_000)], ids=["boosting", "logistic"]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_pipeline_scores_agree(final: Any, seed: int) -> None:
    """A candidate of many steps scores like its graph, for two classes."""
    x = table(seed)
    candidate = whole(final)
    lowering.check(candidate)
    fitted = fit(lowering.prepare(candidate, SPECS), x, target(x))
    new = hard(seed + 10)

    assert distance(graph_scores(fitted, new, SPECS), estimator_scores(fitted, new)) <= 1e-9


def test_pipeline_checkpoints_hold() -> None:
    """Each noted tensor is what its step gives, so a failed proof can name the first wrong step."""
    x = table(0)
    fitted = fit(lowering.prepare(whole(FINAL), SPECS), x, target(x))
    names = [item.what for item in lowering.lower_estimator(fitted, SPECS)[1]]
    for number, name in enumerate(names):
        model, checkpoints = lowering.lower_estimator(fitted, SPECS)
        item = checkpoints[number]
        wanted = item.of(table(1))
        if item.tensor == "score":
            continue
        model.graph.output[0].name = item.tensor
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = wanted.shape[1]
        got = Session(lowering.serialize(model)).run_matrix(table(1)).reshape(wanted.shape)
        assert distance(got, wanted) <= 1e-12, name

    assert {
        *("SimpleImputer's output", "StandardScaler's output", "Pipeline's output"),
        *("OneHotEncoder's output", "TargetEncoder's output", "ColumnTransformer's output"),
    } <= set(names)


def test_prepare_leaves_the_candidate_alone() -> None:
    """Names are looked up on a clone."""
    candidate = whole(FINAL)
    before = repr(candidate)

    prepared = lowering.prepare(candidate, SPECS)

    assert repr(candidate) == before
    assert [part[2] for part in prepared[0].transformers] == [[0, 1], [9, 10], [10]]


def test_prepare_adds_nothing_to_a_user_pipeline() -> None:
    """Behind a user's own steps, codes stay what those steps make of them."""
    candidate = make_pipeline(StandardScaler(), HistGradientBoostingClassifier())

    prepared = lowering.prepare(candidate, SPECS)

    assert prepared[-1].categorical_features == "from_dtype"
    assert lowering.prepare(make_pipeline(Ridge()), SPECS).steps[0][0] == "ridge"


def test_prepare_finds_categories_of_the_final_step() -> None:
    """Categories and constraints by name become positions of the matrix the step reads."""
    encode = ColumnTransformer([("a", ORDINAL, ["town", "flag"])], remainder="passthrough")
    final = HistGradientBoostingClassifier(
        categorical_features=["town"], monotonic_cst={"age": 1}, max_iter=5
    )

    prepared = lowering.prepare(make_pipeline(encode, final), SPECS)

    assert prepared[-1].categorical_features == [0]
    assert prepared[-1].monotonic_cst == [0, 0, 1, *[0] * 9]
    x = table(0)
    x[:, 8] = 1.0
    fitted = fit(prepared, x, target(x))
    assert distance(graph_scores(fitted, hard(1), SPECS), estimator_scores(fitted, hard(1))) <= 1e-9


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        (ColumnTransformer([("a", StandardScaler(), ["height"])]), r"'height' is no feature.*age"),
        (ColumnTransformer([("a", StandardScaler(), [40])]), "no column 40"),
        (ColumnTransformer([("a", StandardScaler(), lambda _: [0])]), "function of the table"),
        (
            ColumnTransformer([("a", ORDINAL, make_column_selector(dtype_include="int64"))]),
            "int64",
        ),
        (ColumnTransformer([("a", OneHotEncoder(), ["job"])]), "handle_unknown"),
        (
            make_pipeline(SimpleImputer(), ColumnTransformer([("a", StandardScaler(), ["age"])])),
            "only the fit tells",
        ),
    ],
    ids=lambda item: repr(item)[:50],
)
def test_prepare_refuses_columns_it_cannot_find(candidate: Any, words: str) -> None:
    """A name that is no feature, or that nobody can follow, is refused before the fit."""
    with pytest.raises(LoweringError, match=words):
        lowering.prepare(make_pipeline(candidate, Ridge()), SPECS)


def test_prepare_refuses_categories_nobody_can_follow() -> None:
    """Behind a one-hot encoder the name of a category says no position."""
    final = HistGradientBoostingClassifier(categorical_features=["job"])

    with pytest.raises(LoweringError, match=r"'job' stands behind a step.*give positions"):
        lowering.prepare(make_pipeline(ONE_HOT, final), CATEGORIES)


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        (make_pipeline(StandardScaler(), AdaBoostClassifier()), "AdaBoost"),
        (make_pipeline(KNNImputer(), Ridge()), "KNNImputer"),
        (make_pipeline(ColumnTransformer([("a", KNNImputer(), [0])]), Ridge()), "KNNImputer"),
        (make_pipeline(ColumnTransformer([], remainder=KNNImputer()), Ridge()), "KNNImputer"),
        (make_pipeline(FeatureUnion([("a", KNNImputer())]), Ridge()), "KNNImputer"),
        (make_pipeline(make_pipeline(KNNImputer()), Ridge()), "KNNImputer"),
        (make_pipeline(StandardScaler(), "passthrough"), "predicts nothing"),
        (make_pipeline(StandardScaler(), MinMaxScaler()), "predicts nothing"),
        (make_pipeline(StandardScaler(), Ridge(), memory="cache"), "memory"),
        (make_pipeline(make_pipeline(ORDINAL, memory="cache"), Ridge()), "memory"),
        (make_pipeline(Ridge(), transform_input=["x"]), "transform_input"),
    ],
    ids=lambda item: repr(item)[:60],
)
def test_check_looks_into_every_step(candidate: Any, words: str) -> None:
    """What cannot be lowered is refused by name before any training, however deep it stands."""
    with pytest.raises(LoweringError, match=words):
        lowering.check(candidate)


def test_splits_are_followed_back() -> None:
    """A threshold behind scalers, imputers and chosen columns is one of the original feature."""
    x = table(0)[:, :8]
    specs = SPECS[:8]
    logs = make_pipeline(FunctionTransformer(np.log1p), StandardScaler())
    union = FeatureUnion([("x", MinMaxScaler()), ("y", logs)], transformer_weights={"y": 2.0})
    encode = ColumnTransformer(
        [
            ("c", union, ["id24"]),
            ("a", FILLED, ["gain", "age"]),
            ("b", "passthrough", ["id31"]),
        ],
        transformer_weights={"b": 2.0},
    )
    fitted = fit(lowering.prepare(make_pipeline(encode, FINAL), specs), x, target(table(0)))
    splits = lowering.split_values(fitted, specs)

    assert set(splits) <= {"gain", "age", "id24"}
    assert "age" in splits
    for name, values in splits.items():
        assert _changes(fitted, x, specs, name, values), name


def _changes(fitted: Any, x: Any, specs: Sequence[Any], name: str, values: Sequence[float]) -> bool:
    """Tell whether the score of some row changes within the neighbourhood of a threshold."""
    position = [spec.name for spec in specs].index(name)
    rows = np.repeat(x[:20], len(values), axis=0)
    rows[:, position] = np.tile(values, 20)
    scores = fitted.predict_proba(rows)[:, 1].reshape(20, -1)
    return bool((np.diff(scores, axis=1) != 0).any())


@pytest.mark.parametrize(
    ("steps", "followed"),
    [
        ([VarianceThreshold(), "passthrough"], {"age", "gain"}),
        ([FunctionTransformer(np.sqrt), StandardScaler()], {"age", "gain"}),
        ([FunctionTransformer(np.abs)], set()),
        ([SimpleImputer(missing_values=-1)], set()),
        ([SimpleImputer(add_indicator=True)], {"age", "gain"}),
        ([PCA(2)], set()),
    ],
    ids=repr,
)
def test_splits_are_followed_through_rising_steps_alone(
    steps: list[Any], followed: set[str]
) -> None:
    """What goes up and down, or mixes features, has no threshold on one of them."""
    x = np.abs(table(0, missing=0.0)[:, :2]) + 1
    y = ((x[:, 0] > 40) ^ (x[:, 1] > 60)).astype(int)
    fitted = make_pipeline(*steps, FINAL).fit(x, y)

    splits = lowering.split_values(fitted, SPECS[:2])

    assert set(splits) == followed
    new = np.abs(table(1, missing=0.0)[:, :2]) + 1
    near = [graph_scores(fitted, new, SPECS[:2]), estimator_scores(fitted, new)]
    assert distance(*near) <= 1e-9
