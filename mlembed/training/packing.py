"""Make a bundle of a fitted estimator: graph, golden rows, reference, evidence and card.

The bundle is put in service once, here, before anybody else can: what does not load
and reproduce its golden rows is never returned.
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import platform
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

import mlembed
from mlembed.bundle import strictjson
from mlembed.bundle.bundle import Bundle, pack
from mlembed.bundle.golden import Golden
from mlembed.bundle.manifest import Manifest, Task
from mlembed.serving.encoder import Encoder
from mlembed.serving.loading import Served, Serving
from mlembed.settings import Settings
from mlembed.telemetry.profiles import reference_profile
from mlembed.training.card import write_card
from mlembed.training.origin import origin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mlembed.columns import Column
    from mlembed.training.fitting import Fitted, Prepared
    from mlembed.training.proof import Proof
    from mlembed.training.trainer import Trainer

    Matrix = NDArray[np.float64]

N_GOLDEN = 48
OLDEST_RUNTIME = "1.24"  # the first with double tree ensembles as they are lowered
_LIBRARIES = ("scikit-learn", "onnx", "onnxruntime", "numpy", "duckdb")
_UNSEEN = "a value never seen in training"


def pack_candidate(
    trainer: Trainer,
    fitted: Fitted,
    measured: Prepared,
    *,
    evaluation: Mapping[str, Any],
    proof: Proof,
    version: str,
    provenance: Mapping[str, Any],
) -> Bundle:
    """Pack a proven estimator.

    Args:
        trainer: The declaration.
        fitted: The estimator and its graphs.
        measured: Rows held out of the fit.
        evaluation: How good it is on them; see `describe`.
        proof: Evidence that graph and estimator agree.
        version: Version of the bundle.
        provenance: Facts for the manifest's training section.

    Raises:
        BundleError: If the name or version may not be published.
        GoldenError: If the bundle does not reproduce its golden rows.
    """
    graph = onnx.load_from_string(fitted.model)
    manifest = Manifest(
        name=trainer.name,
        version=version,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        columns=fitted.columns,
        transforms={name: item.to_json() for name, item in trainer.transforms.items()},
        features=trainer.feature_names,
        task=_task(trainer),
        metrics=dict(evaluation["metrics"]),
        training={
            **provenance,
            "estimator": fitted.name,
            "parameters": _parameters(fitted.candidate),
            "metric": trainer.metric,
            "seed": trainer.seed,
            "python": platform.python_version(),
            **origin(),
            "libraries": _libraries(),
        },
        onnx={
            "ir_version": graph.ir_version,
            "opsets": {item.domain or "ai.onnx": item.version for item in graph.opset_import},
        },
        runtime={"onnxruntime": f">={OLDEST_RUNTIME}"},
    )
    reference = reference_profile(fitted.columns, measured.x, fitted.session.run_matrix(measured.x))
    reference["metric"] = {"name": trainer.metric, "value": manifest.metrics[trainer.metric]}
    files = {
        "model.onnx": fitted.model,
        "golden.json": _golden(manifest.title, fitted, measured.x).to_bytes(),
        "reference.json": strictjson.dumps(reference),
        "evaluation.json": strictjson.dumps(dict(evaluation)),
        "proof.json": strictjson.dumps(proof.to_json()),
        "card.md": write_card(trainer, manifest, evaluation, proof).encode(),
    }
    bundle = pack(manifest, files)
    Served(bundle, Serving(Settings(log=False, log_features=False)))
    return bundle


def decode(columns: Sequence[Column], row: Sequence[float]) -> dict[str, Any]:
    """Return a record that encodes to *row*, as JSON types; times are seconds since 1970.

    A code outside the vocabulary becomes a value nobody has seen.
    """
    return {column.name: _value(column, cell) for column, cell in zip(columns, row, strict=True)}


def _value(column: Column, cell: float) -> Any:
    if cell != cell:  # noqa: PLR0124  NaN
        return None
    if column.kind == "boolean":
        return bool(cell)
    if column.kind == "category":
        return column.vocabulary[int(cell)] if cell < len(column.vocabulary) else _UNSEEN
    return cell


def _golden(title: str, fitted: Fitted, x: Matrix) -> Golden:
    """Score held-out rows and rows of missing, unseen and extreme values, as a host would."""
    picks = np.unique(np.linspace(0, len(x) - 1, N_GOLDEN).round().astype(int))
    records = [decode(fitted.columns, row) for row in x[picks].tolist()]
    usual = records[0]
    for odd in (_missing, _unseen, _least, _greatest):
        changed = {column.name: odd(column) for column in fitted.columns}
        records.append({**usual, **{name: v for name, v in changed.items() if v is not Ellipsis}})
    encoder, row = Encoder(title, fitted.columns), fitted.session.row()
    scores = []
    for record in records:
        encoder.encode(record, row.cells)
        row.run()
        scores.append(float(row.scores[0]))
    return Golden(tuple(records), tuple(scores))


def _missing(column: Column) -> Any:
    return None if column.nullable else ...


def _unseen(column: Column) -> Any:
    fits = column.kind == "category" and column.unknown_code is not None
    return _UNSEEN if fits else ...


def _least(column: Column) -> Any:
    return _end(column, column.minimum, np.inf, excluded=column.exclusive_minimum)


def _greatest(column: Column) -> Any:
    return _end(column, column.maximum, -np.inf, excluded=column.exclusive_maximum)


def _end(column: Column, end: float | None, towards: float, *, excluded: bool) -> Any:
    if end is None:
        return ...
    if not excluded:
        return end
    return end + np.sign(towards) if column.kind == "integer" else float(np.nextafter(end, towards))


def _libraries() -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {"mlembed": mlembed.__version__, **versions}


def _task(trainer: Trainer) -> Task:
    label = trainer.label
    if label.kind == "regression":
        return Task(kind="regression", label=label.column, unit=label.unit)
    return Task(
        kind="binary",
        label=label.column,
        positive=str(label.classes[0]),
        threshold=label.threshold,
        abstain=trainer.abstain,
    )


def _parameters(candidate: Any) -> dict[str, str]:
    """Return the parameters that differ from the estimator's own defaults, as text."""
    defaults = type(candidate)().get_params(deep=False) if _is_plain(candidate) else {}
    return {
        name: repr(value)
        for name, value in candidate.get_params(deep=False).items()
        if repr(value) != repr(defaults.get(name))
    }


def _is_plain(candidate: Any) -> bool:
    return not hasattr(candidate, "steps")
