"""Train a challenger on what was logged, and let it face the champion.

The newest rows are held out. Neither model has seen them: the challenger is trained on older
rows alone, and the champion's own training ended before the first of them.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.errors import DataError, GateError, SchemaError
from mlembed.monitoring.multiclass import aligned
from mlembed.monitoring.outcomes import join
from mlembed.monitoring.performance import compare
from mlembed.registry.pointer import Ref
from mlembed.training.against import scores_by
from mlembed.training.gate import CHALLENGER, Gate, Verdict
from mlembed.training.logged import table_of
from mlembed.training.measuring import clusters_of
from mlembed.training.progress import Steps
from mlembed.training.run import N_STEPS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlembed.bundle.bundle import Bundle
    from mlembed.monitoring.log import PredictionLog
    from mlembed.monitoring.performance import Comparison
    from mlembed.registry.registry import Registry
    from mlembed.training.candidate import Candidate
    from mlembed.training.dataset import Dataset
    from mlembed.training.progress import Progress
    from mlembed.training.trainer import Trainer

_N_CLASSES = 2


def retrain(
    trainer: Trainer,
    registry: Registry,
    log: PredictionLog,
    *,
    alias: str = "champion",
    gate: Gate | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Verdict:
    """Train a challenger on *log* and promote it if it is shown to be better.

    Args:
        trainer: The model's declaration.
        registry: Holds the champion and receives the challenger.
        log: The model's prediction log, outcomes included.
        alias: The champion's alias.
        gate: What the challenger must show.
        dry_run: Whether to publish and promote nothing.
        progress: Hears of every step.

    Raises:
        DataError: If the logged rows cannot be trained on.
        RegistryError: If the champion cannot be read or the challenger not be published.
    """
    gate = gate or Gate()
    steps = Steps.of(progress, N_STEPS + 2)
    champion = registry.fetch(registry.resolve(Ref(trainer.name, alias)))
    if champion.manifest.inputs:
        raise DataError(
            f"{champion.manifest.title} takes tensors, which no log holds: train it where it was "
            "made, and publish the new file with mlembed pack"
        )
    if champion.manifest.task.kind != trainer.label.kind:
        raise DataError(
            f"{champion.manifest.title} answers with a {champion.manifest.task.kind} label, the "
            f"Trainer with a {trainer.label.kind} one, so the two cannot be compared; train and "
            "promote the new kind with mlembed train"
        )
    if not dry_run:
        registry.require_writable(trainer.name)
    with steps.step("read the log") as say:
        table, times = table_of(trainer, log, join(log))
        train, test = _newest_held_out(times, _seen_until(champion), gate.share)
        say.append(f"{len(times):,} rows with a known outcome, {len(test):,} held out")
    refusal = _too_few(trainer, table, train, test, champion, gate)
    verdict = Verdict(
        promoted=False,
        reason=refusal,
        champion=champion.manifest.title,
        metric=trainer.metric,
        n_train=len(train),
        n_test=len(test),
    )
    if refusal:
        return verdict
    heldout = table.take(test)
    try:
        candidate = trainer.train(
            table.take(train),
            test=heldout,
            version=registry.next_version(trainer.name),
            progress=steps,
            provenance=_provenance(champion, times[train]),
        )
    except GateError as error:
        return dataclasses.replace(verdict, reason=str(error))
    with steps.step("compare") as say:
        comparison = _compare(trainer, champion, candidate, heldout, gate)
        passes = gate.passes(comparison)
        reason = _reason(comparison, gate, passes=passes)
        say.append(reason)
    if not dry_run:
        _publish(registry, candidate, alias if passes else "", reason)
    elif passes:
        reason += "; nothing was published, this is a dry run"
    return dataclasses.replace(
        verdict,
        promoted=passes and not dry_run,
        reason=reason,
        challenger=candidate.bundle.manifest.title,
        comparison=comparison,
        published=not dry_run,
    )


def _seen_until(champion: Bundle) -> int:
    """Return the time, Unix ns, up to which the champion may have seen rows.

    Where its training does not tell, or tells a count such as a week, it is when it was made.
    """
    manifest = champion.manifest
    until = _moment(str(manifest.training.get("data_until", "")))
    made = dt.datetime.fromisoformat(manifest.created)
    return int((made if until is None else until).timestamp() * 1e9)


def _moment(text: str) -> dt.datetime | None:
    if text.isdigit():  # 20240110 is a count here, though a date by ISO 8601
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _newest_held_out(
    times: NDArray[np.int64], seen_until: int, share: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split rows by time; those of one instant stay together.

    Args:
        times: Unix ns of each row, `(n,)`.
        seen_until: Rows up to here were the champion's.
        share: Share of all rows to hold out, the newest.

    Returns:
        Rows to train on and rows to compare on.
    """
    if not len(times):
        return np.empty(0, np.intp), np.empty(0, np.intp)
    cut = np.quantile(times, 1 - share, method="inverted_cdf")
    heldout = times > max(int(cut), seen_until)
    return np.flatnonzero(~heldout), np.flatnonzero(heldout)


