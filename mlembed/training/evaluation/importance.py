"""Which columns the score rests on: how much worse it gets when a column is shuffled.

Breiman, "Random forests", Machine Learning 45(1), 2001, section 10. Of two columns that say the
same, each may look unimportant, since the other still says it.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.monitoring import bootstrap
from mlembed.monitoring.judged import measure_of, sign_of, undefined
from mlembed.monitoring.metrics import METRICS
from mlembed.monitoring.shares import Z_95
from mlembed.serving.pool import shared

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mlembed.training.evaluation.rows import Rows

    Floats = NDArray[np.float64]
    Score = Callable[[Floats], Floats]

MAX_ROWS = 2_000
REPEATS = 3
MAX_SCORED = 60_000
_RESAMPLES = 100


def importance(
    rows: Rows, metric: str, threshold: float, score: Score, *, seed: int = 0
) -> list[dict[str, Any]]:
    """Return by how much *metric* drops when a column is shuffled, largest drop first.

    Args:
        rows: Rows to measure on, of which at most 2,000 are scored, three times a column, and fewer of
            many columns.
        metric: A name in `METRICS`, or in `CLASS_METRICS` for several classes.
        threshold: Score from which the label is positive.
        score: Scores rows `(n, n_columns)` as the host will, `(n,)`.
        seed: Seed of the choice of rows, the shuffles and the resamples.

    Returns:
        Column and `drop`, positive where the model is worse without it, with the ends `low` and
        `high` of its 95 % interval where that can be had; empty where the metric is undefined.
    """
    if not rows.columns:
        return []
    random = np.random.default_rng(seed)
    most = max(1, min(MAX_ROWS, MAX_SCORED // (REPEATS * len(rows.columns))))
    by_class = rows.scores.ndim > 1 or METRICS[metric].kind == "binary"
    picks, weights = _pick(rows.y, most, random, by_class=by_class)
    x, y, base = rows.x[picks], rows.y[picks], rows.scores[picks]
    if undefined(metric, y, base):
        return []
    moved = [i for i in range(x.shape[1]) if _varies(rows.x[:, i])]
    drawn_cells = [_draw(rows.x[:, i], len(x), random) for i in moved]  # in turn, by one generator

    def score_without(place: int) -> Floats:
        return _replaced(x, moved[place], drawn_cells[place], score)

    tables = [base, *itertools.chain(*shared(score_without, range(len(moved))))]
    measures = [measure_of(metric, y, scores, threshold).times(weights) for scores in tables]
    clusters = None if rows.clusters is None else rows.clusters[picks]
    drawn = bootstrap.resample(measures, len(y), _RESAMPLES, seed, clusters)
    values = np.array([of(np.ones(len(y))) for of in measures])
    sign = sign_of(metric, base)
    found = [
        {"column": column.name, "drop": 0.0, "low": 0.0, "high": 0.0}
        for i, column in enumerate(rows.columns)
        if i not in moved
    ]
    for i, column in enumerate(moved):
        own = slice(1 + REPEATS * i, 1 + REPEATS * (i + 1))
        drop = sign * (values[0] - values[own]).mean()  # 0 where no score moves
        spread = drawn[:, 0] - drawn[:, own].mean(axis=1)
        found.append(
            {"column": rows.columns[column].name, "drop": float(drop), **_ends(drop, spread)}
        )
    return sorted(found, key=lambda item: (-float(item["drop"]), str(item["column"])))


def _pick(
    y: Floats, most: int, random: np.random.Generator, *, by_class: bool
) -> tuple[NDArray[np.intp], Floats]:
    """Choose at most *most* rows; a rare class gives more than its share, and weighs less for it.

    Returns:
        Row numbers, increasing, and the rows each stands for.
    """
    sides = [y == value for value in np.unique(y)] if by_class else [np.ones(len(y), bool)]
    picks = np.empty(0, np.intp)
    weights = np.zeros(len(y))
    for side in sides:
        there = np.flatnonzero(side)
        share = most * len(there) / len(y) if len(sides) == 1 else most / len(sides)
        other = len(y) - len(there)
        room = max(share, most - other)
        size = min(len(there), max(1, int(room)))
        chosen = random.choice(there, size, replace=False)
        weights[chosen] = len(there) / size
        picks = np.union1d(picks, chosen)
    return picks, weights[picks]


def _ends(drop: float, drawn: Floats) -> dict[str, float]:
    """Return the ends of the normal interval, whose width takes fewer resamples than its ends."""
    if bootstrap.interval(drawn) is None:
        return {}
    reach = Z_95 * float(np.nanstd(drawn))
    return {"low": float(drop - reach), "high": float(drop + reach)}


def _varies(values: Floats) -> bool:
    return bool(np.any(values != values[0])) and not bool(np.isnan(values).all())


def _draw(values: Floats, n: int, random: np.random.Generator) -> Floats:
    """Return *n* values of a column in another order, `REPEATS` times, one after the other.

    They are those of all rows, each once at most: among the rows picked a rare class has more than
    its share, so theirs would be the values of another table.
    """
    return np.concatenate([random.choice(values, n, replace=False) for _ in range(REPEATS)])


def _replaced(x: Floats, column: int, cells: Floats, score: Score) -> Floats:
    """Score the rows with other *cells*, `(REPEATS, n)`, or `(REPEATS, n, n_classes)`."""
    changed = np.tile(x, (REPEATS, 1))
    changed[:, column] = cells
    scores = score(changed)
    return scores.reshape(REPEATS, len(x), *scores.shape[1:])
