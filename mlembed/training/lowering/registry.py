"""Which estimators and transformers have an exact ONNX form, and who writes it.

The exact class is looked up, never a parent: a subclass may predict differently, and a graph
that is nearly right is worse than none.
"""

from __future__ import annotations

import dataclasses
import importlib
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import sklearn.base

from mlembed.errors import LoweringError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlembed.training.lowering.graph import Builder


TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True, slots=True)
class FeatureSpec:
    """One column of the matrix an estimator is fitted on.

    Attributes:
        name: Name of the feature.
        n_codes: Number of codes of a category, from 0 up; 0 for numbers.
    """

    name: str
    n_codes: int = 0


class Lower(Protocol):
    """Writes a fitted estimator into a graph."""

    def __call__(
        self, estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec], /
    ) -> str:
        """Add nodes that read *x*, double[N, len(specs)], and return their result.

        For a score that is the predicted value or the probability of the second class, double[N, 1];
        with more than two classes the probability of each, double[N, n_classes]. For a decision it
        is what the estimator's `decision_function` gives, of the same shapes.
        """


class LowerTransform(Protocol):
    """Writes a fitted transformer into a graph."""

    def __call__(
        self, transformer: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec], /
    ) -> tuple[str, tuple[FeatureSpec, ...]]:
        """Add nodes that read *x*, double[N, len(specs)].

        Returns:
            The transformed matrix, double[N, n_out], and what its columns are.
        """


def _clone(estimator: Any, specs: Sequence[FeatureSpec]) -> Any:
    del specs
    return sklearn.base.clone(estimator)


def _accept(estimator: Any) -> None:
    """Any settings of the estimator can be lowered."""


def _no_splits(estimator: Any) -> Mapping[int, Sequence[float]]:
    """No threshold is known to split the estimator's input."""
    del estimator
    return {}


@dataclasses.dataclass(frozen=True, slots=True)
class Family:
    """What is known about one class of estimators.

    Attributes:
        lower: Writes the fitted estimator into a graph.
        prepare: Makes what to fit on a matrix with NaN and codes; a clone where the estimator
            takes those itself.
        check: Raises LoweringError for settings that cannot be lowered, before the fit.
        splits: Thresholds of the fitted estimator by feature position, for the proof.
        decision: Writes its decision function, which calibration reads; None where it has none.
        tolerance: Largest difference of a score that the proof allows, relative to
            max(1, |score|); above 1e-9 only where the library itself computes in float32.
        refused: Whether `check` refuses all of them, so that nobody is told to use one.
    """

    lower: Lower
    prepare: Callable[[Any, Sequence[FeatureSpec]], Any] = _clone
    check: Callable[[Any], None] = _accept
    splits: Callable[[Any], Mapping[int, Sequence[float]]] = _no_splits
    decision: Lower | None = None
    tolerance: float = TOLERANCE
    refused: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """What is known about one class of transformers.

    Attributes:
        lower: Writes the fitted transformer into a graph.
        prepare: Makes what to fit; a clone by default.
        check: Raises LoweringError for settings that cannot be lowered, before the fit.
        refused: As for `Family`.
    """

    lower: LowerTransform
    prepare: Callable[[Any, Sequence[FeatureSpec]], Any] = _clone
    check: Callable[[Any], None] = _accept
    refused: bool = False


_FAMILIES: dict[type, Family] = {}
_STEPS: dict[type, Step] = {}
# Modules that register classes of optional libraries, by the full name of the class.
_LATER: dict[str, str] = {}

LowerT = TypeVar("LowerT", bound=Lower)
LowerTransformT = TypeVar("LowerTransformT", bound=LowerTransform)


def register(
    *classes: type,
    prepare: Callable[[Any, Sequence[FeatureSpec]], Any] = _clone,
    check: Callable[[Any], None] = _accept,
    splits: Callable[[Any], Mapping[int, Sequence[float]]] = _no_splits,
    decision: Lower | None = None,
    tolerance: float = TOLERANCE,
    refused: bool = False,
) -> Callable[[LowerT], LowerT]:
    """Register the decorated function as the lowering of *classes*; the last one registered wins.

    The other arguments are those of `Family`.
    """

    def decorate(lower: LowerT) -> LowerT:
        for estimator_class in classes:
            _FAMILIES[estimator_class] = Family(
                lower, prepare, check, splits, decision, tolerance, refused
            )
        return lower

    return decorate


