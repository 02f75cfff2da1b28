"""Say all that is wrong with a declaration, before any data is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sklearn.base import is_classifier, is_outlier_detector, is_regressor
from sklearn.calibration import CalibratedClassifierCV

from mlembed.bundle.manifest import NAME_RULE, is_name, is_version
from mlembed.columns import is_finite_number
from mlembed.errors import DeclarationError, LoweringError
from mlembed.training import lowering
from mlembed.training.calibrating import METHODS
from mlembed.training.competitors import competitors
from mlembed.training.conformal import Interval
from mlembed.training.kinds import wrong_kinds
from mlembed.training.labels import DEFAULT_THRESHOLD
from mlembed.training.spaces import space_problems
from mlembed.training.timesplit import TimeSplit
from mlembed.training.yardstick import UNFIT, metrics_for, suits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlembed.training.trainer import Trainer

_SEEDS = 1 << 32
_COUNTED = ("number", "integer", "boolean")


def require_sound(trainer: Trainer) -> None:
    """Refuse a declaration that makes no sense.

    Raises:
        DeclarationError: Listing everything that is wrong.
    """
    problems = list(wrong_kinds(trainer))
    if problems:
        raise DeclarationError(f"Trainer '{trainer.name}': {'; '.join(problems)}")
    problems = [
        *_names(trainer),
        *_label(trainer),
        *_settling(trainer),
        *_leakage(trainer),
        *_candidates(trainer),
    ]
    problems = problems or list(_tuning(trainer))
    if problems:
        raise DeclarationError(f"Trainer '{trainer.name}': {'; '.join(problems)}")
    trainer.held_out_by  # noqa: B018  raises where a split is owed


def _names(trainer: Trainer) -> Iterator[str]:
    if not is_name(trainer.name):
        yield f"the name must match {NAME_RULE}"
    if trainer.version and not is_version(trainer.version):
        yield "the version must be major.minor.patch"
    if not (_is_whole(trainer.folds) and trainer.folds >= 1):
        yield "folds must be a whole number of at least 1"
    if not (_is_whole(trainer.seed) and 0 <= trainer.seed < _SEEDS):
        yield "the seed must be a whole number from 0 to 2^32 - 1"
    if not (is_finite_number(trainer.settling_share) and 0 < trainer.settling_share < 1):
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
    if trainer.baseline:
        yield from _baseline(trainer)


def _baseline(trainer: Trainer) -> Iterator[str]:
    """Yield why the baseline's values cannot be held against the label."""
    kinds = {column.name: column.kind for column in trainer.columns}
    kind = kinds.get(trainer.baseline)
    if kind is None:
        yield f"the baseline '{trainer.baseline}' is no column of the record"
    elif trainer.label.kind == "multiclass":
        yield "a label of several classes has no column as a baseline: one number tells no class"
    elif kind not in _COUNTED:
        yield f"the baseline '{trainer.baseline}' is a {kind}, expected a number"


def _label(trainer: Trainer) -> Iterator[str]:
    kind, label = trainer.label.kind, trainer.label.column
    if kind == "binary" and trainer.metric in UNFIT:
        yield f"nothing can be chosen by metric '{trainer.metric}': {UNFIT[trainer.metric]}"
    elif not suits(trainer.metric, kind):
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
    if trainer.abstain is not None and kind == "regression":
        yield "a regression label has no band to abstain in"
    if not (trainer.abstain is None or _is_band(trainer.abstain)):
        yield "abstain must be a band (low, high)"
    if trainer.calibration not in (None, *METHODS):
        yield f"calibration must be one of {', '.join(METHODS)}, or None"
    if trainer.calibration is not None and kind == "regression":
        yield "a regression label is not calibrated; Interval(...) tells how far it may be off"
    if trainer.threshold is not None:
        yield from _threshold(trainer)
    if trainer.interval is not None and kind != "regression":
        yield f"a {kind} label has no interval"
    if not isinstance(trainer.interval, Interval | None):
        yield "interval must be an Interval, such as Interval(0.9)"


def _threshold(trainer: Trainer) -> Iterator[str]:
    label = trainer.label
    if label.kind != "binary":
        yield f"a {label.kind} label has no threshold"
    elif not hasattr(trainer.threshold, "choose"):
        yield (
            "threshold must be a rule, such as ByCost(...); a number belongs into "
            f"Binary('{label.column}', threshold=...)"
        )
    elif label.threshold != DEFAULT_THRESHOLD:
        yield "threshold names a rule and the label a threshold of its own: leave one of them out"


def _leakage(trainer: Trainer) -> Iterator[str]:
    timed = isinstance(trainer.split, TimeSplit) or trainer.split is None
    if trainer.leakage.known_at and not timed:
        yield (
            "Leakage(known_at=...) needs the moment of each prediction: hold rows out by "
            "TimeSplit(...), or leave it out"
        )


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
        elif trainer.calibration in METHODS and kind != "regression":
            yield from _calibrated(candidate, trainer.calibration)


def _calibrated(candidate: Any, method: str | None) -> Iterator[str]:
    """Yield why *candidate* cannot be calibrated and served, where it could be served as it is."""
    if is_outlier_detector(candidate):
        yield f"{type(candidate).__name__} has no probabilities that could be calibrated"
        return
    try:
        lowering.check(candidate)
    except LoweringError:
        return  # refused for itself, in its own words
    try:
        lowering.check(CalibratedClassifierCV(candidate, method=method))
    except LoweringError as error:
        yield f"calibration='{method}': {error}"


def _tuning(trainer: Trainer) -> Iterator[str]:
    if trainer.tuning is not None:
        rivals = competitors(trainer.candidates, trainer.label.kind, trainer.metric)
        yield from space_problems(trainer.tuning.spaces, rivals)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_band(value: object) -> bool:
    return (
        isinstance(value, Sequence)
        and len(value) == 2  # noqa: PLR2004  low and high
        and all(map(is_finite_number, value))
        and value[0] <= value[1]
    )
