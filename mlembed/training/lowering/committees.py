"""Lower estimators that ask several others: voting, stacking, bagging, one against the rest."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn.base
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from mlembed.errors import LoweringError
from mlembed.training.lowering.calibration import (
    average,
    merged_splits,
    normalised,
    probabilities,
    response,
)
from mlembed.training.lowering.registry import (
    FeatureSpec,
    check,
    class_name,
    decide,
    family_of,
    prepare,
    register,
)
from mlembed.training.lowering.wrappers import check_not_prefit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from mlembed.training.lowering.graph import Builder

    Matrix = NDArray[np.float64]

_DROP = "drop"


def _member(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower one member, and note what its tensor should be."""
    if sklearn.base.is_classifier(estimator) and not hasattr(estimator, "predict_proba"):
        raise LoweringError(
            f"{class_name(estimator)}: gives no probability to take a mean of; calibrate it with "
            "CalibratedClassifierCV"
        )
    tensor = family_of(estimator).lower(estimator, builder, x, specs)
    what = f"the score of the member {type(estimator).__name__}"
    builder.expect(tensor, what, functools.partial(_scores, estimator))
    return tensor


def _scores(estimator: Any, features: Matrix) -> Matrix:
    if hasattr(estimator, "predict_proba"):
        return probabilities(estimator, features)
    return np.reshape(np.asarray(estimator.predict(features), np.float64), (len(features), -1))


def _members(estimator: Any) -> Iterator[Any]:
    return (member for _, member in estimator.estimators if not isinstance(member, str))


def _prepare_members(estimator: Any, specs: Sequence[FeatureSpec]) -> Any:
    ready = [
        (name, member if isinstance(member, str) else prepare(member, specs))
        for name, member in estimator.estimators
    ]
    return sklearn.base.clone(estimator).set_params(estimators=ready)


def _splits_members(estimator: Any) -> dict[int, list[float]]:
    return merged_splits(estimator.estimators_)


def _check_voting(estimator: Any) -> None:
    if getattr(estimator, "voting", "soft") != "soft":
        raise LoweringError(
            f"{class_name(estimator)}: voting='hard' counts labels and gives no probability; "
            "use voting='soft'"
        )
    for member in _members(estimator):
        check(member)


