"""What people use instead: scikit-learn, MLflow's pyfunc, and a session instrumented by hand."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, InMemoryLogRecordExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlembed.bundle.golden import read_golden
from mlembed.bundle.manifest import MODEL
from mlembed.cli import timing
from mlembed.cli.options import quiet_settings
from mlembed.serving.model import load
from mlembed.serving.session import Session
from mlembed.testing import InMemoryRegistry

from . import scenes
from .report import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def others(short: bool) -> Iterator[Finding]:  # noqa: FBT001  every benchmark takes it
    """Ask each for one score from a dictionary, as a web host has it."""
    for kind in ("logistic", "trees"):
        bundle = scenes.bundle(kind)
        record = dict(read_golden(bundle).records[0])
        columns = scenes.table(20_000)
        y = columns.pop("y")
        pipeline = make_pipeline(StandardScaler(), scenes.estimator(kind))
        pipeline.fit(pd.DataFrame(columns), y)
        x = np.array([list(record.values())])
        run = Session(bundle.files[MODEL]).bare_run(x)
        with tempfile.TemporaryDirectory() as folder:
            registry = InMemoryRegistry()
            registry.publish(bundle)
            settings = dataclasses.replace(quiet_settings(""), log=True, log_dir=Path(folder))
            model = load(bundle.manifest.name, registry=registry, settings=settings)
            kinds: dict[str, Callable[[], object]] = {
                "bare session.run on a ready array": run,
                "mlembed predict, logged": lambda: model.predict(record),  # noqa: B023  used here
                "session.run with OpenTelemetry by hand": _by_hand(run),
                "scikit-learn pipeline": lambda: pipeline.predict_proba(  # noqa: B023  idem
                    pd.DataFrame([record])  # noqa: B023  idem
                ),
            }
            if (pyfunc := _pyfunc(pipeline, Path(folder) / "mlflow")) is not None:
                kinds["MLflow pyfunc"] = lambda: pyfunc.predict(
                    pd.DataFrame([record])  # noqa: B023  idem
                )
            times = timing.single(kinds, 100 if short else 1_000)
            model.close()
        for name, values in times.items():
            median = timing.quantile(values, 0.5)
            base = timing.quantile(times["bare session.run on a ready array"], 0.5)
            detail = f"{median / base:.1f} times session.run"
            yield Finding(f"others: {kind}: {name}", median, None, "us", detail)


def _by_hand(run: Callable[[], object]) -> Callable[[], object]:
    """Return *run* with a span, a log record, a histogram and a counter around it."""
    traces, logs = TracerProvider(shutdown_on_exit=False), LoggerProvider(shutdown_on_exit=False)
    traces.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # the SDK's own
    logs.add_log_record_processor(BatchLogRecordProcessor(exporter))
    meter = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False).get_meter("bench")
    tracer, logger = traces.get_tracer("bench"), logs.get_logger("bench")
    duration = meter.create_histogram("predict.duration", "s")
    counter = meter.create_counter("predictions")
    attributes: dict[str, Any] = {"model": "bench", "version": "1.0.0"}

    def call() -> None:
        with tracer.start_as_current_span("predict", attributes=attributes):
            run()
            logger.emit(body="prediction", attributes=attributes, event_name="prediction")
            duration.record(0.00001, attributes)
            counter.add(1, attributes)

    return call


def _pyfunc(pipeline: Any, path: Path) -> Any:
    """Return the pipeline as MLflow serves it in-process; None where MLflow is not installed."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    try:
        import mlflow.pyfunc
        import mlflow.sklearn
    except ImportError:
        return None
    mlflow.sklearn.save_model(
        pipeline,
        str(path),
        pyfunc_predict_fn="predict_proba",
        skops_trusted_types=["sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"],
    )
    return mlflow.pyfunc.load_model(str(path))
