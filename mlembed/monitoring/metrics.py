"""The measures of a model, the same offline, in the bundle and in the monitor.

A metric means one function in training and in monitoring, so that a promise made when a
model was published can be compared with what it does in service.

`pinball@0.9` is the pinball loss of the 0.9 quantile; any quantile between 0 and 1 may be named.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Literal

import numpy as np
from sklearn import metrics as sk

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Kind = Literal["binary", "regression"]
    Values = NDArray[np.float64]

N_BINS = 10
_PINBALL = "pinball@"


@dataclasses.dataclass(frozen=True, slots=True)
class Metric:
    """A measure of scores against the truth.

    Attributes:
        kind: The kind of label it is for.
        sign: 1 where more is better, -1 where less is.
        of: Computes it from labels `(n,)`, scores `(n,)` and the threshold.
        needs_both: Whether it is undefined where the truth holds one class only.
        needs_size: Whether it is undefined where the truth is 0 throughout.
    """

    kind: Kind
    sign: int
    of: Callable[[Values, Values, float], float]
    needs_both: bool = False
    needs_size: bool = False


class Metrics(dict[str, Metric]):
    """Metrics by name; holds those with a quantile in their name too, which it does not list."""

    def __missing__(self, name: str) -> Metric:
        quantile = quantile_of(name)
        if quantile is None:
            raise KeyError(name)
        return Metric("regression", -1, lambda y, s, _: float(np.mean(pinball(y, s, quantile))))

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (
            isinstance(name, str) and quantile_of(name) is not None
        )


def quantile_of(name: str) -> float | None:
    """Return the quantile in a metric's name such as `pinball@0.9`, or None."""
    try:
        quantile = float(name.removeprefix(_PINBALL)) if name.startswith(_PINBALL) else 0.0
    except ValueError:
        return None
    return quantile if 0 < quantile < 1 else None


def pinball(y: Values, scores: Values, quantile: float) -> Values:
    """Return each row's pinball loss, `(n,)`; half the absolute error for the median.

    Koenker and Bassett, "Regression quantiles", Econometrica 46(1), 1978.

    Args:
        y: Quantities, `(n,)`.
        scores: Predicted quantiles of them, `(n,)`.
        quantile: Which quantile, between 0 and 1.
    """
    short = y - scores
    losses: Values = np.maximum(quantile * short, (quantile - 1) * short)
    return losses


def rank_bins(scores: Values, n_bins: int = N_BINS) -> NDArray[np.intp]:
    """Return the bin of each row, `(n,)`, when rows in order of score are cut into equal parts.

    Rows of one score share a bin, so bins differ in size where scores are tied.

    Args:
        scores: `(n,)`.
        n_bins: Number of parts; fewer are used where there are fewer distinct scores.
    """
    ordered = np.sort(scores)
    middle = (np.searchsorted(ordered, scores) + np.searchsorted(ordered, scores, "right")) / 2
    bins: NDArray[np.intp] = np.minimum(middle * n_bins / max(len(scores), 1), n_bins - 1)
    return bins.astype(np.intp)


def _ece(y: Values, scores: Values, _threshold: float) -> float:
    """Compute the expected calibration error over ten bins of equally many rows.

    Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian
    binning", AAAI 2015.
    """
    gaps = np.bincount(rank_bins(scores), weights=y - scores, minlength=N_BINS)
    return float(np.abs(gaps).sum() / len(y))


def _share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float:
    """Return the share of *whole* that is *part*; 0 where there is nothing to share."""
    return int(np.sum(part)) / max(int(np.sum(whole)), 1)


def _f1(y: Values, scores: Values, threshold: float) -> float:
    called, true = scores >= threshold, y == 1
    return 2 * int(np.sum(called & true)) / max(int(np.sum(called)) + int(np.sum(true)), 1)


_binary = functools.partial(Metric, "binary")
_decided = functools.partial(Metric, "binary", 1, needs_both=True)
_quantity = functools.partial(Metric, "regression", -1)

METRICS = Metrics(
    {
        "roc_auc": _decided(lambda y, s, _: float(sk.roc_auc_score(y, s))),
        "average_precision": _decided(lambda y, s, _: float(sk.average_precision_score(y, s))),
        "log_loss": _binary(-1, lambda y, s, _: float(sk.log_loss(y, s, labels=[0.0, 1.0]))),
        "brier": _binary(-1, lambda y, s, _: float(np.mean((s - y) ** 2))),
        "error": _binary(-1, lambda y, s, t: float(np.mean((s >= t) != (y == 1)))),
        "precision": _decided(lambda y, s, t: _share((s >= t) & (y == 1), s >= t)),
        "recall": _decided(lambda y, s, t: _share((s >= t) & (y == 1), y == 1)),
        "f1": _decided(_f1),
        "ece": _binary(-1, _ece),
        "mae": _quantity(lambda y, s, _: float(np.mean(np.abs(s - y)))),
        "rmse": _quantity(lambda y, s, _: float(np.sqrt(np.mean((s - y) ** 2)))),
        "wape": _quantity(
            lambda y, s, _: float(np.abs(s - y).sum() / np.abs(y).sum()), needs_size=True
        ),
    }
)
DEFAULT_METRIC: dict[str, str] = {"binary": "roc_auc", "regression": "mae"}


def is_defined(metric: Metric, y: Values) -> bool:
    """Tell whether *metric* has a value for the labels *y*, `(n,)`."""
    if metric.needs_both and len(np.unique(y)) < 2:  # noqa: PLR2004
        return False
    return len(y) > 0 and not (metric.needs_size and not np.any(y))


def evaluate(
    kind: Kind, y: Values, scores: Values, threshold: float = 0.5, also: str = ""
) -> dict[str, float]:
    """Return every metric of *kind* that is defined for *y*, by name.

    Args:
        kind: Kind of the label.
        y: Labels, `(n,)`; 0 and 1 for a binary label.
        scores: `(n,)`.
        threshold: Score from which the label is positive.
        also: One more metric, such as `pinball@0.9`.
    """
    return {
        name: metric.of(y, scores, threshold)
        for name, metric in (METRICS | ({also: METRICS[also]} if also else {})).items()
        if metric.kind == kind and is_defined(metric, y)
    }
