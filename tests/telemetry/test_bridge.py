"""The host's own OpenTelemetry hears of predictions, as far as it was set up, and never suffers."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

import mlembed
from bundles import RECORD
from serving.logs import events, records
from telemetry.entries import ROW, make_entry, make_outcome

if TYPE_CHECKING:
    from mlembed.registry.file import FileRegistry
    from mlembed.serving.model import Model
    from mlembed.settings import Settings
    from mlembed.telemetry.recorder import Recorder
    from telemetry.conftest import Host, Setup


def total(host: Host, name: str, **attributes: str) -> float:
    """Return the sum of a counter's points that have *attributes*, dots written as __."""
    wanted = {key.replace("__", "."): value for key, value in attributes.items()}
    points = host.metrics().get(name, [])
    return float(
        sum(point.value for point in points if wanted.items() <= dict(point.attributes).items())
    )


def test_host_gets_the_event_of_a_prediction(host: Host, model: Model) -> None:
    """The log record is that of the local log, without the features."""
    prediction = model.predict(RECORD, key="c-1")
    assert model.flush()

    (event,) = host.events()
    assert event.event_name == "mlembed.prediction"
    assert event.severity_text == "INFO"
    assert event.timestamp == prediction.time_ns
    assert event.attributes["mlembed.prediction.id"] == prediction.id
    assert event.attributes["mlembed.prediction.key"] == "c-1"
    assert event.attributes["mlembed.model.version"] == "1.0.0"
    assert json.loads(event.body) == {"y": {"score": [prediction.score]}}


def test_host_gets_features_only_where_it_asked(
    host: Host, registry: FileRegistry, settings: Settings
) -> None:
    """Features leave the process with `export_features` alone; the local log has its own choice."""
    settings = dataclasses.replace(settings, export_features=True, log_features=False)
    model = mlembed.load("toy", registry=registry, settings=settings)
    model.predict(RECORD)
    assert model.flush()

    (event,) = host.events()
    assert json.loads(event.body)["f"]["town"] == ["oslo"]
    (local,) = events(settings.log_dir)
    assert local["body"].keys() == {"y"}


def test_host_gets_the_event_of_an_outcome(host: Host, model: Model) -> None:
    """An outcome is an event of its own."""
    model.outcome("event/7", value=True)
    assert model.flush()

    (event,) = host.events()
    assert event.event_name == "mlembed.outcome"
    assert event.attributes["mlembed.outcome.value"] is True


def test_host_gets_metrics(host: Host, recorder: Recorder) -> None:
    """Rows, reasons, durations, outcomes and losses are counted by the host's meter."""
    recorder.append(make_entry(latency_ns=2_000_000))
    recorder.append(make_entry(np.array([ROW] * 5), score=np.zeros(5)))
    recorder.append(make_entry(None, reason="fallback", error="SchemaError"))
    recorder.append_outcome(make_outcome())
    recorder._lose("store", 3, OSError("full"))
    assert recorder.flush()

    assert total(host, "mlembed.predictions") == 7
    assert total(host, "mlembed.predictions", mlembed__prediction__reason="ok") == 6
    assert total(host, "mlembed.predictions", error__type="SchemaError") == 1
    assert total(host, "mlembed.outcomes", mlembed__model__name="toy") == 1
    assert total(host, "mlembed.telemetry.dropped", reason="store_OSError") == 3
    points = host.metrics()["mlembed.predict.duration"]
    assert sum(point.count for point in points) == 3
    assert max(point.max for point in points) == pytest.approx(0.002)
    assert points[0].explicit_bounds[0] == 0.00005


def test_metrics_count_each_loss_once(host: Host, recorder: Recorder) -> None:
    """A loss is told once, however often the writer comes by."""
    for _ in range(3):
        recorder._lose("store", 1, OSError("full"))
        recorder.append(make_entry())
        assert recorder.flush()

    assert total(host, "mlembed.telemetry.dropped") == 3


def test_span_follows_the_callers(host: Host, model: Model) -> None:
    """Under a recorded span there is one more, of the prediction, with the times of the call."""
    with trace.get_tracer("host").start_as_current_span("request") as request:
        prediction = model.predict(RECORD)
    assert model.flush()

    span = next(span for span in host.spans.get_finished_spans() if span.name == "predict toy")
    assert span.parent is not None
    assert span.parent.span_id == request.get_span_context().span_id
    assert span.context.trace_id == request.get_span_context().trace_id
    assert span.start_time == prediction.time_ns
    assert span.end_time is not None
    assert 0 < span.end_time - prediction.time_ns < 60e9
    assert dict(span.attributes or {}) == {
        "mlembed.model.name": "toy",
        "mlembed.model.version": "1.0.0",
        "mlembed.prediction.id": prediction.id,
    }


def test_log_record_has_the_trace_of_the_caller(
    host: Host, model: Model, settings: Settings
) -> None:
    """Event, local line and span of one prediction share the caller's trace."""
    with trace.get_tracer("host").start_as_current_span("request") as request:
        model.predict(RECORD)
    assert model.flush()

    trace_id = request.get_span_context().trace_id
    span = next(span for span in host.spans.get_finished_spans() if span.name == "predict toy")
    (event,) = host.events()
    assert (event.trace_id, event.span_id) == (trace_id, span.context.span_id)
    (local,) = records(settings.log_dir)
    assert local["traceId"] == f"{trace_id:032x}"
    assert local["spanId"] == f"{span.context.span_id:016x}"


def test_no_span_without_one_that_records(host: Host, model: Model) -> None:
    """A prediction outside every span makes none."""
    model.predict(RECORD)
    assert model.flush()

    assert not host.spans.get_finished_spans()
    assert host.events()[0].trace_id == 0


def test_no_span_under_one_that_is_not_sampled(
    idle_host: Host, set_up: Setup, model: Model
) -> None:
    """A trace that the host does not sample is carried on, not recorded."""
    tracer = TracerProvider(sampler=ALWAYS_ON)
    tracer.add_span_processor(SimpleSpanProcessor(idle_host.spans))
    set_up(idle_host.providers[0], tracer, None)
    carried = trace.NonRecordingSpan(trace.SpanContext(7, 8, is_remote=True))
    with trace.use_span(carried):
        model.predict(RECORD)
    assert model.flush()
    tracer.shutdown()

    assert host_trace(idle_host) == 7
    assert not idle_host.spans.get_finished_spans()


def host_trace(host: Host) -> int:
    """Return the trace of the host's only log record."""
    (event,) = host.events()
    trace_id: int = event.trace_id
    return trace_id


def test_no_text_of_a_record_is_in_a_metric(host: Host, model: Model) -> None:
    """The kind of an error alone: texts name a host's fields, and each would be a series."""
    for number in range(3):
        with pytest.raises(mlembed.errors.SchemaError):
            model.predict({f"secret-{number}@mail.example": 1})
    assert model.flush()

    points = host.metrics()["mlembed.predictions"]
    errors = {
        point.attributes["error.type"] for point in points if "error.type" in point.attributes
    }
    assert errors == {"SchemaError"}
