"""From a table to a proven bundle, in one declared run.

    read and clean -> hold rows out -> check -> compute features -> choose and tune -> fit and settle
                   -> prove -> measure -> judge and pack

Features are computed by the graph that will serve them, and nothing leaves this module without a
proof that graph and estimator agree, and without having passed its gates.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any

from mlembed.errors import DataError
from mlembed.monitoring.page import save
from mlembed.training import gates
from mlembed.training.calibrating import Settled, fit_and_settle
from mlembed.training.candidate import Candidate
from mlembed.training.checks import require, run_checks
from mlembed.training.contest import Contest, choose
from mlembed.training.dataset import Dataset
from mlembed.training.fitting import Fitted, Prepared, finish, prepare_table
from mlembed.training.labels import Binary
from mlembed.training.measuring import Measuring, measure
from mlembed.training.outputs import require_apart
from mlembed.training.packing import Packing
from mlembed.training.progress import Steps
from mlembed.training.proving import prove_estimator
from mlembed.training.screening import Screened, screen, time_of
from mlembed.training.seen import are_same_rows
from mlembed.training.several import with_classes
from mlembed.training.snapshot import Snapshot
from mlembed.training.summary import summarise
from mlembed.training.vocabulary import learn, require_known

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlembed.bundle.bundle import Bundle
    from mlembed.training.progress import Progress
    from mlembed.training.proof import Proof
    from mlembed.training.trainer import Trainer

N_STEPS = 9


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tables:
    """The rows of a run.

    Attributes:
        whole: All good rows of the table.
        train: Rows to train on.
        test: Rows held out, or the table that was given to measure on.
    """

    whole: Dataset
    train: Dataset
    test: Dataset

    @property
    def given(self) -> bool:
        """Whether the rows to measure on were given, so that no split held them out."""
        return self.train is self.whole


class Run:
    """One run of a declaration; call it once.

    Args:
        trainer: The declaration.
        progress: Hears of every step.
        champion: What serves now, or None.
        report: File for the report, or None.
        study: Journal file of the tuning, or None.
    """

    def __init__(
        self,
        trainer: Trainer,
        *,
        progress: Progress | Steps | None = None,
        champion: Bundle | None = None,
        report: Path | None = None,
        study: Path | None = None,
    ) -> None:
        self._trainer = trainer
        self._steps = Steps.of(progress, N_STEPS)
        self._champion, self._report, self._study = champion, report, study

    def __call__(
        self,
        data: Any,
        test: Any,
        *,
        version: str,
        rejects: Path | None,
        provenance: Mapping[str, Any],
    ) -> Candidate:
        """Train on *data*; see `Trainer.train`."""
        outputs = {"report": self._report, "rejects": rejects, "study": self._study}
        require_apart(outputs, (data, test))
        table, heldout = self._read(data, test, rejects)
        tables = self._split(table, heldout)
        checks, screened = self._check(tables)
        trainer = screened.trainer
        prepared, measured = self._features(screened, tables)
        contest = self._choose(trainer, prepared)
        settled, fitted = self._fit(trainer, contest, prepared)
        trainer = _with_threshold(trainer, settled)
        proof = self._prove(trainer, fitted, measured)
        with self._steps.step("measure") as say:
            scores = fitted.session.run_matrix(measured.x)
            evaluation = measure(
                Measuring(
                    trainer=trainer,
                    rule=self._trainer.threshold,
                    prepared=prepared,
                    measured=measured,
                    scores=scores,
                    fitted=fitted,
                    settled=settled,
                    contest=contest,
                    champion=self._champion,
                    given=tables.given,
                )
            )
            evaluation["leakage"] = list(screened.leaks)
            evaluation["data"] = {
                **summarise(prepared.columns, tables.train),
                "n_read": tables.whole.n_read,
                "n_rejected": tables.whole.n_rejected,
                "reasons": dict(tables.whole.reasons),
                "joins": [dataclasses.asdict(join) for join in tables.whole.joins],
                "checks": checks,
            }
            say.append(_metrics(evaluation["metrics"]))
        with self._steps.step("judge and pack") as say:
            judged = gates.judge(trainer.gates, trainer.yardstick, evaluation)
            evaluation["gates"] = [dataclasses.asdict(item) for item in judged]
            packing = Packing(
                trainer=trainer,
                fitted=fitted,
                measured=measured,
                scores=scores,
                evaluation=evaluation,
                proof=proof,
                interval=settled.interval,
                version=trainer.version or version or "1.0.0",
                provenance={**_facts(tables, evaluation), **provenance},
            )
            if self._report is not None:
                _write(self._report, packing.report())
            gates.require(trainer.name, judged)
            bundle = packing.bundle()
            say.append(f"{len(judged)} gates passed" if judged else "no gates were declared")
        return Candidate(
            bundle=bundle,
            evaluation=evaluation,
            proof=proof,
            contest=contest.means,
            fitted=fitted,
            n_train=len(tables.train),
            n_test=len(tables.test),
            rejected=tables.whole.reasons,
        )

    def _read(self, data: Any, test: Any, rejects: Path | None) -> tuple[Dataset, Dataset | None]:
        with self._steps.step("read and clean") as say:
            table = data if isinstance(data, Dataset) else self._trainer.read(data, rejects=rejects)
            self._trainer = with_classes(self._trainer, table)
            heldout = test
            if test is not None and not isinstance(test, Dataset):
                heldout = self._trainer.read(test)
            if heldout is not None and are_same_rows(heldout, table):
                raise DataError(
                    "the table to measure on is the table to train on, whose labels the model "
                    "has seen: give other rows (--test), or leave it out"
                )
            rejected = f", {table.n_rejected:,} set aside" if table.n_rejected else ""
            say.append(f"{table.n_read:,} rows{rejected}")
            say += [
                f"{join.n_matched:,} of them have a row of {join.title}" for join in table.joins
            ]
        return table, heldout

    def _split(self, table: Dataset, heldout: Dataset | None) -> Tables:
        with self._steps.step("hold rows out") as say:
            tables = Tables(whole=table, train=table, test=table if heldout is None else heldout)
            if heldout is None:
                fold = self._trainer.held_out_by.split(table)
                tables = Tables(
                    whole=table, train=table.take(fold.train), test=table.take(fold.test)
                )
            say.append(
                f"{len(tables.train):,} rows to train on, {len(tables.test):,} to measure on"
            )
        return tables

    def _check(self, tables: Tables) -> tuple[list[dict[str, Any]], Screened]:
        trainer = self._trainer
        with self._steps.step("check") as say:
            checks = run_checks(
                trainer.columns,
                tables.whole,
                trainer.label,
                checks=trainer.checks,
                previous=_previous(self._champion),
                now=dt.datetime.now(dt.UTC),
                time=time_of(trainer),
                trained=tables.train,
                measured=tables.test if tables.given else None,
            )
            require(checks)
            screened = screen(trainer, tables.train)
            warned = sum(check.status == "warning" for check in checks)
            say.append(f"{len(checks)} checks, {warned} warnings")
            say += [
                f"'{leak['column']}' {leak['detail']}: {leak['action']}" for leak in screened.leaks
            ]
        return [check.to_json() for check in checks], screened

    def _features(self, screened: Screened, tables: Tables) -> tuple[Prepared, Prepared]:
        with self._steps.step("compute features") as say:
            columns = learn(screened.columns, tables.train)
            require_known(columns, tables.test)
            prepared = prepare_table(screened.trainer, columns, tables.train)
            measured = prepare_table(screened.trainer, columns, tables.test)
            say.append(f"{len(prepared.specs)} features by the graph that will serve them")
        return prepared, measured

    def _choose(self, trainer: Trainer, prepared: Prepared) -> Contest:
        with self._steps.step("choose" if trainer.tuning is None else "choose and tune") as say:
            contest = choose(trainer, prepared, self._steps, self._study)
            means = contest.means.items()
            say.append("; ".join(f"{name} {trainer.metric} {value:.4f}" for name, value in means))
        return contest

    def _fit(
        self, trainer: Trainer, contest: Contest, prepared: Prepared
    ) -> tuple[Settled, Fitted]:
        with self._steps.step("fit") as say:
            settled = fit_and_settle(trainer, contest.chosen, prepared)
            fitted = finish(trainer, contest.chosen, settled.estimator, prepared)
            say.append(fitted.name)
            if len(settled.sides.test):
                say.append(f"{len(settled.sides.test):,} later rows to settle on")
        return settled, fitted

    def _prove(self, trainer: Trainer, fitted: Fitted, measured: Prepared) -> Proof:
        with self._steps.step("prove") as say:
            proof = prove_estimator(
                fitted.estimator,
                fitted.columns,
                trainer.transforms,
                trainer.feature_names,
                measured.x,
                kind=trainer.label.kind,
                threshold=trainer.label.threshold if trainer.label.kind == "binary" else None,
                seed=trainer.seed,
                model=fitted.model,
            )
            say.append(f"{proof.n_rows:,} rows agree to {proof.max_abs_error:.1e}")
        return proof


def _with_threshold(trainer: Trainer, settled: Settled) -> Trainer:
    """Return the declaration with the threshold that was settled."""
    if settled.threshold is None or not isinstance(trainer.label, Binary):
        return trainer
    label = dataclasses.replace(trainer.label, threshold=settled.threshold.value)
    return dataclasses.replace(trainer, label=label, threshold=None)


def _write(path: Path, page: str) -> None:
    try:
        save(page, path)
    except OSError as error:
        raise DataError(
            f"the report cannot be written to {path} ({error.strerror}): name a file in a "
            "directory that you may write to"
        ) from error


def _previous(champion: Bundle | None) -> Snapshot | None:
    if champion is None or "evaluation.json" not in champion.files:
        return None
    data = champion.json("evaluation.json").get("data")
    columns = champion.manifest.columns
    return None if data is None else Snapshot.from_json(data, columns=columns)


def _facts(tables: Tables, evaluation: Mapping[str, Any]) -> dict[str, Any]:
    # Sides stand in time: the last before the rows held out is the latest that was learnt from.
    until = evaluation["folds"]["sides"][-2].get("until")
    return {
        "n_train": len(tables.train),
        "n_test": len(tables.test),
        "data_digest": tables.whole.digest,
        **({"test_digest": tables.test.digest} if tables.given else {}),
        **({"data_until": until} if until else {}),
    }


def _metrics(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
