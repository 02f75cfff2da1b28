"""Turn a score into a decision, as the manifest says.

Thresholds live in the manifest, never in the graph, so that a label can be explained
and changed without a new model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlembed.bundle.manifest import Task
    from mlembed.serving.prediction import Reason

    Decide = Callable[[float], tuple[bool | str | None, Reason]]


def decider(task: Task) -> Decide:
    """Return the function from a score to its label and reason, for *task*.

    The label of a multiclass is not told by the score: here it has a reason alone.
    """
    if task.kind == "regression" or (task.kind == "multiclass" and task.abstain is None):
        return _no_label
    threshold = task.threshold
    if task.abstain is None:
        return lambda score: (score >= threshold, "ok")
    low, high = task.abstain
    if task.kind == "multiclass":
        return lambda score: (None, "abstain" if low <= score <= high else "ok")

    def decide(score: float) -> tuple[bool | None, Reason]:
        return (None, "abstain") if low <= score <= high else (score >= threshold, "ok")

    return decide


def _no_label(_score: float) -> tuple[None, Reason]:
    return None, "ok"
