"""Say all that is wrong with a declaration, before any data is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sklearn.base import is_classifier, is_outlier_detector, is_regressor

from mlembed.bundle.manifest import NAME_RULE, is_name, is_version
from mlembed.errors import DeclarationError
from mlembed.training.calibrating import METHODS
from mlembed.training.competitors import competitors
from mlembed.training.spaces import space_problems
from mlembed.training.yardstick import metrics_for, suits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlembed.training.trainer import Trainer


def require_sound(trainer: Trainer) -> None:
    """Refuse a declaration that makes no sense.

    Raises:
        DeclarationError: Listing everything that is wrong.
    """
    problems = [*_names(trainer), *_label(trainer), *_settling(trainer), *_candidates(trainer)]
    problems = problems or list(_tuning(trainer))
    if problems:
        raise DeclarationError(f"Trainer '{trainer.name}': {'; '.join(problems)}")
    trainer.held_out_by  # noqa: B018  raises where a split is owed


def _names(trainer: Trainer) -> Iterator[str]:
    if not is_name(trainer.name):
        yield f"the name must match {NAME_RULE}"
    if trainer.version and not is_version(trainer.version):
        yield "the version must be major.minor.patch"
    if not (isinstance(trainer.folds, int) and trainer.folds >= 1):
        yield "folds must be a whole number of at least 1"
    if not 0 < trainer.settling_share < 1:
        yield "settling_share must lie between 0 and 1"
    fields = trainer.record.model_fields
    missing = trainer.checks.max_missing
    for words, names in (
        ("slices", trainer.slices),
        ("Leakage(absent=...)", trainer.leakage.absent),
        ("Leakage(known_at=...)", trainer.leakage.known_at),
        ("Checks(max_missing=...)", missing if isinstance(missing, Mapping) else ()),
    ):
        unknown = [name for name in names if name not in fields]
        if unknown:
            yield f"{words} names {unknown}, which are no columns of the record"
    if trainer.baseline and trainer.baseline not in fields:
        yield f"the baseline '{trainer.baseline}' is no column of the record"


def _label(trainer: Trainer) -> Iterator[str]:
    kind, label = trainer.label.kind, trainer.label.column
    if not suits(trainer.metric, kind):
        yield (
            f"metric '{trainer.metric}' does not suit a {kind} label; expected one of "
            f"{', '.join(metrics_for(kind))}"
        )
    if label in trainer.record.model_fields:
        yield f"the label '{label}' is a column of the record, so the model would be told the truth"
    if trainer.entity and trainer.entity == label:
        yield f"the entity '{label}' is the label"
    yield from trainer.gates.problems(kind)


def _settling(trainer: Trainer) -> Iterator[str]:
    kind = trainer.label.kind
    if trainer.abstain is not None and not trainer.abstain[0] <= trainer.abstain[1]:
        yield "abstain must be a band (low, high)"
    if trainer.calibration is not None:
        if trainer.calibration not in METHODS:
            yield f"calibration must be one of {', '.join(METHODS)}, or None"
        if kind == "regression":
            yield "a regression label is not calibrated; Interval(...) tells how far it may be off"
    if trainer.threshold is not None and kind != "binary":
        yield f"a {kind} label has no threshold"
    if trainer.interval is not None and kind != "regression":
        yield f"a {kind} label has no interval"


def _candidates(trainer: Trainer) -> Iterator[str]:
    if not isinstance(trainer.candidates, Sequence):
        yield "candidates must be a list of estimators"
        return
    if not trainer.candidates:
        yield "name at least one candidate"
    kind = trainer.label.kind
    suits = is_regressor if kind == "regression" else is_classifier
    wanted = "regressor" if kind == "regression" else "classifier"
    for candidate in trainer.candidates:
        if isinstance(candidate, type):
            yield f"{candidate.__name__} is a class, expected {candidate.__name__}(...)"
        elif not hasattr(candidate, "fit"):
            yield f"a {type(candidate).__name__} is no estimator"
        elif not (suits(candidate) or (kind == "binary" and is_outlier_detector(candidate))):
            yield f"{type(candidate).__name__} is no {wanted}, which a {kind} label needs"


def _tuning(trainer: Trainer) -> Iterator[str]:
    if trainer.tuning is not None:
        rivals = competitors(trainer.candidates, trainer.label.kind, trainer.metric)
        yield from space_problems(trainer.tuning.spaces, rivals)
