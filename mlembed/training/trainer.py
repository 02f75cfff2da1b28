"""The declaration of how a model is made.

A declaration is checked whole before any data is read: what cannot be trained, proved or served is
refused by name, with all that is wrong in one message.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from mlembed.errors import DataError
from mlembed.record import columns_of
from mlembed.training import lowering
from mlembed.training.checks import Checks
from mlembed.training.cleaning import Cleaning
from mlembed.training.dataset import Dataset, read
from mlembed.training.declaring import require_sound
from mlembed.training.gates import Gates
from mlembed.training.screening import Leakage
from mlembed.training.splits import default_split, split_again
from mlembed.training.yardstick import Yardstick, default_metric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mlembed.bundle.bundle import Bundle
    from mlembed.columns import Column
    from mlembed.features import Transform
    from mlembed.record import Record
    from mlembed.training.calibrating import Method
    from mlembed.training.candidate import Candidate
    from mlembed.training.conformal import Interval
    from mlembed.training.folds import Fold
    from mlembed.training.labels import Binary, Multiclass, Regression
    from mlembed.training.progress import Progress, Steps
    from mlembed.training.splits import Split
    from mlembed.training.threshold import Rule
    from mlembed.training.tuning import Tuning


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trainer:
    """How a model is made; write one in a `train.py` and run `mlembed train train.py`.

    Attributes:
        name: Name of the model.
        record: The record class that the host imports too.
        label: What is predicted: `Binary`, `Multiclass` or `Regression`.
        candidates: Unfitted scikit-learn, LightGBM or XGBoost estimators, or pipelines, that
            compete; a linear model and a trivial baseline are always there.
        split: How rows are held out: `TimeSplit`, `GroupSplit` or `RandomSplit`; by default in the
            time of the record's one timestamp.
        data: The table, where the command line names none: a path, a `Table` of joined sources or
            a `Query`.
        transforms: Declared features by name.
        features: Features to use; by default every column but timestamps, and every transform.
        cleaning: Rules for raw tables.
        checks: What the table must hold to be trained on.
        leakage: What is done about columns that seem to know the label.
        metric: Picks among the candidates; `roc_auc` for a binary label, `mae` for a quantity,
            `error` for several classes.
        baseline: Column that a model must beat, such as the demand of a week before; by default
            the constant that is best for the metric.
        folds: Folds of the training rows on which the candidates compete.
        tuning: How the settings of the candidates are searched, or None.
        calibration: `sigmoid`, `isotonic` or `temperature`, on later rows; or None.
        threshold: Rule that chooses the threshold on later rows: `ByCost`, `ByCapacity`,
            `ByPrecision` or `ByRecall`; by default it is the label's.
        interval: Interval about the score of a quantity that holds the truth as often as told.
        settling_share: Share of the training rows, the newest by the split, that calibration,
            threshold and interval are settled on, where there are any.
        entity: Column that names whom rows are about; they are drawn together when luck is judged.
        slices: Columns by which the metric is shown; by default those with the worst slices.
        gates: What must be shown before anything is published.
        abstain: Closed band of scores in which the model gives no label, or None.
        version: Version to publish; the next minor version by default.
        seed: Seed of everything random.
    """

    name: str
    record: type[Record]
    label: Binary | Multiclass | Regression
    candidates: Sequence[Any]
    split: Split | None = None
    data: Any = None
    transforms: Mapping[str, Transform] = dataclasses.field(default_factory=dict)
    features: Sequence[str] | None = None
    cleaning: Cleaning = dataclasses.field(default_factory=Cleaning)
    checks: Checks = dataclasses.field(default_factory=Checks)
    leakage: Leakage = dataclasses.field(default_factory=Leakage)
    metric: str = ""
    baseline: str = ""
    folds: int = 3
    tuning: Tuning | None = None
    calibration: Method | None = None
    threshold: Rule | None = None
    interval: Interval | None = None
    settling_share: float = 0.2
    entity: str = ""
    slices: Sequence[str] = ()
    gates: Gates = dataclasses.field(default_factory=Gates)
    abstain: tuple[float, float] | None = None
    version: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.metric and hasattr(self.label, "kind"):
            object.__setattr__(self, "metric", default_metric(self.label.kind))
        require_sound(self)
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

    @property
    def yardstick(self) -> Yardstick:
        """The metric that picks among the candidates."""
        return Yardstick(self.metric, self.label.kind, self.label.threshold)

    @property
    def held_out_by(self) -> Split:
        """How rows are held out.

        Raises:
            DeclarationError: If none was declared and the record has not just one timestamp.
        """
        return self.split or default_split(self.columns)

    @property
    def extra(self) -> tuple[str, ...]:
        """Columns of the table that are needed beside the record and the label."""
        rule = self.threshold.columns if self.threshold is not None else ()
        known = self.leakage.known_at.values()
        named = (*self.held_out_by.columns, self.entity, *rule, *known)
        return tuple(dict.fromkeys(name for name in named if name))

    def validation(self, table: Dataset) -> tuple[Fold, ...]:
        """Return the folds of the training rows *table* on which the candidates compete."""
        split = self.held_out_by
        if self.folds > 1:
            return split.folds(table, self.folds)
        return (split_again(split, table, getattr(split, "test", None)),)

    def read(self, data: Any, *, rejects: Path | None = None) -> Dataset:
        """Read and clean a table.

        Args:
            data: Path of a CSV, JSON or Parquet file, a `Table` or `Query`, or a frame or mapping
                of columns.
            rejects: Where rows that break a rule are set aside, with the reason of each.

        Raises:
            DataError: If the table cannot be trained on.
        """
        return read(
            data, self.columns, self.label, self.cleaning, rejects=rejects, extra=self.extra
        )

    def train(  # noqa: PLR0913  all that one run may be told
        self,
        data: Any = None,
        *,
        test: Any = None,
        version: str = "",
        rejects: Path | None = None,
        champion: Bundle | None = None,
        report: Path | None = None,
        study: Path | None = None,
        progress: Progress | Steps | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> Candidate:
        """Train on *data* and return a proven bundle.

        Args:
            data: As for `read`, or a Dataset; by default what the declaration names.
            test: A table of its own to measure on; by default the split holds rows out.
            version: Version of the bundle, where the declaration names none.
            rejects: Where rejected rows are set aside.
            champion: What serves now: compared on the held-out rows, and its training table with
                this one.
            report: File for the report, an HTML page; written even where a gate fails.
            study: Journal file of the tuning, so that it can be resumed and shared.
            progress: Hears of every step.
            provenance: Facts to keep in the manifest's training section.

        Raises:
            DataError: If the table cannot be trained on.
            ProofError: If graph and estimator disagree.
            GateError: If a gate is not passed.
        """
        from mlembed.training.run import Run
        from mlembed.training.threads import one_order

        run = Run(self, progress=progress, champion=champion, report=report, study=study)
        given = self.data if data is None else data
        if given is None:
            raise DataError(
                f"'{self.name}' has no table to train on: give one (--data), or declare "
                "Trainer(data=...)"
            )
        with one_order():
            return run(given, test, version=version, rejects=rejects, provenance=provenance or {})
