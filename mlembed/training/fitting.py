"""Compute the matrix, and fit estimators on it.

The matrix is computed by running the ONNX graph of the features, never by other code.
"""

from __future__ import annotations

import copy
import dataclasses
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn.base
from sklearn.base import is_outlier_detector
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.exceptions import ConvergenceWarning

from mlembed.errors import DataError, first_line
from mlembed.serving.session import Session
from mlembed.training import lowering, threads
from mlembed.training.competitors import final_step
from mlembed.training.matrix import encode_dataset, run_features
from mlembed.training.several import require_all

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlembed.columns import Column
    from mlembed.training.competitors import Competitor
    from mlembed.training.dataset import Dataset
    from mlembed.training.lowering import FeatureSpec
    from mlembed.training.trainer import Trainer

    Rows = NDArray[np.intp]

_ADDING = (
    *(BaggingClassifier, BaggingRegressor, ExtraTreesClassifier, ExtraTreesRegressor),
    *(IsolationForest, RandomForestClassifier, RandomForestRegressor),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """A table in numbers.

    Attributes:
        columns: The row's columns, vocabularies learnt.
        specs: The estimator's features.
        features_model: Bytes of the graph that computed them.
        table: The table.
        x: Rows, `(n_records, n_columns)`.
        features: Features, `(n_records, n_features)`.
        y: Labels, `(n_records,)`.
    """

    columns: tuple[Column, ...]
    specs: tuple[FeatureSpec, ...]
    features_model: bytes
    table: Dataset
    x: NDArray[np.float64]
    features: NDArray[np.float64]
    y: NDArray[np.float64]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in the order of the matrix."""
        return tuple(spec.name for spec in self.specs)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitted:
    """A fitted estimator with its graphs.

    Attributes:
        estimator: The fitted scikit-learn estimator.
        candidate: The estimator as it was declared.
        name: What the contest calls it.
        columns: The row's columns.
        specs: The estimator's features.
        features_model: Bytes of the graph from row to features.
        model: Bytes of the graph from row to score.
        session: The loaded graph.
    """

    estimator: Any
    candidate: Any
    name: str
    columns: tuple[Column, ...]
    specs: tuple[FeatureSpec, ...]
    features_model: bytes
    model: bytes
    session: Session


def prepare_table(trainer: Trainer, columns: tuple[Column, ...], table: Dataset) -> Prepared:
    """Encode *table* as a host would and compute its features by graph.

    Raises:
        SchemaError: If a row does not fit the columns.
    """
    names = trainer.feature_names
    x = encode_dataset(f"{trainer.name} (training data)", columns, table)
    graph = lowering.lower_features(columns, trainer.transforms, names)
    features_model = lowering.serialize(graph)
    features = run_features(Session(features_model), x)
    return Prepared(
        columns=columns,
        specs=lowering.feature_specs(columns, trainer.transforms, names),
        features_model=features_model,
        table=table,
        x=x,
        features=features,
        y=table.y,
    )


def finish(trainer: Trainer, competitor: Competitor, estimator: Any, prepared: Prepared) -> Fitted:
    """Lower a fitted *estimator*.

    Raises:
        LoweringError: If it has no exact ONNX form.
    """
    graph = lowering.lower(estimator, prepared.columns, trainer.transforms, prepared.names)
    model = lowering.serialize(graph)
    return Fitted(
        estimator=estimator,
        candidate=competitor.estimator,
        name=competitor.name,
        columns=prepared.columns,
        specs=prepared.specs,
        features_model=prepared.features_model,
        model=model,
        session=Session(model),
    )


def fit(trainer: Trainer, competitor: Competitor, prepared: Prepared, rows: Rows | slice) -> Any:
    """Fit a clone of *competitor*, with the declared seed.

    Args:
        trainer: The declaration.
        competitor: Who is fitted; it stays as it is.
        prepared: The training table.
        rows: Its rows to fit on, `(n,)`.

    Raises:
        DataError: If the estimator refuses the table, whatever it raises, or the fit does not
            converge or needs more memory than there is.
    """
    declared = competitor.estimator
    estimator = (
        sklearn.base.clone(declared)
        if competitor.role == "baseline"
        else lowering.prepare(declared, prepared.specs)
    )
    set_seed(estimator, trainer.seed)
    hush(estimator)
    add_in_order(estimator, fitted=False)
    y = prepared.y[rows]
    require_all(prepared.table, y, f"a side that {competitor.name} is fitted on")
    try:
        features = prepared.features[rows]
        with warnings.catch_warnings(), threads.for_cells(features.size):
            warnings.simplefilter("error", ConvergenceWarning)
            estimator.fit(features, y if trainer.label.kind == "regression" else y.astype(int))
    except ConvergenceWarning as warning:
        raise DataError(
            f"{competitor.name} did not converge: raise its max_iter in the declaration"
        ) from warning
    except MemoryError as error:
        raise DataError(
            f"{competitor.name} needs more memory than there is: declare a smaller one, or train on "
            "fewer rows"
        ) from error
    except Exception as error:
        raise DataError(f"{competitor.name} refuses the table: {first_line(error)}") from error
    add_in_order(estimator, fitted=True)
    return estimator


def add_in_order(estimator: Any, *, fitted: bool) -> None:
    """Let forests at any depth predict with one thread.

    Several add up the trees in the order in which they end, so that the last bits of a score, and
    what is calibrated on it, would be others each time. What predicts at the end keeps its threads
    until it is *fitted*; those inside of it may predict during the fit.
    """
    last = final_step(estimator)
    for value in (estimator, *estimator.get_params().values()):
        if isinstance(value, _ADDING) and (fitted or value is not last):
            value.set_params(n_jobs=1)


def set_seed(estimator: Any, seed: int) -> None:
    """Give *seed* to each `random_state` that was left open, at any depth.

    Those of folds, such as `StratifiedKFold(shuffle=True)`, are among them.
    """
    parameters = estimator.get_params()
    open_ones = [
        name
        for name, value in parameters.items()
        if value is None and name.rpartition("__")[2] == "random_state"
    ]
    estimator.set_params(**dict.fromkeys(open_ones, seed))
    for name, value in parameters.items():
        if name.rpartition("__")[2] == "cv" and getattr(value, "random_state", seed) is None:
            folds = copy.copy(value)
            folds.random_state = seed
            estimator.set_params(**{name: folds})


def hush(estimator: Any) -> None:
    """Let no LightGBM at any depth print of each fit, unless its user asked for that."""
    parameters = {"": estimator, **estimator.get_params()}
    for value in parameters.values():
        if type(value).__module__.startswith("lightgbm.") and not isinstance(value, type):
            own = value.get_params()
            if "verbose" not in own and "verbosity" not in own:
                value.set_params(verbose=-1)


def scores_of(estimator: Any, features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the scores of a fitted *estimator*, by its own code.

    Args:
        estimator: A classifier, whose positive class is its second; a regressor; or one that finds
            outliers, whose score is higher for what is stranger.
        features: `(n_records, n_features)`.

    Returns:
        `(n_records,)`; `(n_records, n_classes)` where there are more than two classes.
    """
    if hasattr(estimator, "predict_proba"):
        odds = np.asarray(estimator.predict_proba(features), dtype=np.float64)
        return odds[:, 1] if odds.shape[1] == 2 else odds  # noqa: PLR2004  two classes: one score
    if is_outlier_detector(estimator):
        return -np.asarray(estimator.score_samples(features), dtype=np.float64)
    return np.asarray(estimator.predict(features), dtype=np.float64).reshape(len(features))
