"""From a table to a proven bundle, in one declared run.

    read -> clean -> split -> learn vocabularies -> compute features -> choose -> fit
         -> lower -> prove -> evaluate -> pack

Features are computed by the graph that will serve them, and nothing leaves this module
without a proof that graph and estimator agree.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from sklearn.base import is_classifier, is_regressor

from mlembed.bundle.manifest import NAME_RULE, is_name, is_version
from mlembed.errors import DeclarationError, GateError
from mlembed.monitoring.metrics import DEFAULT_METRIC, METRICS
from mlembed.record import columns_of
from mlembed.training import lowering
from mlembed.training.candidate import Candidate
from mlembed.training.cleaning import Cleaning
from mlembed.training.dataset import Dataset, read
from mlembed.training.evaluation import describe
from mlembed.training.fitting import Fitted, Prepared, choose, fit, prepare_table
from mlembed.training.packing import pack_candidate
from mlembed.training.progress import Steps
from mlembed.training.proof import Proof, estimator_scores, prove
from mlembed.training.vocabulary import learn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from mlembed.columns import Column
    from mlembed.features import Transform
    from mlembed.record import Record
    from mlembed.training.labels import Binary, Regression
    from mlembed.training.progress import Progress
    from mlembed.training.splits import Split

N_STEPS = 7


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trainer:
    """How a model is made; write one in a `train.py` and run `mlembed train train.py`.

    Attributes:
        name: Name of the model.
        record: The record class that the host imports too.
        label: What is predicted: `Binary` or `Regression`.
        candidates: Unfitted scikit-learn estimators that compete.
        split: How rows are held out: `TimeSplit`, `GroupSplit` or `RandomSplit`.
        transforms: Declared features by name.
        features: Features to use; by default every column but timestamps, and every transform.
        cleaning: Rules for raw tables.
        metric: Picks among the candidates; `roc_auc` for a binary label, `mae` for a quantity.
        floor: Worst held-out value of the metric that may be published, or None.
        abstain: Closed band of scores in which the model gives no label, or None.
        version: Version to publish; the next minor version by default.
        seed: Seed of everything random.
    """

    name: str
    record: type[Record]
    label: Binary | Regression
    candidates: Sequence[Any]
    split: Split
    transforms: Mapping[str, Transform] = dataclasses.field(default_factory=dict)
    features: Sequence[str] | None = None
    cleaning: Cleaning = dataclasses.field(default_factory=Cleaning)
    metric: str = ""
    floor: float | None = None
    abstain: tuple[float, float] | None = None
    version: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.metric:
            object.__setattr__(self, "metric", DEFAULT_METRIC[self.label.kind])
        problems = list(_problems(self))
        if problems:
            raise DeclarationError(f"Trainer '{self.name}': {'; '.join(problems)}")
        for candidate in self.candidates:
            lowering.check(candidate)
        lowering.feature_specs(self.columns, self.transforms, self.feature_names)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The record's columns, vocabularies not yet learnt."""
        return columns_of(self.record)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The features, in the order of the estimator's matrix."""
        if self.features is not None:
            return tuple(self.features)
        raw = [column.name for column in self.columns if column.kind != "timestamp"]
        made = [f for name, item in self.transforms.items() for f in item.feature_names(name)]
        return (*raw, *made)

    def read(self, data: Any, *, rejects: Path | None = None) -> Dataset:
        """Read and clean a table.

        Args:
            data: Path of a CSV or Parquet file, or a frame or mapping of columns.
            rejects: Where rows that break a rule are set aside, with the reason of each.

        Raises:
            DataError: If the table cannot be trained on.
        """
        return read(
            data,
            self.columns,
            self.label,
            self.cleaning,
            rejects=rejects,
            extra=self.split.columns,
        )

    def train(
        self,
        data: Any,
        *,
        test: Any = None,
        version: str = "",
        rejects: Path | None = None,
        progress: Progress | Steps | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> Candidate:
        """Train on *data* and return a proven bundle.

        Args:
            data: As for `read`; or a Dataset.
            test: A table of its own to measure on; by default the split holds rows out.
            version: Version of the bundle, where the declaration names none.
            rejects: Where rejected rows are set aside.
            progress: Hears of every step.
            provenance: Facts to keep in the manifest's training section.

        Raises:
            DataError: If the table cannot be trained on.
            ProofError: If graph and estimator disagree.
            GateError: If the floor is not reached.
        """
        steps = Steps.of(progress, N_STEPS)
        with steps.step("read and clean") as say:
            table = data if isinstance(data, Dataset) else self.read(data, rejects=rejects)
            heldout = self._heldout(test)
            say.append(_counts(table))
        with steps.step("split") as say:
            rejected = table.reasons
            if heldout is None:
                fold = self.split.split(table)
                table, heldout = table.take(fold.train), table.take(fold.test)
            say.append(f"{len(table.y):,} rows to train on, {len(heldout.y):,} to measure on")
        with steps.step("compute features") as say:
            columns = learn(self.columns, table)
            prepared = prepare_table(self, columns, table)
            measured = prepare_table(self, columns, heldout)
            say.append(f"{len(prepared.specs)} features by the graph that will serve them")
        with steps.step("choose") as say:
            estimator, contest = choose(self, prepared)
            say.append(_contest(contest, self.metric))
        with steps.step("fit") as say:
            fitted = fit(self, estimator, prepared)
            say.append(fitted.name)
        with steps.step("prove") as say:
            proof = self._prove(fitted, measured)
            say.append(f"{proof.n_rows:,} rows agree to {proof.max_abs_error:.1e}")
        with steps.step("measure and pack") as say:
            scores = fitted.session.run_matrix(measured.x)
            evaluation = describe(self, measured.y, scores, contest)
            metrics = evaluation["metrics"]
            self._check_floor(metrics)
            bundle = pack_candidate(
                self,
                fitted,
                measured,
                evaluation=evaluation,
                proof=proof,
                version=self.version or version or "1.0.0",
                provenance={**_facts(table, heldout), **(provenance or {})},
            )
            say.append(_metrics(metrics))
        return Candidate(
            bundle=bundle,
            metrics=metrics,
            proof=proof,
            contest=contest,
            fitted=fitted,
            n_train=len(table.y),
            n_test=len(heldout.y),
            rejected=rejected,
        )

    def _heldout(self, test: Any) -> Dataset | None:
        if test is None or isinstance(test, Dataset):
            return test
        return self.read(test)

    def _prove(self, fitted: Fitted, measured: Prepared) -> Proof:
        return prove(
            fitted.model,
            estimator_scores(fitted.estimator, fitted.features_model),
            measured.x,
            fitted.columns,
            kind=self.label.kind,
            splits=lowering.split_values(fitted.estimator, measured.specs),
            threshold=self.label.threshold if self.label.kind == "binary" else None,
            seed=self.seed,
        )

    def _check_floor(self, metrics: Mapping[str, float]) -> None:
        if self.floor is None:
            return
        value, sign = metrics[self.metric], METRICS[self.metric].sign
        if sign * value < sign * self.floor:
            raise GateError(
                f"'{self.name}' reaches {self.metric} {value:.4f} on held-out rows, the "
                f"declared floor is {self.floor:.4f}. Nothing was published"
            )


def _problems(trainer: Trainer) -> Iterator[str]:
    kind, label = trainer.label.kind, trainer.label.column
    allowed = [name for name, metric in METRICS.items() if metric.kind == kind]
    if not is_name(trainer.name):
        yield f"the name must match {NAME_RULE}"
    if trainer.version and not is_version(trainer.version):
        yield "the version must be major.minor.patch"
    if trainer.metric not in allowed:
        yield (
            f"metric '{trainer.metric}' does not suit a {kind} label; expected one of "
            f"{', '.join(allowed)}"
        )
    if label in trainer.record.model_fields:
        yield f"the label '{label}' is a column of the record, so the model would be told the truth"
    if trainer.abstain is not None and not trainer.abstain[0] <= trainer.abstain[1]:
        yield "abstain must be a band (low, high)"
    if not trainer.candidates:
        yield "name at least one candidate"
    suits = is_classifier if kind == "binary" else is_regressor
    wanted = "classifier" if kind == "binary" else "regressor"
    for candidate in trainer.candidates:
        if not suits(candidate):
            yield f"{type(candidate).__name__} is no {wanted}, which a {kind} label needs"


def _facts(table: Dataset, heldout: Dataset) -> dict[str, Any]:
    return {"n_train": len(table.y), "n_test": len(heldout.y), "data_digest": table.digest}


def _counts(table: Dataset) -> str:
    rejected = f", {table.n_rejected:,} set aside" if table.n_rejected else ""
    return f"{table.n_read:,} rows{rejected}"


def _contest(contest: Mapping[str, float], metric: str) -> str:
    return "; ".join(f"{name} {metric} {value:.4f}" for name, value in contest.items())


def _metrics(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
