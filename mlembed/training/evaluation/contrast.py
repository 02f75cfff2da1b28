"""Champion against challenger on the same held-out rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlembed.monitoring.performance import compare

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mlembed.training.evaluation.rows import Rows

    Floats = NDArray[np.float64]


def contrast(
    rows: Rows,
    champion_scores: Floats,
    metric: str,
    threshold: float,
    *,
    title: str,
    champion_threshold: float | None = None,
    resamples: int = 500,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare by a bootstrap of rows, or of whole entities, that both models share.

    Args:
        rows: Rows with the challenger's scores.
        champion_scores: The champion's scores of them, `(n,)`; rows where one is NaN are left out.
        metric: A name in `METRICS`.
        threshold: Score from which the challenger's label is positive.
        title: The champion, as `name@version`.
        champion_threshold: The champion's own, where it differs.
        resamples: How often rows or entities are drawn.
        seed: Seed of the draws.

    Returns:
        Title, metric, both values, the `difference`, positive where the challenger is better
        whatever the metric, the ends `low` and `high` of its 95 % interval, and what it was
        measured on; a value that cannot be had is absent.
    """
    found = compare(
        rows.y,
        champion_scores,
        rows.scores,
        metric,
        threshold if champion_threshold is None else champion_threshold,
        challenger_threshold=threshold,
        clusters=rows.clusters,
        resamples=resamples,
        seed=seed,
    )
    values = {"title": title, **found.to_json(), "resamples": resamples}
    return {name: value for name, value in values.items() if value is not None and name != "state"}
