"""Prove that a graph and the estimator it came from give the same scores.

Held-out rows show what is usual; the other groups are where conversions break: missing values,
codes nobody has seen, the two sides of every split, ids that a float would round. A bundle is
published only with a proof that passed.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import sklearn.base

from mlembed.errors import ProofError
from mlembed.serving.session import Session
from mlembed.training import difference
from mlembed.training.lowering.registry import TOLERANCE
from mlembed.training.probes import probes
from mlembed.training.sides import both_sides

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from mlembed.columns import Column
    from mlembed.training.blame import Blame
    from mlembed.training.probes import Probe

    Matrix = NDArray[np.float64]
    Scores = NDArray[np.float64]

__all__ = ["TOLERANCE", "Group", "Kind", "Proof", "compare", "estimator_scores", "prove"]

Kind = Literal["binary", "multiclass", "regression"]
_ROWS_NAMED = 10
_ROWS_BLAMED = 64


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rows of one kind and how far the two sides were apart on them.

    Attributes:
        name: What the rows probe.
        n_rows: How many there were.
        max_abs_error: Largest difference; for regression relative to max(1, |score|).
        label_disagreements: Rows that fell on different sides of the threshold, or whose likeliest
            class differs.
        threshold_ties: Rows whose score is the threshold to within the tolerance, or whose two
            likeliest classes tie; only there can labels disagree when the scores do not.
        not_numbers: Rows on which both sides give NaN.
        refused: Rows that no host can send and the estimator does not take; they are not compared.
    """

    name: str
    n_rows: int
    max_abs_error: float
    label_disagreements: int
    threshold_ties: int
    not_numbers: int = 0
    refused: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Evidence that the graph is the estimator.

    Attributes:
        tolerance: Largest difference allowed.
        seed: Seed of the random rows.
        groups: One entry a kind of rows.
        tolerance_reason: Why it is not 1e-9, where it is not.
        n_heldout: Rows held out of the fit; the group `heldout` has at most 10,000 of them.
        ops: How many nodes of each operator the graph has.
        versions: Version of each library that took part.
    """

    tolerance: float
    seed: int
    groups: tuple[Group, ...]
    tolerance_reason: str = ""
    n_heldout: int = 0
    ops: Mapping[str, int] = dataclasses.field(default_factory=dict)
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Number of rows compared."""
        return sum(group.n_rows for group in self.groups)

    @property
    def max_abs_error(self) -> float:
        """Largest difference in any group."""
        return max(group.max_abs_error for group in self.groups)

    @property
    def passed(self) -> bool:
        """Whether no group exceeds the tolerance."""
        return self.max_abs_error <= self.tolerance

    def to_json(self) -> dict[str, Any]:
        """Describe the proof in plain JSON types."""
        return {
            "passed": self.passed,
            "n_rows": self.n_rows,
            "max_abs_error": self.max_abs_error,
            "tolerance": self.tolerance,
            "tolerance_reason": self.tolerance_reason,
            "seed": self.seed,
            "n_heldout": self.n_heldout,
            "label_disagreements": sum(group.label_disagreements for group in self.groups),
            "threshold_ties": sum(group.threshold_ties for group in self.groups),
            "not_numbers": sum(group.not_numbers for group in self.groups),
            "refused": sum(group.refused for group in self.groups),
            "n_nodes": sum(self.ops.values()),
            "ops": dict(self.ops),
            "versions": dict(self.versions),
            "groups": {
                group.name: {
                    key: value for key, value in dataclasses.asdict(group).items() if key != "name"
                }
                for group in self.groups
            },
        }


def estimator_scores(estimator: Any, features_model: bytes | None) -> Callable[[Matrix], Scores]:
    """Return a function from rows to the estimator's own scores.

    Args:
        estimator: Fitted scikit-learn estimator; the positive class is its second one.
        features_model: Bytes of the graph of `lower_features`; None where rows are features.

    Returns:
        A function to scores, `(n_records,)`, or `(n_records, n_classes)` with more than two
        classes; of an outlier detector what is high for anomalies.
    """
    session = None if features_model is None else Session(features_model)

    def predict(x: Matrix) -> Scores:
        features = x if session is None else session.run_matrix(x).reshape(len(x), -1)
        if hasattr(estimator, "predict_proba"):
            scores = np.asarray(estimator.predict_proba(features), dtype=np.float64)
            return scores[:, 1] if scores.shape[1] == 2 else scores  # noqa: PLR2004  two classes
        if sklearn.base.is_outlier_detector(estimator):
            return -np.asarray(estimator.score_samples(features), dtype=np.float64)
        return np.asarray(estimator.predict(features), dtype=np.float64).reshape(len(x))

    return predict


