"""Bounded spaces of settings to search, one an estimator.

The bounds keep each fit affordable and each model small enough to serve: nothing here can grow a
tree without end. Wide scales are searched by their logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sklearn.pipeline import Pipeline

from mlembed.errors import DeclarationError
from mlembed.training.competitors import final_step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from optuna.trial import Trial

    from mlembed.training.competitors import Competitor

# A range is (low, high) or (low, high, "log"), of whole numbers or of doubles; a list is a choice.
Range = tuple[Any, ...]
Space = Mapping[str, Range | list[Any]]

_LOG = "log"
_FOREST: Space = {
    "max_depth": (3, 16),
    "min_samples_leaf": (1, 50, _LOG),
    "max_features": (0.2, 1.0),
}
_TREE: Space = {"max_depth": (2, 12), "min_samples_leaf": (1, 100, _LOG)}
_HISTOGRAM: Space = {
    "learning_rate": (0.02, 0.3, _LOG),
    "max_iter": (50, 400, _LOG),
    "max_leaf_nodes": (4, 63, _LOG),
    "max_depth": (2, 10),
    "min_samples_leaf": (5, 200, _LOG),
    "l2_regularization": (1e-3, 30.0, _LOG),
    "max_features": (0.3, 1.0),
}
_GRADIENT: Space = {
    "learning_rate": (0.02, 0.3, _LOG),
    "n_estimators": (50, 300, _LOG),
    "max_depth": (2, 6),
    "min_samples_leaf": (1, 100, _LOG),
    "subsample": (0.5, 1.0),
}
_BOOSTER: Space = {
    "learning_rate": (0.02, 0.3, _LOG),
    "n_estimators": (50, 400, _LOG),
    "max_depth": (2, 10),
    "reg_lambda": (1e-3, 30.0, _LOG),
    "subsample": (0.5, 1.0),
    "colsample_bytree": (0.3, 1.0),
}
_LIGHTGBM: Space = {
    **_BOOSTER,
    "num_leaves": (4, 63, _LOG),
    "min_child_samples": (5, 200, _LOG),
    "subsample_freq": [1],
}
_ALPHA: Space = {"alpha": (1e-4, 1e2, _LOG)}
_NET: Space = {"alpha": (1e-4, 1e1, _LOG), "l1_ratio": (0.05, 1.0)}
_PENALTY: Space = {"C": (1e-4, 1e2, _LOG)}
_SVM: Space = {"C": (1e-2, 1e2, _LOG), "gamma": (1e-3, 1e1, _LOG)}
_PERCEPTRON: Space = {
    "alpha": (1e-6, 1e-1, _LOG),
    "learning_rate_init": (5e-4, 2e-2, _LOG),
    "hidden_layer_sizes": [(16,), (32,), (64,), (32, 16)],
}

SPACES: dict[str, Space] = {
    "HistGradientBoostingClassifier": _HISTOGRAM,
    "HistGradientBoostingRegressor": _HISTOGRAM,
    "GradientBoostingClassifier": _GRADIENT,
    "GradientBoostingRegressor": _GRADIENT,
    "RandomForestClassifier": _FOREST,
    "RandomForestRegressor": _FOREST,
    "ExtraTreesClassifier": _FOREST,
    "ExtraTreesRegressor": _FOREST,
    "DecisionTreeClassifier": _TREE,
    "DecisionTreeRegressor": _TREE,
    "ExtraTreeClassifier": _TREE,
    "ExtraTreeRegressor": _TREE,
    "LGBMClassifier": _LIGHTGBM,
    "LGBMRegressor": _LIGHTGBM,
    "XGBClassifier": _BOOSTER,
    "XGBRegressor": _BOOSTER,
    "LogisticRegression": _PENALTY,
    "LinearSVR": _PENALTY,
    "SVR": _SVM,
    "SGDClassifier": _ALPHA,
    "SGDRegressor": _ALPHA,
    "Ridge": _ALPHA,
    "Lasso": _ALPHA,
    "LassoLars": _ALPHA,
    "ElasticNet": _NET,
    "PoissonRegressor": _ALPHA,
    "GammaRegressor": _ALPHA,
    "TweedieRegressor": _ALPHA,
    "HuberRegressor": _ALPHA,
    "QuantileRegressor": _ALPHA,
    "QuadraticDiscriminantAnalysis": {"reg_param": (1e-3, 1.0, _LOG)},
    "GaussianNB": {"var_smoothing": (1e-12, 1e-1, _LOG)},
    "MLPClassifier": _PERCEPTRON,
    "MLPRegressor": _PERCEPTRON,
}


def space_of(candidate: Any, declared: Mapping[str, Space]) -> Space:
    """Return what may be searched of *candidate*, by the name of the setting; perhaps nothing.

    Args:
        candidate: The estimator; of a pipeline the last step is searched.
        declared: Spaces of the declaration by class; one replaces the space that is known here.
    """
    last = type(final_step(candidate)).__name__
    return {
        f"{_prefix(candidate)}{name}": values
        for name, values in declared.get(last, SPACES.get(last, {})).items()
    }


def suggest(trial: Trial, stem: str, space: Space) -> dict[str, Any]:
    """Draw settings from *space*; in the study each is called *stem*, a dot and its own name."""
    drawn: dict[str, Any] = {}
    for name, values in space.items():
        called = f"{stem}.{name}"
        if isinstance(values, list):
            choices = {repr(value): value for value in values}
            drawn[name] = choices[trial.suggest_categorical(called, list(choices))]
            continue
        low, high = values[:2]
        log = values[2:] == (_LOG,)
        if isinstance(low, int) and isinstance(high, int):
            drawn[name] = trial.suggest_int(called, low, high, log=log)
        else:
            drawn[name] = trial.suggest_float(called, low, high, log=log)
    return drawn


def check_space(name: str, space: Space) -> None:
    """Refuse a space that cannot be searched.

    Raises:
        DeclarationError: Naming the setting and what was expected.
    """
    if not (isinstance(name, str) and isinstance(space, Mapping)):
        raise DeclarationError(
            f"Tuning(spaces=...): expected the name of a class and a mapping of its settings, got "
            f"a {type(name).__name__} and a {type(space).__name__}"
        )
    for setting, values in space.items():
        if not (isinstance(setting, str) and (_is_choice(values) or _is_range(values))):
            raise DeclarationError(
                f"Tuning(spaces=...): {name}.{setting} is no space; expected (low, high), "
                "(low, high, 'log') with low > 0, or a list of values"
            )


def space_problems(declared: Mapping[str, Space], rivals: Sequence[Competitor]) -> Iterator[str]:
    """Say which of the *declared* spaces no competitor has a use for, and which settings."""
    known = {
        type(final_step(rival.estimator)).__name__: rival.estimator
        for rival in rivals
        if rival.role != "baseline"
    }
    for name, space in declared.items():
        if name not in known:
            yield f"Tuning(spaces=...) names {name}; expected one of {', '.join(sorted(known))}"
            continue
        settings = final_step(known[name]).get_params()
        unknown = [setting for setting in space if setting not in settings]
        if unknown:
            yield (
                f"Tuning(spaces=...): {name} has no {', '.join(unknown)}; it has "
                f"{', '.join(sorted(settings))}"
            )


def _is_choice(values: Any) -> bool:
    return isinstance(values, list) and bool(values)


def _is_range(values: Any) -> bool:
    if (
        not isinstance(values, tuple)
        or len(values) not in (2, 3)
        or values[2:] not in ((), (_LOG,))
    ):
        return False
    numbers = values[:2]
    if any(isinstance(n, bool) or not isinstance(n, (int, float)) for n in numbers):
        return False
    low, high = numbers
    finite = math.isfinite(low) and math.isfinite(high)
    return finite and low <= high and (low > 0 or not values[2:])


def _prefix(candidate: Any) -> str:
    if not isinstance(candidate, Pipeline):
        return ""
    name, last = candidate.steps[-1]
    return f"{name}__{_prefix(last)}"
