"""What the host's OpenTelemetry hears of deliveries."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from crm.batching import Batches
from crm.receiver import DESTINATION, NO_PAUSE, Clock, action, prediction
from mlembed_crm import Actions, Delivery, Outbox, Rule, every_score
from mlembed_crm.trace import current_trace, link_to

if TYPE_CHECKING:
    from collections.abc import Iterator


class Heard:
    """The spans and metrics that a host's providers were given."""

    def __init__(self, spans: InMemorySpanExporter, reader: InMemoryMetricReader) -> None:
        self.spans = spans
        self._reader = reader

    def points(self, name: str) -> list[Any]:
        """Return the points of a metric."""
        data = self._reader.get_metrics_data()
        return [
            point
            for resource in data.resource_metrics  # type: ignore[union-attr]
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    """Set up a host's OpenTelemetry for one test."""
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    metering = MeterProvider([reader])
    monkeypatch.setattr(trace, "get_tracer", tracing.get_tracer)
    monkeypatch.setattr(metrics, "get_meter", metering.get_meter)
    yield Heard(spans, reader)
    tracing.shutdown()
    metering.shutdown()


def test_delivery_is_linked_to_the_trace_of_its_prediction(outbox: Outbox, heard: Heard) -> None:
    """From the span in which it was sent one gets to the request that caused it."""
    tracer = TracerProvider().get_tracer("host")
    actions = Actions(outbox, [Rule("r", "payments", every_score(), DESTINATION)])
    with tracer.start_as_current_span("request") as request:
        actions.apply(prediction(0.5, "a"))
    actions.apply(prediction(0.5, "b"))

    Delivery(outbox, {DESTINATION: Batches()}).run_once()

    (span,) = heard.spans.get_finished_spans()
    links = [link.context.trace_id for link in span.links]
    assert span.name == f"deliver {DESTINATION}"
    assert links == [request.get_span_context().trace_id]
    assert dict(span.attributes or {}) == {
        "mlembed.destination": DESTINATION,
        "mlembed.actions.count": 2,
        "mlembed.actions.not_taken": 0,
    }


def test_what_became_of_actions_is_counted(outbox: Outbox, heard: Heard) -> None:
    """By destination, rule and result; and how long each call took."""
    for key in "abc":
        outbox.enqueue(action(key))
    batches = Batches(100, lambda one: one.key == "b", each=True)

    Delivery(outbox, {DESTINATION: batches}, retries=NO_PAUSE).run_once()

    counts = {
        (point.attributes["mlembed.rule"], point.attributes["mlembed.result"]): point.value
        for point in heard.points("mlembed.actions.delivered")
    }
    (calls,) = heard.points("mlembed.actions.call.duration")
    assert counts == {("hold-payment", "sent"): 2, ("hold-payment", "dead"): 1}
    assert calls.count == 1
    (span,) = heard.spans.get_finished_spans()
    assert not span.status.is_ok
    assert span.status.description == "no such value"


def test_action_that_was_not_sent_took_no_time(outbox: Outbox, clock: Clock, heard: Heard) -> None:
    """One that is given up without a call counts as given up, and not as a call of no time."""
    outbox.enqueue(action("a"))
    outbox.claim(lease_seconds=60.0)  # by a delivery that dies in the middle of it
    clock.now += 61

    Delivery(outbox, {DESTINATION: Batches(idempotent=False)}).run_once()

    (given_up,) = heard.points("mlembed.actions.delivered")
    assert given_up.attributes["mlembed.result"] == "dead"
    assert heard.points("mlembed.actions.call.duration") == []


def test_trace_is_kept_as_the_standard_writes_it() -> None:
    """A traceparent that is none links nothing."""
    with TracerProvider().get_tracer("host").start_as_current_span("x") as span:
        kept = current_trace()

    link = link_to(kept)

    assert link is not None
    assert link.context.trace_id == span.get_span_context().trace_id
    assert link.context.span_id == span.get_span_context().span_id
    assert current_trace() == ""
    for none in ("", "x", "00-zz-yy-01", f"00-{0:032x}-{0:016x}-01"):
        assert link_to(none) is None


def test_host_without_opentelemetry_does_not_import_it() -> None:
    """What nobody has set up costs nothing."""
    code = (
        "import sys, mlembed_crm; from mlembed_crm import Actions, Outbox, Rule, Delivery;"
        "import mlembed_crm.rules, mlembed_crm.observing;"
        "assert 'opentelemetry' not in sys.modules"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