def _too_few(
    trainer: Trainer,
    table: Dataset,
    train: NDArray[np.intp],
    test: NDArray[np.intp],
    champion: Bundle,
    gate: Gate,
) -> str:
    if min(len(train), len(test)) < gate.min_rows:
        return (
            f"too few logged rows with a known outcome: {len(train)} to train on and {len(test)} "
            f"newer ones that {champion.manifest.title} has not seen, {gate.min_rows} of each are "
            "needed; wait for more outcomes"
        )
    if (
        trainer.label.kind != "regression"
        and min(len(np.unique(table.y[rows])) for rows in (train, test)) < _N_CLASSES
    ):
        return "the known outcomes hold one class only; wait for outcomes of the other"
    return ""


def _provenance(champion: Bundle, times: NDArray[np.int64]) -> dict[str, Any]:
    first, last = (
        dt.datetime.fromtimestamp(int(time) / 1e9, dt.UTC).isoformat()
        for time in (times.min(), times.max())
    )
    return {
        "source": "prediction log",
        "data_from": first,
        "data_until": last,
        "champion": champion.manifest.title,
    }


def _compare(
    trainer: Trainer, champion: Bundle, candidate: Candidate, heldout: Dataset, gate: Gate
) -> Comparison | None:
    try:
        theirs = scores_by(champion, heldout)
    except SchemaError:
        return None
    if (classes := candidate.bundle.manifest.task.classes) and champion.manifest.task.classes:
        theirs = aligned(theirs, champion.manifest.task.classes, classes)
    return compare(
        heldout.y,
        theirs,
        scores_by(candidate.bundle, heldout),
        trainer.metric,
        champion.manifest.task.threshold,
        challenger_threshold=candidate.bundle.manifest.task.threshold,
        clusters=clusters_of(trainer, heldout),
        resamples=gate.resamples,
        seed=trainer.seed,
    )


def _reason(comparison: Comparison | None, gate: Gate, *, passes: bool) -> str:
    if comparison is None:
        return (
            "the champion reads columns that the trainer no longer declares, so the two cannot be "
            "compared; promote by hand once you are sure"
        )
    if passes:
        return "the challenger is better" if gate.margin == 0 else "the challenger holds the margin"
    if comparison.low is None or comparison.difference is None:
        return "too few held-out outcomes of one class to compare; wait for more"
    if comparison.difference > 0:
        return "the challenger looks better, but the gain may be chance; wait for more outcomes"
    return "the challenger is no better than the champion"


def _publish(registry: Registry, candidate: Candidate, alias: str, reason: str) -> None:
    target = registry.publish(candidate.bundle)
    registry.promote(target.name, CHALLENGER, target.version, "retrained on the log")
    if alias:
        registry.promote(target.name, alias, target.version, reason)