def register_later(module: str, *class_names: str) -> None:
    """Let *module* register the classes of an optional library when the first of them is met.

    Args:
        module: Full name of the module that calls `register`.
        class_names: Full names of the classes, as `class_name` gives them.
    """
    for name in class_names:
        _LATER[name] = module


def register_transformer(
    *classes: type,
    prepare: Callable[[Any, Sequence[FeatureSpec]], Any] = _clone,
    check: Callable[[Any], None] = _accept,
    refused: bool = False,
) -> Callable[[LowerTransformT], LowerTransformT]:
    """Register the decorated function as the lowering of transformers; the last one wins.

    The other arguments are those of `Step`.
    """

    def decorate(lower: LowerTransformT) -> LowerTransformT:
        for transformer_class in classes:
            _STEPS[transformer_class] = Step(lower, prepare, check, refused)
        return lower

    return decorate


def registered() -> tuple[type, ...]:
    """Return the classes of estimators that a user may choose, by name."""
    return tuple(sorted(_usable(_FAMILIES), key=lambda item: item.__name__))


def family_of(estimator: Any) -> Family:
    """Return what is known about the class of *estimator*.

    Raises:
        LoweringError: If its exact class is not registered.
    """
    if type(estimator) not in _FAMILIES and class_name(estimator) in _LATER:
        importlib.import_module(_LATER[class_name(estimator)])
    family = _FAMILIES.get(type(estimator))
    if family is None:
        known = {item.__name__ for item in registered()}
        known |= {name.rpartition(".")[2] for name in _LATER}
        raise LoweringError(
            f"{class_name(estimator)} has no exact ONNX form here. Use one of "
            f"{', '.join(sorted(known))}, or teach it with "
            f"@mlembed.training.lowering.register({type(estimator).__name__})"
        )
    return family


def step_of(transformer: Any) -> Step:
    """Return what is known about the class of *transformer*.

    Raises:
        LoweringError: If its exact class is not registered.
    """
    step = _STEPS.get(type(transformer))
    if step is None:
        raise LoweringError(
            f"{class_name(transformer)} has no exact ONNX form here. Use one of "
            f"{', '.join(sorted(item.__name__ for item in _usable(_STEPS)))}, or teach it with "
            f"@mlembed.training.lowering.register_transformer({type(transformer).__name__})"
        )
    return step


def check(estimator: Any) -> None:
    """Tell before any training whether *estimator* can be lowered.

    Raises:
        LoweringError: If its class or one of its settings has no exact ONNX form.
    """
    family_of(estimator).check(estimator)


def prepare(estimator: Any, specs: Sequence[FeatureSpec]) -> Any:
    """Return what to fit in place of *estimator* on a matrix with NaN and category codes.

    Args:
        estimator: As the user wrote it, unfitted; it is left as it is.
        specs: The features, in the order of the matrix.

    Raises:
        LoweringError: If it cannot be lowered.
    """
    check(estimator)
    return family_of(estimator).prepare(estimator, specs)


def decide(estimator: Any, builder: Builder, x: str, specs: Sequence[FeatureSpec]) -> str:
    """Add the nodes of the decision function of a fitted *estimator*; see `Lower`.

    Raises:
        LoweringError: If it has none that can be lowered.
    """
    decision = family_of(estimator).decision
    if decision is None:
        raise LoweringError(f"{class_name(estimator)} has no decision function with an ONNX form")
    return decision(estimator, builder, x, specs)


def split_values(estimator: Any, specs: Sequence[FeatureSpec]) -> dict[str, tuple[float, ...]]:
    """Return the finite thresholds of a fitted estimator by feature, increasing."""
    splits = family_of(estimator).splits(estimator)
    return {
        specs[position].name: tuple(sorted(set(splits[position]))) for position in sorted(splits)
    }


def _usable(known: Mapping[type, Family] | Mapping[type, Step]) -> list[type]:
    """Return what a user may choose: not what only `prepare` makes, and nothing that is refused."""
    return [
        item
        for item, told in known.items()
        if not (told.refused or item.__module__.startswith("mlembed."))
    ]


def class_name(estimator: Any) -> str:
    """Return the full name of the class of *estimator*."""
    return f"{type(estimator).__module__}.{type(estimator).__qualname__}"
