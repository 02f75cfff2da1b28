"""Prove that a graph and the estimator it came from give the same scores.

Held-out rows show what is usual; the other groups are where conversions break: missing values,
codes nobody has seen, the two sides of every split, ids that a float would round. A bundle is
published only with a proof that passed.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mlembed.errors import ProofError
from mlembed.serving.session import Session
from mlembed.training.probes import probes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from mlembed.columns import Column

    Matrix = NDArray[np.float64]
    Scores = NDArray[np.float64]

TOLERANCE = 1e-9
_ROWS_NAMED = 10


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rows of one kind and how far the two sides were apart on them.

    Attributes:
        name: What the rows probe.
        n_rows: How many there were.
        max_abs_error: Largest difference; for regression relative to max(1, |score|).
        label_disagreements: Rows that fell on different sides of the threshold.
        threshold_ties: Rows whose score is the threshold to within the tolerance; only there can
            labels disagree when the scores do not.
    """

    name: str
    n_rows: int
    max_abs_error: float
    label_disagreements: int
    threshold_ties: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Evidence that the graph is the estimator.

    Attributes:
        tolerance: Largest difference allowed.
        seed: Seed of the random rows.
        groups: One entry a kind of rows.
    """

    tolerance: float
    seed: int
    groups: tuple[Group, ...]

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
            "seed": self.seed,
            "label_disagreements": sum(group.label_disagreements for group in self.groups),
            "threshold_ties": sum(group.threshold_ties for group in self.groups),
            "groups": {
                group.name: {
                    key: value for key, value in dataclasses.asdict(group).items() if key != "name"
                }
                for group in self.groups
            },
        }


def estimator_scores(estimator: Any, features_model: bytes) -> Callable[[Matrix], Scores]:
    """Return a function from rows to the estimator's own scores.

    Args:
        estimator: Fitted scikit-learn estimator; the positive class is its second one.
        features_model: Bytes of the graph of `lower_features`.
    """
    session = Session(features_model)

    def predict(x: Matrix) -> Scores:
        features = session.run_matrix(x).reshape(len(x), -1)
        if hasattr(estimator, "predict_proba"):
            return np.asarray(estimator.predict_proba(features)[:, 1], dtype=np.float64)
        return np.asarray(estimator.predict(features), dtype=np.float64)

    return predict


def prove(  # noqa: PLR0913  what is compared, on what, and how strictly
    model: bytes,
    predict: Callable[[Matrix], Scores],
    x_heldout: Matrix,
    columns: Sequence[Column],
    *,
    kind: Literal["binary", "regression"],
    splits: Mapping[str, Sequence[float]] | None = None,
    threshold: float | None = None,
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> Proof:
    """Compare a graph with its estimator.

    Args:
        model: Bytes of the graph that will serve.
        predict: The estimator's scores of rows `(n_records, n_columns)`; see `estimator_scores`.
        x_heldout: Rows the fit never saw, `(n_records, n_columns)`.
        columns: The columns of the row, in order.
        kind: `binary` compares probabilities absolutely, `regression` relatively to
            max(1, |score|).
        splits: Thresholds by feature; those of raw columns are probed on both sides.
        threshold: Score from which a row gets the positive label; None counts no labels.
        tolerance: Largest difference allowed.
        seed: Seed of the random rows.

    Raises:
        ProofError: If a row differs by more, or a side fails; names the group, the rows, the size.
    """
    session = Session(model)
    groups = []
    for name, x in probes(x_heldout, columns, splits or {}, seed=seed).items():
        try:
            with np.errstate(all="ignore"):
                ours, theirs = session.run_matrix(x), predict(x)
        except Exception as error:
            raise ProofError(
                f"proof stopped in group '{name}' of {len(x)} rows: {type(error).__name__}. "
                "Declare ranges that exclude what the estimator cannot take"
            ) from error
        errors = _errors(ours, theirs, relative=kind == "regression")
        _require(name, errors, tolerance)
        apart, ties = _labels(ours, theirs, threshold, tolerance)
        groups.append(
            Group(
                name=name,
                n_rows=len(x),
                max_abs_error=float(errors.max(initial=0.0)),
                label_disagreements=apart,
                threshold_ties=ties,
            )
        )
    return Proof(tolerance=tolerance, seed=seed, groups=tuple(groups))


def _errors(ours: Scores, theirs: Scores, *, relative: bool) -> Scores:
    """Return the difference a row: 0 for equal infinities, infinite where either is NaN."""
    scale = np.maximum(1.0, np.abs(theirs)) if relative else 1.0
    with np.errstate(invalid="ignore"):
        errors = np.where(ours == theirs, 0.0, np.abs(ours - theirs) / scale)
    return np.where(np.isnan(errors), np.inf, errors)


def _require(name: str, errors: Scores, tolerance: float) -> None:
    rows = np.flatnonzero(errors > tolerance)
    if len(rows):
        more = ", ..." if len(rows) > _ROWS_NAMED else ""
        raise ProofError(
            f"graph and estimator differ on {len(rows)} of {len(errors)} rows of group '{name}', "
            f"by up to {errors.max():.3g} where {tolerance:g} is allowed; "
            f"rows {', '.join(map(str, rows[:_ROWS_NAMED]))}{more}. Nothing may be published: "
            "train another candidate, and report the estimator's class and settings"
        )


def _labels(
    ours: Scores, theirs: Scores, threshold: float | None, tolerance: float
) -> tuple[int, int]:
    if threshold is None:
        return 0, 0
    apart = np.count_nonzero((ours >= threshold) != (theirs >= threshold))
    return int(apart), int(np.count_nonzero(np.abs(theirs - threshold) <= tolerance))
