"""Compute the matrix, choose among the candidates and fit the winner.

The matrix is computed by running the ONNX graph of the features, never by other code.
"""

from __future__ import annotations

import dataclasses
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from mlembed.errors import DataError
from mlembed.monitoring.metrics import METRICS
from mlembed.serving.session import Session
from mlembed.training import lowering
from mlembed.training.matrix import encode_dataset, run_features

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlembed.columns import Column
    from mlembed.training.dataset import Dataset
    from mlembed.training.lowering import FeatureSpec
    from mlembed.training.trainer import Trainer


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitted:
    """A fitted estimator with its graphs.

    Attributes:
        estimator: The fitted scikit-learn estimator.
        candidate: The estimator as it was declared.
        name: Its class.
        columns: The row's columns.
        features_model: Bytes of the graph from row to features.
        model: Bytes of the graph from row to score.
        session: The loaded graph.
    """

    estimator: Any
    candidate: Any
    name: str
    columns: tuple[Column, ...]
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


def choose(trainer: Trainer, prepared: Prepared) -> tuple[Any, dict[str, float]]:
    """Compare the candidates on rows held out from the training rows.

    Returns:
        The best candidate, unfitted, and each one's value of the trainer's metric.
    """
    names = _names(trainer.candidates)
    if len(trainer.candidates) == 1:
        return trainer.candidates[0], {}
    fold = trainer.split.split(prepared.table)
    metric = METRICS[trainer.metric]
    contest = {}
    for name, candidate in zip(names, trainer.candidates, strict=True):
        estimator = _fit(trainer, candidate, prepared, fold.train)
        scores = _scores(estimator, prepared.features[fold.test])
        contest[name] = float(metric.of(prepared.y[fold.test], scores, trainer.label.threshold))
    best = max(contest, key=lambda name: metric.sign * contest[name])
    return trainer.candidates[names.index(best)], contest


def fit(trainer: Trainer, candidate: Any, prepared: Prepared) -> Fitted:
    """Fit *candidate* on all training rows and lower it.

    Raises:
        LoweringError: If it has no exact ONNX form.
        DataError: If scikit-learn refuses the table.
    """
    estimator = _fit(trainer, candidate, prepared, np.arange(len(prepared.y)))
    graph = lowering.lower(estimator, prepared.columns, trainer.transforms, trainer.feature_names)
    model = lowering.serialize(graph)
    return Fitted(
        estimator=estimator,
        candidate=candidate,
        name=type(candidate).__name__,
        columns=prepared.columns,
        features_model=prepared.features_model,
        model=model,
        session=Session(model),
    )


def _fit(trainer: Trainer, candidate: Any, prepared: Prepared, rows: NDArray[np.intp]) -> Any:
    estimator = lowering.prepare(candidate, prepared.specs)
    seeds = {name: trainer.seed for name in estimator.get_params() if name.endswith("random_state")}
    estimator.set_params(
        **{name: seed for name, seed in seeds.items() if estimator.get_params()[name] is None}
    )
    y = prepared.y[rows]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            return estimator.fit(
                prepared.features[rows], y.astype(np.int64) if trainer.label.kind == "binary" else y
            )
    except ConvergenceWarning as warning:
        raise DataError(
            f"{type(candidate).__name__} did not converge: raise its max_iter in the declaration"
        ) from warning
    except ValueError as error:
        raise DataError(f"{type(candidate).__name__} refuses the table: {error}") from error


def _scores(estimator: Any, features: NDArray[np.float64]) -> NDArray[np.float64]:
    if hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict_proba(features)[:, 1], dtype=np.float64)
    return np.asarray(estimator.predict(features), dtype=np.float64)


def _names(candidates: Any) -> list[str]:
    names: list[str] = []
    for candidate in candidates:
        name = type(candidate).__name__
        names.append(f"{name} {names.count(name) + 1}" if name in names else name)
    return names