@register(
    VotingClassifier,
    VotingRegressor,
    prepare=_prepare_members,
    check=_check_voting,
    splits=_splits_members,
)
def lower_voting(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower the weighted mean of the members' scores."""
    parts = [_member(member, builder, x, specs) for member in estimator.estimators_]
    weights = estimator.weights
    if weights is not None:
        weights = [
            weight
            for weight, (_, member) in zip(weights, estimator.estimators, strict=True)
            if member != _DROP
        ]
    return average(builder, parts, weights)


def _final(estimator: Any) -> Any:
    if estimator.final_estimator is not None:
        return estimator.final_estimator
    return LogisticRegression() if isinstance(estimator, StackingClassifier) else RidgeCV()


def _check_stacking(estimator: Any) -> None:
    check_not_prefit(estimator)
    if estimator.passthrough:
        raise LoweringError(
            f"{class_name(estimator)}: passthrough=True gives the final estimator missing values "
            "and codes; use passthrough=False"
        )
    if isinstance(estimator, StackingClassifier) and estimator.stack_method == "predict":
        raise LoweringError(
            f"{class_name(estimator)}: stack_method='predict' stacks labels, which have no ONNX form "
            "here; use stack_method='predict_proba'"
        )
    for member in (*_members(estimator), _final(estimator)):
        check(member)


@register(
    StackingClassifier,
    StackingRegressor,
    prepare=_prepare_members,
    check=_check_stacking,
    splits=_splits_members,
)
def lower_stacking(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower the members and the final estimator that reads their scores.

    Raises:
        LoweringError: If the final estimator reads labels of a classifier.
    """
    methods = [method for method in estimator.stack_method_ if method != _DROP]
    parts = [
        _stacked(member, method, builder, x, specs)
        for member, method in zip(estimator.estimators_, methods, strict=True)
    ]
    table = parts[0] if len(parts) == 1 else builder.node("Concat", *parts, axis=1)
    final = estimator.final_estimator_
    names = tuple(FeatureSpec(f"member {i}") for i in range(int(final.n_features_in_)))
    with builder.behind(estimator.transform):
        return family_of(final).lower(final, builder, table, names)


def _stacked(
    member: Any, method: str, builder: Builder, x: str, specs: Sequence[FeatureSpec]
) -> str:
    if method == "decision_function":
        return response(member, builder, x, specs)
    if method == "predict" and sklearn.base.is_classifier(member):
        raise LoweringError(
            f"{class_name(member)}: stacked by its label, which has no ONNX form here; use "
            "stack_method='predict_proba'"
        )
    return _member(member, builder, x, specs)


def _bagged(estimator: Any) -> Any:
    if estimator.estimator is not None:
        return estimator.estimator
    is_classifier = isinstance(estimator, BaggingClassifier)
    return DecisionTreeClassifier() if is_classifier else DecisionTreeRegressor()


def _check_bagging(estimator: Any) -> None:
    check(_bagged(estimator))


def _prepare_bagging(estimator: Any, specs: Sequence[FeatureSpec]) -> Any:
    share = estimator.max_features
    width = share if isinstance(share, int) else max(1, int(share * len(specs)))
    if estimator.bootstrap_features or width < len(specs):
        if any(spec.n_codes for spec in specs):
            raise LoweringError(
                f"{class_name(estimator)}: draws features, so its members cannot know which are "
                "categories; use max_features=1.0 and bootstrap_features=False"
            )
        specs = specs[:width]
    return sklearn.base.clone(estimator).set_params(estimator=prepare(_bagged(estimator), specs))


def _splits_bagging(estimator: Any) -> dict[int, list[float]]:
    splits: dict[int, list[float]] = {}
    for member, drawn in zip(estimator.estimators_, estimator.estimators_features_, strict=True):
        for position, thresholds in family_of(member).splits(member).items():
            splits.setdefault(int(drawn[position]), []).extend(thresholds)
    return splits


@register(
    BaggingClassifier,
    BaggingRegressor,
    prepare=_prepare_bagging,
    check=_check_bagging,
    splits=_splits_bagging,
)
def lower_bagging(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower the mean of members that each read some of the features.

    Raises:
        LoweringError: If the draw of a member lacks a class.
    """
    parts = []
    for member, drawn in zip(estimator.estimators_, estimator.estimators_features_, strict=True):
        if len(getattr(member, "classes_", ())) != len(getattr(estimator, "classes_", ())):
            raise LoweringError(
                f"{class_name(estimator)}: the rows drawn for a member lack a class; raise "
                "max_samples"
            )
        own = [int(position) for position in drawn]
        with builder.behind(functools.partial(np.take, indices=own, axis=1)):
            matrix = builder.select(x, own, len(specs))
            parts.append(_member(member, builder, matrix, [specs[i] for i in own]))
    return average(builder, parts)


def _check_rest(estimator: Any) -> None:
    check(estimator.estimator)


def _prepare_rest(estimator: Any, specs: Sequence[FeatureSpec]) -> Any:
    inner = prepare(estimator.estimator, specs)
    return sklearn.base.clone(estimator).set_params(estimator=inner)


def _decide_rest(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    parts = [decide(member, builder, x, specs) for member in estimator.estimators_]
    return parts[0] if len(parts) == 1 else builder.node("Concat", *parts, axis=1)


@register(
    OneVsRestClassifier,
    prepare=_prepare_rest,
    check=_check_rest,
    splits=_splits_members,
    decision=_decide_rest,
)
def lower_rest(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Lower one classifier a class, their probabilities scaled to a sum of one."""
    parts = [_member(member, builder, x, specs) for member in estimator.estimators_]
    if len(parts) == 1:
        return parts[0]
    return normalised(builder, builder.node("Concat", *parts, axis=1), None)
