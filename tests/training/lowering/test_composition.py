"""Whole pipelines are lowered step by step, and checked to the last step before training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import AdaBoostClassifier
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    StandardScaler,
)

from mlembed.errors import LoweringError
from mlembed.serving.session import Session
from mlembed.training import lowering
from training.lowering.agreement import estimator_scores, graph_scores
from training.lowering.candidates import (
    CODES,
    FILLED,
    FINAL,
    NAMES,
    NUMBERS,
    ONE_HOT,
    ORDINAL,
    hard,
    target,
    whole,
)
from training.lowering.transforming import (
    SPECS,
    distance,
    error,
    fit,
    ours,
    table,
)

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
@pytest.mark.parametrize(("seed", "n_classes"), [(0, 2), (1, 2), (2, 4)])
def test_pipeline_scores_agree(final: Any, seed: int, n_classes: int) -> None:
    """A candidate of many steps scores like its graph, for two classes and for more."""
    x = table(seed)
    candidate = whole(final)
    lowering.check(candidate)
    fitted = fit(lowering.prepare(candidate, SPECS), x, target(x, n_classes))
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
