"""Prove a fitted estimator at both levels: from raw rows, and from its own features.

Raw rows cannot put a computed feature right on a threshold; the estimator's own matrix can.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import importlib.metadata
from typing import TYPE_CHECKING, Any

import onnx

from mlembed.columns import Column
from mlembed.serving.session import Session
from mlembed.training import lowering
from mlembed.training.blame import Blame, find_blame
from mlembed.training.branches import branch_probes
from mlembed.training.lowering.nesting import modules_of, tolerance_of
from mlembed.training.probes import N_HELDOUT, probes, spread
from mlembed.training.proof import Group, Kind, Proof, compare, estimator_scores, prove

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mlembed.features import Transform
    from mlembed.training.lowering import Checkpoint, FeatureSpec

    Matrix = NDArray[np.float64]

# The kinds of rows that are tried on the estimator's own features, where some are computed.
OF_TREES = ("branches", "branches_missing")
OF_FEATURES = ("foreign_missing", "splits", "all_splits", "recombined", *OF_TREES)
_PACKAGES = ("numpy", "scipy", "scikit-learn", "onnx", "onnxruntime", "protobuf")
_OPTIONAL = ("lightgbm", "xgboost", "skl2onnx")


def prove_estimator(  # noqa: PLR0913  an estimator, what it reads, and how strictly
    estimator: Any,
    columns: Sequence[Column],
    transforms: Mapping[str, Transform],
    features: Sequence[str],
    x_heldout: Matrix,
    *,
    kind: Kind,
    threshold: float | None = None,
    seed: int = 0,
    model: bytes | None = None,
) -> Proof:
    """Lower a fitted estimator and compare the graph with it.

    Args:
        estimator: Fitted on the matrix of `lower_features`; made by `lowering.prepare`.
        columns: The columns of the row, in order.
        transforms: Declared transforms by name.
        features: Names of the estimator's features, in order.
        x_heldout: Rows the fit never saw, `(n_records, n_columns)`.
        kind: See `prove`.
        threshold: Score from which a row gets the positive label; None counts no labels.
        seed: Seed of the random rows.
        model: Bytes of the graph that will serve, if they were made before.

    Raises:
        ProofError: If graph and estimator differ; names the rows and the first node that differs.
        LoweringError: If the estimator has no exact ONNX form.
    """
    if model is None:
        model = lowering.serialize(lowering.lower(estimator, columns, transforms, features))
    features_model = lowering.serialize(lowering.lower_features(columns, transforms, features))
    specs = lowering.feature_specs(columns, transforms, features)
    splits = lowering.split_values(estimator, specs)
    features_of = functools.partial(_features, Session(features_model))
    tolerance, reason = tolerance_of(estimator)
    proof = prove(
        model,
        estimator_scores(estimator, features_model),
        x_heldout,
        columns,
        kind=kind,
        splits=splits,
        threshold=threshold,
        tolerance=tolerance,
        seed=seed,
        blame=_blamer(
            model,
            estimator,
            lambda: lowering.trace(estimator, columns, transforms, features)[1],
            features_of,
            names=features,
            tolerance=tolerance,
        ),
    )
    raw = {column.name for column in columns}
    groups = proof.groups + prove_features(
        estimator,
        specs,
        features_of(spread(x_heldout, N_HELDOUT)),
        kind=kind,
        splits={name: values for name, values in splits.items() if name not in raw},
        threshold=threshold,
        seed=seed,
        groups=OF_TREES if raw.issuperset(features) else OF_FEATURES,
    )
    ops = collections.Counter(node.op_type for node in onnx.load_from_string(model).graph.node)
    return dataclasses.replace(
        proof,
        groups=groups,
        tolerance_reason=reason,
        ops=dict(sorted(ops.items())),
        versions=versions(estimator),
    )


def prove_features(
    estimator: Any,
    specs: Sequence[FeatureSpec],
    heldout: Matrix,
    *,
    kind: Kind,
    splits: Mapping[str, Sequence[float]],
    threshold: float | None = None,
    seed: int = 0,
    groups: Sequence[str] = OF_FEATURES,
) -> tuple[Group, ...]:
    """Compare the graph of an estimator alone with it, on matrices of its own features.

    Args:
        estimator: The fitted estimator.
        specs: Its features, in order.
        heldout: Features of rows the fit never saw, `(n_records, n_features)`.
        kind: See `prove`.
        splits: Thresholds to probe, by feature.
        threshold: Score from which a row gets the positive label; None counts no labels.
        seed: Seed of the random rows.
        groups: The kinds of rows to try.

    Raises:
        ProofError: If the two differ.
    """
    graph, checkpoints = lowering.lower_estimator(estimator, specs)
    model, (tolerance, _) = lowering.serialize(graph), tolerance_of(estimator)
    found = probes(heldout, [_column(spec) for spec in specs], splits, seed=seed)
    codes = {position for position, spec in enumerate(specs) if spec.n_codes}
    found |= {probe.name: probe for probe in branch_probes(graph, heldout, codes)}
    names = [spec.name for spec in specs]
    return compare(
        model,
        estimator_scores(estimator, None),
        [
            dataclasses.replace(found[name], name=f"feature_{name}")
            for name in groups
            if name in found
        ],
        names=names,
        kind=kind,
        threshold=threshold,
        tolerance=tolerance,
        blame=_blamer(
            model, estimator, lambda: checkpoints, lambda x: x, names=names, tolerance=tolerance
        ),
    )


def _features(session: Session, x: Matrix) -> Matrix:
    return session.run_matrix(x).reshape(len(x), -1)


def _blamer(
    model: bytes,
    estimator: Any,
    checkpoints: Callable[[], Sequence[Checkpoint]],
    features_of: Callable[[Matrix], Matrix],
    *,
    names: Sequence[str],
    tolerance: float,
) -> Callable[[Matrix], Blame | None]:
    """Return a function that finds the wrong node; what it needs is made when it is called."""

    def blame(x: Matrix) -> Blame | None:
        known = [*checkpoints(), _checkpoint(estimator)]
        return find_blame(model, x, known, features_of, names=names, tolerance=tolerance)

    return blame


def _checkpoint(estimator: Any) -> Checkpoint:
    predict = estimator_scores(estimator, None)
    return lowering.Checkpoint("score", f"the score of {type(estimator).__name__}", predict)


def _column(spec: FeatureSpec) -> Column:
    if not spec.n_codes:
        return Column(name=spec.name, kind="number")
    return Column(name=spec.name, kind="category", vocabulary=tuple(map(str, range(spec.n_codes))))


def versions(estimator: Any) -> dict[str, str]:
    """Return the version of each library a proof of *estimator* rests on, those it uses among them."""
    used = {part.split(".")[0] for part in modules_of(estimator)}
    names = [*_PACKAGES, *(name for name in _OPTIONAL if name in used)]
    return {name: importlib.metadata.version(name) for name in names}
