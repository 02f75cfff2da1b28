"""Measure a fitted model on the rows held out, against its baseline and against the champion."""

from __future__ import annotations

import dataclasses
import statistics
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.training.against import against
from mlembed.training.calibrating import column_of
from mlembed.training.evaluation.contrast import contrast
from mlembed.training.evaluation.rows import Rows
from mlembed.training.evaluation.whole import Plan, evaluate
from mlembed.training.overlap import describe_tables
from mlembed.training.screening import sources_of, time_of
from mlembed.training.threshold import ByCost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlembed.bundle.bundle import Bundle
    from mlembed.columns import Column
    from mlembed.training.calibrating import Settled
    from mlembed.training.contest import Contest
    from mlembed.training.costs import Costs
    from mlembed.training.dataset import Dataset
    from mlembed.training.fitting import Fitted, Prepared
    from mlembed.training.threshold import Rule
    from mlembed.training.trainer import Trainer

_N_CALLS = 300


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measuring:
    """What is measured.

    Attributes:
        trainer: The declaration, with the threshold that was chosen.
        rule: The rule that chose it, or None.
        prepared: The training rows.
        measured: The rows held out.
        scores: What the graph makes of them, `(n,)` or `(n, n_classes)`.
        fitted: The estimator and its graphs.
        settled: What later rows settled.
        contest: How it was chosen.
        champion: What serves now, or None.
        given: Whether the rows held out are a table of their own, which no split made.
    """

    trainer: Trainer
    rule: Rule | None
    prepared: Prepared
    measured: Prepared
    scores: NDArray[np.float64]
    fitted: Fitted
    settled: Settled
    contest: Contest
    champion: Bundle | None
    given: bool = False


def measure(what: Measuring) -> dict[str, Any]:
    """Return the bundle's evaluation, in plain JSON types.

    Raises:
        DataError: If the metric is undefined for the rows held out.
    """
    trainer, measured = what.trainer, what.measured
    score = what.fitted.session.run_matrix
    shown = _shown(trainer, measured.columns)
    rows = Rows(
        y=measured.y,
        scores=what.scores,
        columns=tuple(measured.columns[place] for place in shown),
        x=measured.x[:, shown],
        clusters=clusters_of(trainer, measured.table),
        entity=trainer.entity,
        classes=measured.table.classes,
    )
    plan = Plan(
        metric=trainer.metric,
        threshold=what.settled.threshold or trainer.label.threshold,
        costs=_costs(what),
        band=what.settled.interval,
        slices=tuple(trainer.slices),
        seed=trainer.seed,
    )
    evaluation = evaluate(rows, plan, lambda x: score(_whole(x, shown, measured.x.shape[1])))
    evaluation["contest"] = what.contest.to_json()
    evaluation["serving"] = _serving(what.fitted, measured.x)
    evaluation["folds"] = _sides(what)
    if what.contest.tuned is not None:
        evaluation["tuning"] = what.contest.tuned.to_json()
    if trainer.baseline:
        evaluation["baseline"] = _baseline(trainer, rows, measured.table)
    if what.champion is not None:
        evaluation["champion"] = against(
            what.champion,
            trainer,
            rows,
            measured.table,
            since=evaluation["folds"]["sides"][-1].get("from"),
        )
    return evaluation


def _shown(trainer: Trainer, columns: Sequence[Column]) -> list[int]:
    """Return the places of the columns that the model reads, or that rows are sliced by."""
    names = {*sources_of(trainer), *trainer.slices}
    return [place for place, column in enumerate(columns) if column.name in names]


def _whole(x: NDArray[np.float64], shown: Sequence[int], width: int) -> NDArray[np.float64]:
    """Return rows as the graph reads them, `(n, width)`; what it does not use is missing."""
    whole = np.full((len(x), width), np.nan)
    whole[:, shown] = x
    return whole


def clusters_of(trainer: Trainer, table: Dataset) -> NDArray[np.intp] | None:
    """Return the number of each row's entity, `(n_records,)`; None where none is declared.

    A row that names none is an entity of its own.
    """
    if not trainer.entity:
        return None
    names = column_of(table, trainer.entity)
    missing = np.array([name is None or name != name for name in names.tolist()])  # noqa: PLR0124
    found = np.empty(len(names), dtype=np.intp)
    known, found[~missing] = np.unique(names[~missing], return_inverse=True)
    found[missing] = len(known) + np.arange(missing.sum())
    return found


def _costs(what: Measuring) -> Costs | None:
    if not isinstance(what.rule, ByCost):
        return None
    table = what.measured.table
    amounts = {name: column_of(table, name) for name in what.rule.columns}
    return what.rule.costs(len(table), amounts)


def _serving(fitted: Fitted, x: NDArray[np.float64]) -> dict[str, float]:
    """Measure one row through the graph, as a host runs it; the median of many."""
    row = fitted.session.row()
    seconds = []
    for number in range(_N_CALLS):
        cells = x[number % len(x)].tobytes()
        start = time.perf_counter()
        row.cells[:] = cells
        row.run()
        seconds.append(time.perf_counter() - start)
    return {"latency_seconds": statistics.median(seconds), "size_bytes": len(fitted.model)}


def _baseline(trainer: Trainer, rows: Rows, table: Dataset) -> dict[str, Any]:
    """Compare with the column that a model must beat, on the rows where it is known."""
    scores = np.asarray(table.columns[trainer.baseline], dtype=np.float64)
    found = contrast(
        rows,
        scores,
        trainer.metric,
        trainer.label.threshold,
        title=trainer.baseline,
        seed=trainer.seed,
    )
    told = {"value": found.get("champion"), "model": found.get("challenger")}
    ends: dict[str, Any] = {
        name: found[name] for name in ("n", "difference", "low", "high") if name in found
    }
    return {"column": trainer.baseline, **told, **ends}


def _sides(what: Measuring) -> dict[str, Any]:
    """Say what stands on each side of the split."""
    trainer, train, settled = what.trainer, what.prepared.table, what.settled.sides
    tables = {"train": train.take(settled.train) if len(settled.test) else train}
    if len(settled.test):
        tables["calibration"] = train.take(settled.test)
    told = describe_tables(
        tables | {"test": what.measured.table},
        time=time_of(trainer),
        entity=trainer.entity or None,
    )
    if what.given:
        return {"kind": "A table of its own", **told}
    split = trainer.held_out_by
    gap_seconds = getattr(split, "gap_seconds", 0.0)
    return {"kind": type(split).__name__, "gap_seconds": gap_seconds, **told}
