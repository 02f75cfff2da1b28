"""Say which part of a declaration is of another kind than it must be.

It is looked at first: of a part that is no such thing, nothing else can be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mlembed.record import Record
from mlembed.training.checks import Checks
from mlembed.training.cleaning import Cleaning
from mlembed.training.gates import Gates
from mlembed.training.labels import Binary, Multiclass, Regression
from mlembed.training.screening import Leakage

if TYPE_CHECKING:
    from mlembed.training.trainer import Trainer


def wrong_kinds(trainer: Trainer) -> Iterator[str]:
    """Yield what each part that is of another kind must be."""
    for name, (fits, words) in _KINDS.items():
        if not fits(getattr(trainer, name)):
            yield f"{name} must be {words}"


def _is_record(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Record)


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds)


def _does(*names: str) -> Callable[[Any], bool]:
    """Accept None and what has attributes of these names; a class is no object of its own."""
    return lambda value: (
        value is None
        or (not isinstance(value, type) and all(hasattr(value, name) for name in names))
    )


def _are_names(value: Any) -> bool:
    """Accept names in an order that stays; such as a list, an array, or the columns of a frame."""
    several = isinstance(value, Collection) and not isinstance(value, (str, set, frozenset))
    is_flat = getattr(value, "ndim", 1) == 1
    return several and is_flat and all(isinstance(name, str) for name in value)


def _are_transforms(value: Any) -> bool:
    fits = _does("feature_names")
    return isinstance(value, Mapping) and all(
        each is not None and fits(each) for each in value.values()
    )


_TEXT = _is(str), "a text"
_NAMES = _are_names, "a list of names"
_KINDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("name", "metric", "baseline", "entity", "version"), _TEXT),
    "record": (_is_record, "a subclass of mlembed.Record"),
    "label": (
        _is(Binary, Multiclass, Regression),
        "Binary(...), Multiclass(...) or Regression(...)",
    ),
    "split": (
        _does("split", "folds", "columns"),
        "TimeSplit(...), GroupSplit(...) or RandomSplit(...), or None",
    ),
    "transforms": (_are_transforms, "a mapping of names to transforms"),
    "features": (lambda value: value is None or _are_names(value), "a list of names, or None"),
    "slices": _NAMES,
    "cleaning": (_is(Cleaning), "Cleaning(...)"),
    "checks": (_is(Checks), "Checks(...)"),
    "leakage": (_is(Leakage), "Leakage(...)"),
    "gates": (_is(Gates), "Gates(...)"),
    "tuning": (_does("spaces", "trials"), "Tuning(...), or None"),
    # A number has words of its own.
    "threshold": (lambda value: not isinstance(value, type), "a rule, such as ByCost(...)"),
}
