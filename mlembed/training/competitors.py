"""Who competes: the declared candidates, a linear model and a trivial baseline.

A model that is not better than a constant is not worth its place in an application, and one that is
no better than a linear model is not worth its riddles: both are always there to compare with.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline

from mlembed.monitoring.metrics import quantile_of

if TYPE_CHECKING:
    from collections.abc import Sequence

Role = Literal["declared", "linear", "baseline"]


@dataclasses.dataclass(frozen=True)
class Competitor:
    """One estimator of the contest.

    Attributes:
        name: What it is called in reports; unique.
        estimator: As it was declared, unfitted.
        role: Whether it was declared, or added to compare with.
    """

    name: str
    estimator: Any
    role: Role = "declared"

    @property
    def is_linear(self) -> bool:
        """Whether it is a link of a weighted sum."""
        return is_linear(final_step(self.estimator))


def competitors(candidates: Sequence[Any], kind: str, metric: str) -> tuple[Competitor, ...]:
    """Return the candidates, and the linear model and the baseline that always compete.

    Args:
        candidates: Estimators of the declaration; one that is linear stands for the linear model.
        kind: Kind of the label.
        metric: What picks among them; the constant that is best for it is the baseline.
    """
    found: list[Competitor] = []
    for candidate in candidates:
        name = type(final_step(candidate)).__name__
        used = [item.name for item in found]
        number = next(n for n in range(1, len(used) + 2) if _numbered(name, n) not in used)
        found.append(Competitor(_numbered(name, number), candidate))
    if not any(is_linear(final_step(candidate)) for candidate in candidates):
        linear = Ridge() if kind == "regression" else LogisticRegression(max_iter=2000)
        found.append(Competitor(f"{type(linear).__name__} (linear)", linear, "linear"))
    found.append(_baseline(kind, metric))
    return tuple(found)


def final_step(candidate: Any) -> Any:
    """Return what predicts: the last step of a pipeline, or the estimator itself."""
    return final_step(candidate.steps[-1][1]) if isinstance(candidate, Pipeline) else candidate


def is_linear(estimator: Any) -> bool:
    """Tell whether *estimator* is one of scikit-learn's linear models."""
    return type(estimator).__module__.startswith("sklearn.linear_model.")


def _baseline(kind: str, metric: str) -> Competitor:
    """Return the constant that is best for *metric*; for recall it would be beyond all others."""
    name, constant = "prior", DummyClassifier(strategy="prior")
    if kind == "regression":
        quantile = quantile_of(metric)
        name = "mean" if metric == "rmse" else "median"
        constant = DummyRegressor(strategy=name)
        if quantile is not None:
            name = f"quantile {quantile:g}"
            constant = DummyRegressor(strategy="quantile", quantile=quantile)
    elif kind == "binary" and metric == "error":
        name, constant = "most frequent", DummyClassifier(strategy="most_frequent")
    elif kind == "binary" and metric in ("f1", "precision"):
        name, constant = "always positive", DummyClassifier(strategy="constant", constant=1)
    return Competitor(f"{name} (baseline)", constant, "baseline")


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name} {number}"
