"""A toy model for every test: small, but made by the real lowering and proved by real golden rows.

Two bundles that differ in `shift` give clearly different scores, so a test can tell which
version has answered.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field
from sklearn.linear_model import LinearRegression, LogisticRegression

import mlembed
from mlembed.bundle import strictjson
from mlembed.bundle.bundle import pack
from mlembed.bundle.golden import Golden
from mlembed.bundle.manifest import Interval, Manifest, Task
from mlembed.features import hour_of_day
from mlembed.monitoring.metrics import DEFAULT_METRIC, evaluate
from mlembed.record import columns_of
from mlembed.serving.encoder import Encoder
from mlembed.serving.session import Session
from mlembed.serving.tables import encode_columns
from mlembed.telemetry.profiles import reference_profile
from mlembed.training import lowering

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlembed.bundle.bundle import Bundle
    from mlembed.columns import Column
    from mlembed.features import Transform

    Matrix = NDArray[np.float64]

TOWNS = ("berlin", "lyon", "oslo")
_START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_N_ROWS = 400
_HALF = _N_ROWS // 2
_N_GOLDEN = 6


class Toy(mlembed.Record):
    """One customer, with a column of every kind."""

    age: Annotated[float, Field(ge=0, le=120, description="years")]
    income: Annotated[float, Field(ge=0, description="EUR per year")] | None
    visits: Annotated[int, Field(ge=0)]
    member: bool
    town: str
    plan: Literal["basic", "plus"] | None
    seen: dt.datetime


RECORD: dict[str, Any] = {
    "age": 41.0,
    "income": 30_000.0,
    "visits": 7,
    "member": True,
    "town": "oslo",
    "plan": "plus",
    "seen": dt.datetime(2026, 3, 4, 17, 30, tzinfo=dt.UTC),
}
COLUMNS: tuple[Column, ...] = tuple(
    dataclasses.replace(column, vocabulary=TOWNS, rare=True) if column.name == "town" else column
    for column in columns_of(Toy)
)


def toy_table(n: int, seed: int = 0, columns: Sequence[Column] = COLUMNS) -> dict[str, list[Any]]:
    """Return *n* good records as columns, a tenth of each nullable one missing."""
    random = np.random.default_rng(seed)
    return {column.name: _values(column, n, random) for column in columns}


def toy_rows(n: int, seed: int = 0, columns: Sequence[Column] = COLUMNS) -> list[dict[str, Any]]:
    """Return the rows of `toy_table`."""
    table = toy_table(n, seed, columns)
    return [{name: values[row] for name, values in table.items()} for row in range(n)]


def toy_labels(matrix: Matrix, seed: int = 0, kind: str = "binary") -> Matrix:
    """Return labels `(n,)` in which every column has a say: 0/1, or a quantity for regression."""
    random = np.random.default_rng(seed + 1)
    filled = np.nan_to_num(matrix)
    spread = filled.std(axis=0)
    signal = ((filled - filled.mean(axis=0)) / np.where(spread > 0, spread, 1.0)).sum(axis=1)
    signal += random.normal(0, 0.5, len(matrix))
    labels: Matrix = (signal > np.median(signal)) * 1.0 if kind == "binary" else signal
    return labels


@functools.cache
def toy_bundle(  # noqa: PLR0913  whatever a test may want to differ
    name: str = "toy",
    version: str = "1.0.0",
    *,
    shift: float = 0.0,
    threshold: float = 0.5,
    abstain: tuple[float, float] | None = None,
    columns: tuple[Column, ...] = COLUMNS,
    kind: Literal["binary", "regression"] = "binary",
    golden_error: float = 0.0,
    seed: int = 0,
    interval: Interval | None = None,
) -> Bundle:
    """Train a small linear model and pack it.

    Args:
        name: Name of the model.
        version: Its version.
        shift: Added to the intercept, in log-odds or units of the score.
        threshold: Score from which the label is positive.
        abstain: Band without a label.
        columns: Columns of the row, vocabularies given.
        kind: `binary` (logistic regression) or `regression` (linear regression).
        golden_error: Added to the golden scores, for a bundle that must be refused.
        seed: Seed of the table.
        interval: Where the truth lies around a regression's score.
    """
    encoder = Encoder(f"{name}@{version}", columns)
    matrix, _ = encode_columns(encoder, toy_table(_N_ROWS, seed, columns))
    y = toy_labels(matrix, seed, kind)
    model = _fit(columns, matrix[:_HALF], y[:_HALF], kind, shift)
    session = Session(model)
    scores = session.run_matrix(matrix[_HALF:])
    metrics, metric = evaluate(kind, y[_HALF:], scores, threshold), DEFAULT_METRIC[kind]
    reference = reference_profile(columns, matrix[_HALF:], scores)
    reference["metric"] = {"name": metric, "value": metrics[metric]}
    positive = "yes" if kind == "binary" else ""
    task = Task(
        kind=kind,
        label="bought",
        positive=positive,
        threshold=threshold,
        abstain=abstain,
        interval=interval,
    )
    return pack(
        _manifest(name, version, columns, task, metrics),
        {
            "model.onnx": model,
            "golden.json": golden_of(encoder, session, golden_error).to_bytes(),
            "reference.json": strictjson.dumps(reference),
        },
    )


def _features(columns: Sequence[Column]) -> tuple[dict[str, Transform], tuple[str, ...]]:
    transforms = {f"{c.name}_hour": hour_of_day(c.name) for c in columns if c.kind == "timestamp"}
    return transforms, (*(c.name for c in columns if c.kind != "timestamp"), *transforms)


def _fit(columns: Sequence[Column], x: Matrix, y: Matrix, kind: str, shift: float) -> bytes:
    transforms, features = _features(columns)
    specs = lowering.feature_specs(columns, transforms, features)
    computed = lowering.lower_features(columns, transforms, features)
    matrix = Session(lowering.serialize(computed)).run_matrix(x).reshape(len(x), -1)
    bare = LogisticRegression(max_iter=500) if kind == "binary" else LinearRegression()
    estimator = lowering.prepare(bare, specs).fit(matrix, y)
    estimator["estimator"].intercept_ = estimator["estimator"].intercept_ + shift
    return lowering.serialize(lowering.lower(estimator, columns, transforms, features))


def _manifest(
    name: str, version: str, columns: tuple[Column, ...], task: Task, metrics: dict[str, float]
) -> Manifest:
    transforms, features = _features(columns)
    return Manifest(
        name=name,
        version=version,
        created="2026-01-01T00:00:00+00:00",
        columns=columns,
        transforms={key: item.to_json() for key, item in transforms.items()},
        features=features,
        task=task,
        metrics=metrics,
        training={"estimator": "linear"},
        onnx={"ir_version": 10},
        runtime={"onnxruntime": ">=1.24"},
    )


def golden_of(encoder: Encoder, session: Session, error: float = 0.0) -> Golden:
    """Return a few rows, every nullable value missing in one, every category unknown in another."""
    rows = toy_rows(_N_GOLDEN, 99, encoder.columns)
    for column in encoder.columns:
        if column.nullable:
            rows[0][column.name] = None
        if column.kind == "category" and column.unknown_code is not None:
            rows[1][column.name] = "nowhere"
    table = {name: [row[name] for row in rows] for name in encoder.names}
    scores = session.run_matrix(encode_columns(encoder, table)[0])
    plain = [{name: _plain(value) for name, value in row.items()} for row in rows]
    given = (scores + error).tolist()
    return Golden(tuple(plain), tuple(tuple(row) if scores.ndim > 1 else row for row in given))


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, dt.datetime) else value


def _values(column: Column, n: int, random: np.random.Generator) -> list[Any]:
    low = column.minimum or 0.0
    widest = 100.0 if column.kind == "integer" else 60_000.0
    high = low + widest if column.maximum is None else column.maximum
    values: list[Any]
    if column.kind == "category":
        values = random.choice(column.vocabulary, n).tolist()
    elif column.kind == "boolean":
        values = (random.random(n) < 0.5).tolist()
    elif column.kind == "integer":
        values = random.integers(int(low), int(high), n).tolist()
    elif column.kind == "timestamp":
        values = [_START + dt.timedelta(minutes=int(m)) for m in random.integers(0, 10**5, n)]
    else:
        values = random.uniform(low, high, n).tolist()
    missing = random.random(n) < 0.1 * column.nullable
    return [None if gone else value for gone, value in zip(missing, values, strict=True)]
