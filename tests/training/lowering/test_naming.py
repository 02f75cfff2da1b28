"""Features are addressed by name, as deep in a candidate as names are known."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    OneHotEncoder,
    StandardScaler,
    TargetEncoder,
)

from mlembed.errors import LoweringError
from mlembed.training import lowering
from training.lowering.agreement import estimator_scores, graph_scores
from training.lowering.candidates import FINAL, ONE_HOT, ORDINAL, hard, target, whole
from training.lowering.transforming import (
    CATEGORIES,
    SPECS,
    distance,
    fit,
    table,
)


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


@pytest.mark.parametrize(
    "encode",
    [
        OneHotEncoder(handle_unknown="ignore"),
        KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"),
        ColumnTransformer([("a", ONE_HOT, ["job", "flag"])], sparse_threshold=1.0),
    ],
    ids=lambda item: type(item).__name__,
)
def test_prepare_makes_dense_what_boosting_reads(encode: Any) -> None:
    """An estimator that takes no sparse matrix gets none; one that does keeps it."""
    x = table(0, missing=0.0)[:, 9:]
    sparse = lowering.prepare(make_pipeline(encode, LogisticRegression()), CATEGORIES)
    assert hasattr(fit(sparse, x, target(table(0)))[0].transform(x), "toarray")

    fitted = fit(lowering.prepare(make_pipeline(encode, FINAL), CATEGORIES), x, target(table(0)))

    got = graph_scores(fitted, x, CATEGORIES)
    assert distance(got, estimator_scores(fitted, x)) <= 1e-9


@pytest.mark.parametrize(
    ("encode", "is_known"),
    [
        (TargetEncoder(target_type="binary"), True),
        (TargetEncoder(), False),
        (KBinsDiscretizer(encode="ordinal"), True),
        (KBinsDiscretizer(), False),
        (SimpleImputer(keep_empty_features=True), True),
        (SimpleImputer(keep_empty_features=True, add_indicator=True), False),
    ],
    ids=repr,
)
def test_names_are_followed_through_steps_that_keep_columns(encode: Any, is_known: bool) -> None:  # noqa: FBT001
    """A step that may add or drop columns ends what is known by name."""
    candidate = make_pipeline(encode, ColumnTransformer([("a", StandardScaler(), ["town"])]), FINAL)

    if is_known:
        assert lowering.prepare(candidate, SPECS)[1].transformers[0][2] == [10]
    else:
        with pytest.raises(LoweringError, match="only the fit tells"):
            lowering.prepare(candidate, SPECS)


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
