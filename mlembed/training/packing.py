"""Make a bundle of a fitted estimator: graph, golden rows, reference, evidence and card.

The bundle is put in service once, here, before anybody else can: what does not load
and reproduce its golden rows is never returned.
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import platform
from typing import TYPE_CHECKING, Any

import onnx

import mlembed
from mlembed.bundle import strictjson
from mlembed.bundle.bundle import Bundle, pack
from mlembed.bundle.manifest import Manifest, Task
from mlembed.serving.loading import Served, Serving
from mlembed.settings import Settings
from mlembed.telemetry.profiles import reference_profile
from mlembed.training.card import write_card
from mlembed.training.goldens import choose_golden
from mlembed.training.lowering import split_values
from mlembed.training.origin import origin
from mlembed.training.proving import versions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlembed.bundle.golden import Golden
    from mlembed.training.fitting import Fitted, Prepared
    from mlembed.training.proof import Proof
    from mlembed.training.trainer import Trainer

OLDEST_RUNTIME = "1.24"  # the first with double tree ensembles as they are lowered
_LIBRARIES = ("duckdb",)


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
            "libraries": _libraries(fitted.estimator),
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
        "golden.json": _golden(manifest, fitted, measured).to_bytes(),
        "reference.json": strictjson.dumps(reference),
        "evaluation.json": strictjson.dumps(dict(evaluation)),
        "proof.json": strictjson.dumps(proof.to_json()),
        "card.md": write_card(trainer, manifest, evaluation, proof).encode(),
    }
    bundle = pack(manifest, files)
    Served(bundle, Serving(Settings(log=False, log_features=False)))
    return bundle


def _golden(manifest: Manifest, fitted: Fitted, measured: Prepared) -> Golden:
    return choose_golden(
        manifest.title,
        fitted.columns,
        fitted.session,
        measured.x,
        splits=split_values(fitted.estimator, measured.specs),
        threshold=manifest.task.threshold if manifest.task.kind == "binary" else None,
    )


def _libraries(estimator: Any) -> dict[str, str]:
    own = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {"mlembed": mlembed.__version__, **own, **versions(estimator)}


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
