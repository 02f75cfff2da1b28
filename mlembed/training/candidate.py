"""What a training run made: a bundle nobody has published yet, and how it came about."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlembed.bundle.bundle import Bundle
    from mlembed.training.fitting import Fitted
    from mlembed.training.proof import Proof


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """What a run made; publish its bundle, or do not.

    Attributes:
        bundle: The proven bundle.
        evaluation: How good it is on held-out rows; the bundle holds it too.
        proof: Evidence that graph and estimator agree.
        contest: Validation metric of every competitor, by its name.
        fitted: The estimator and its graphs.
        n_train: Rows that were not held out: it was fitted on them, or settled on the later of them.
        n_test: Rows it was measured on.
        rejected: Rows of the training table that were set aside, by reason.
    """

    bundle: Bundle
    evaluation: Mapping[str, Any]
    proof: Proof
    contest: dict[str, float]
    fitted: Fitted
    n_train: int
    n_test: int
    rejected: Mapping[str, int]

    @property
    def metrics(self) -> dict[str, float]:
        """Held-out metrics by name."""
        return dict(self.evaluation["metrics"])

    def to_json(self) -> dict[str, Any]:
        """Describe the run in plain JSON types."""
        manifest = self.bundle.manifest
        return {
            "model": manifest.name,
            "version": manifest.version,
            "bundle_id": self.bundle.id,
            "estimator": self.fitted.name,
            "n_train": self.n_train,
            "n_test": self.n_test,
            "rejected": dict(self.rejected),
            "metrics": self.metrics,
            **{
                key: self.evaluation[key]
                for key in ("intervals", "threshold", "interval", "gates", "champion", "leakage")
                if key in self.evaluation
            },
            "contest": self.contest,
            "proof": self.proof.to_json(),
        }
