"""Make a bundle of a fitted estimator: graph, golden rows, reference, evidence and card.

The bundle is put in service once, here, before anybody else can: what does not load
and reproduce its golden rows is never returned.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import importlib.metadata
import inspect
import platform
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

import mlembed
from mlembed.bundle import strictjson
from mlembed.bundle.bundle import Bundle, pack
from mlembed.bundle.manifest import Manifest
from mlembed.bundle.task import Interval, Task
from mlembed.serving.loading import Served, Serving
from mlembed.settings import Settings
from mlembed.telemetry.classes import label_column
from mlembed.telemetry.profiles import reference_profile
from mlembed.training.card import write_card
from mlembed.training.goldens import choose_golden
from mlembed.training.lowering import split_values
from mlembed.training.origin import origin
from mlembed.training.proving import versions
from mlembed.training.report.page import write_report

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mlembed.bundle.golden import Golden
    from mlembed.training.conformal import Band
    from mlembed.training.fitting import Fitted, Prepared
    from mlembed.training.proof import Proof
    from mlembed.training.trainer import Trainer

OLDEST_RUNTIME = "1.24"  # the first with double tree ensembles as they are lowered
_LIBRARIES = ("duckdb",)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Packing:
    """All that goes into a bundle.

    Attributes:
        trainer: The declaration, with the threshold that was chosen.
        fitted: The estimator and its graphs.
        measured: Rows held out of the fit.
        scores: What the graph makes of them, `(n,)` or `(n, n_classes)`.
        evaluation: How good it is on them; see `mlembed.training.measuring`.
        proof: Evidence that graph and estimator agree.
        interval: Where the truth lies about the score of a quantity, or None.
        version: Version of the bundle.
        provenance: Facts for the manifest's training section.
    """

    trainer: Trainer
    fitted: Fitted
    measured: Prepared
    scores: NDArray[np.float64]
    evaluation: Mapping[str, Any]
    proof: Proof
    interval: Band | None
    version: str
    provenance: Mapping[str, Any]

    @functools.cached_property
    def manifest(self) -> Manifest:
        """What the bundle says of itself, its files not yet listed."""
        trainer, fitted = self.trainer, self.fitted
        graph = onnx.load_from_string(fitted.model)
        about = (trainer.record.__doc__ or "").strip().partition("\n")[0]
        return Manifest(
            name=trainer.name,
            version=self.version,
            created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            columns=fitted.columns,
            transforms={name: item.to_json() for name, item in trainer.transforms.items()},
            features=trainer.feature_names,
            task=_task(trainer, self.interval),
            metrics=dict(self.evaluation["metrics"]),
            training={
                **({"description": about} if about else {}),
                **self.provenance,
                "estimator": fitted.name,
                "parameters": _parameters(fitted.candidate),
                "metric": trainer.metric,
                "seed": trainer.seed,
                "python": platform.python_version(),
                **origin(),
                "libraries": _libraries(fitted.estimator),
            },
            onnx={
                "ir_version": graph.ir_version,
                "opsets": {item.domain or "ai.onnx": item.version for item in graph.opset_import},
            },
            runtime={"onnxruntime": f">={OLDEST_RUNTIME}"},
        )

    @functools.cached_property
    def told(self) -> dict[str, Any]:
        """The evaluation, and how it can be made again."""
        training = self.manifest.training
        facts = ("seed", "data_digest", "code", "libraries")
        made = {name: training[name] for name in facts if name in training}
        command = f"mlembed train TRAIN.py --data TABLE --verify {self.manifest.title}"
        return {**self.evaluation, "reproduce": {**made, "command": command}}

    def report(self) -> str:
        """Return the report, an HTML page."""
        return write_report(self.manifest, self.told, self.proof.to_json())

    def bundle(self) -> Bundle:
        """Pack, and put the bundle in service once.

        Raises:
            BundleError: If the name or version may not be published.
            GoldenError: If the bundle does not reproduce its golden rows.
        """
        manifest, fitted, x = self.manifest, self.fitted, self.measured.x
        proof = self.proof.to_json()
        reference = _reference(manifest, x, self.scores)
        metric = self.trainer.metric
        reference["metric"] = {"name": metric, "value": manifest.metrics[metric]}
        files = {
            "model.onnx": fitted.model,
            "golden.json": _golden(manifest, fitted, self.measured, self.scores).to_bytes(),
            "reference.json": strictjson.dumps(reference),
            "evaluation.json": strictjson.dumps(self.told),
            "proof.json": strictjson.dumps(proof),
            "card.md": write_card(manifest, self.told, proof).encode(),
        }
        bundle = pack(manifest, files)
        Served(bundle, Serving(Settings(log=False, log_features=False)))
        return bundle


def _reference(
    manifest: Manifest, x: NDArray[np.float64], scores: NDArray[np.float64]
) -> dict[str, Any]:
    """Count the rows held out in bins; of several classes the label too, as the log holds it."""
    if not manifest.task.classes:
        return reference_profile(manifest.columns, x, scores)
    columns = (*manifest.columns, label_column(manifest.task.classes))
    return reference_profile(
        columns, np.column_stack([x, scores.argmax(axis=1)]), scores.max(axis=1)
    )


def _golden(
    manifest: Manifest, fitted: Fitted, measured: Prepared, scores: NDArray[np.float64]
) -> Golden:
    return choose_golden(
        manifest.title,
        fitted.columns,
        fitted.session,
        measured.x,
        scores,
        splits=split_values(fitted.estimator, measured.specs),
        threshold=manifest.task.threshold if manifest.task.kind == "binary" else None,
    )


def _libraries(estimator: Any) -> dict[str, str]:
    own = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {"mlembed": mlembed.__version__, **own, **versions(estimator)}


def _task(trainer: Trainer, band: Band | None) -> Task:
    label = trainer.label
    if label.kind == "regression":
        told = None
        if band is not None:
            told = Interval(level=band.level, below=band.below, above=band.above)
        return Task(kind="regression", label=label.column, unit=label.unit, interval=told)
    if label.kind == "multiclass":
        return Task(
            kind="multiclass",
            label=label.column,
            classes=tuple(map(str, label.classes or ())),
            abstain=trainer.abstain,
        )
    return Task(
        kind="binary",
        label=label.column,
        positive=str(label.classes[0]),
        threshold=label.threshold,
        abstain=trainer.abstain,
    )


def _parameters(candidate: Any) -> dict[str, str]:
    """Return the parameters that differ from the estimator's own defaults, as text."""
    defaults = inspect.signature(type(candidate).__init__).parameters
    return {
        name: repr(value)
        for name, value in candidate.get_params(deep=False).items()
        if name not in defaults or repr(value) != repr(defaults[name].default)
    }