def prove(  # noqa: PLR0913  what is compared, on what, and how strictly
    model: bytes,
    predict: Callable[[Matrix], Scores],
    x_heldout: Matrix,
    columns: Sequence[Column],
    *,
    kind: Kind,
    splits: Mapping[str, Sequence[float]] | None = None,
    threshold: float | None = None,
    tolerance: float = TOLERANCE,
    seed: int = 0,
    blame: Callable[[Matrix], Blame | None] | None = None,
) -> Proof:
    """Compare a graph with its estimator.

    Args:
        model: Bytes of the graph that will serve.
        predict: The estimator's scores of rows `(n_records, n_columns)`; see `estimator_scores`.
        x_heldout: Rows the fit never saw, `(n_records, n_columns)`.
        columns: The columns of the row, in order.
        kind: `binary` and `multiclass` compare probabilities absolutely, `regression` relatively
            to max(1, |score|).
        splits: Thresholds by feature; those of raw columns are probed on both sides.
        threshold: Score from which a row gets the positive label; None counts no labels.
        tolerance: Largest difference allowed.
        seed: Seed of the random rows.
        blame: Finds the node that is wrong, given rows on which the score is.

    Raises:
        ProofError: If a row differs by more, or a side fails; names the group, the rows, the size
            and the first node that differs.
    """
    names = [column.name for column in columns]
    groups = compare(
        model,
        predict,
        probes(x_heldout, columns, splits or {}, seed=seed).values(),
        names=names,
        kind=kind,
        threshold=threshold,
        tolerance=tolerance,
        blame=blame,
    )
    return Proof(tolerance=tolerance, seed=seed, groups=groups, n_heldout=len(x_heldout))


def compare(
    model: bytes,
    predict: Callable[[Matrix], Scores],
    kinds: Iterable[Probe],
    *,
    names: Sequence[str],
    kind: Kind,
    threshold: float | None,
    tolerance: float,
    blame: Callable[[Matrix], Blame | None] | None = None,
) -> tuple[Group, ...]:
    """Compare a graph with its estimator on each kind of rows; see `prove`."""
    groups = []
    for probe, ours, theirs in both_sides(Session(model), predict, list(kinds)):
        errors = difference.errors(ours, theirs, relative=kind == "regression")
        if errors.max(initial=0.0) > tolerance:
            raise _failure(probe, errors, tolerance, names, blame)
        apart, ties = difference.labels(ours, theirs, threshold, tolerance)
        missing = np.isnan(theirs.T).any(axis=0) if theirs.ndim > 1 else np.isnan(theirs)
        groups.append(
            Group(
                name=probe.name,
                n_rows=len(theirs),
                max_abs_error=float(errors.max(initial=0.0)),
                label_disagreements=int(apart.sum()),
                threshold_ties=int(ties.sum()),
                not_numbers=int(missing.sum()),
                refused=len(probe) - len(theirs),
            )
        )
    return tuple(groups)


def _failure(
    probe: Probe,
    errors: Scores,
    tolerance: float,
    names: Sequence[str],
    blame: Callable[[Matrix], Blame | None] | None,
) -> ProofError:
    rows = np.flatnonzero(errors > tolerance)
    more = ", ..." if len(rows) > _ROWS_NAMED else ""
    varied = sorted({*np.unique(probe.position[rows]).tolist()} - {-1})
    columns = f" (they vary {', '.join(names[i] for i in varied)})" if varied else ""
    found = blame(probe.rows(rows[:_ROWS_BLAMED].tolist())) if blame is not None else None
    node = f". The first node that differs is {found}" if found is not None else ""
    failure = ProofError(
        f"graph and estimator differ on {len(rows)} of {len(errors)} rows of group "
        f"'{probe.name}', by up to {errors.max():.3g} where {tolerance:g} is allowed; "
        f"rows {', '.join(map(str, rows[:_ROWS_NAMED]))}{more}{columns}{node}. Nothing may be "
        "published: train another candidate, and report the estimator's class and settings"
    )
    failure.group, failure.rows = probe.name, tuple(map(int, rows[:_ROWS_NAMED]))
    failure.difference = float(errors.max())
    if found is not None:
        failure.node, failure.what = found.node, found.what
    return failure
