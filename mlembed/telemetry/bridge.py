"""Speak to the OpenTelemetry that the host has set up; do nothing where it has none.

No provider is ever set here, and OpenTelemetry is not even imported unless the host has. Spans,
log records and metrics are made on the writer's thread with the times of the call.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING, Any

from mlembed.telemetry.events import (
    OUTCOME,
    PREDICTION,
    SCOPE,
    SCOPE_VERSION,
)
from mlembed.telemetry.meters import Meters
from mlembed.telemetry.otlpjson import SEVERITY_NUMBER, SEVERITY_TEXT
from mlembed.telemetry.source import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import SpanContext

    from mlembed.telemetry.events import Entry, Outcome
    from mlembed.telemetry.otlpjson import AttributeValue

_API = ("opentelemetry._logs", "opentelemetry.trace", "opentelemetry.metrics")


class HostTelemetry:
    """The host's logger, tracer and meter, as far as it has set them up.

    Args:
        export_features: Whether log records hold the features.

    Attributes:
        traces: Whether the caller's thread notes its span: a tracer provider is set, or nobody
            has looked yet.
    """

    def __init__(self, *, export_features: bool) -> None:
        self.export_features = export_features
        self.traces = True
        self._looked = False
        self._looking = threading.Lock()
        self._logger: Any = None
        self._tracer: Any = None
        self._meters: Meters | None = None

    @property
    def found(self) -> int:
        """How many of logs, traces and metrics the host has set up, as far as was looked."""
        return sum(part is not None for part in (self._logger, self._tracer, self._meters))

    def look(self) -> None:
        """Notice providers that the host has set since the last look."""
        if not self._looking.acquire(blocking=False):
            return
        try:
            if "opentelemetry" in sys.modules:
                self._find()
        finally:
            self._looked = True
            self.traces = self._tracer is not None
            self._looking.release()

    def _find(self) -> None:
        if self._logger is None and (provider := _provider(_API[0], "get_logger_provider")):
            self._logger = provider.get_logger(SCOPE, SCOPE_VERSION)
        if self._tracer is None and (provider := _provider(_API[1], "get_tracer_provider")):
            self._tracer = provider.get_tracer(SCOPE, SCOPE_VERSION)
        if self._meters is None and (provider := _provider(_API[2], "get_meter_provider")):
            self._meters = Meters(provider.get_meter(SCOPE, SCOPE_VERSION))

    def current_span(self) -> SpanContext | None:
        """Return the context of the caller's span, if one is being recorded or carried."""
        if not self._looked:
            with contextlib.suppress(Exception):  # the writer's own look tells what failed
                self.look()
        if not self.traces:
            return None
        from opentelemetry import trace

        context = trace.get_current_span().get_span_context()
        return context if context.is_valid else None

    def trace(self, entry: Entry) -> Entry:
        """Add the span `predict <model>` under a sampled parent; return *entry* within it."""
        if self._tracer is None or entry.span is None or not entry.span.trace_flags.sampled:
            return entry
        span = self._tracer.start_span(
            f"predict {entry.source.name}",
            context=_context(entry.span),
            start_time=entry.time_ns,
            attributes={
                "mlembed.model.name": entry.source.name,
                "mlembed.model.version": entry.source.version,
                "mlembed.prediction.id": entry.id,
            },
        )
        span.end(entry.time_ns + entry.latency_ns)
        return entry._replace(span=span.get_span_context())

    def log_prediction(self, entry: Entry) -> None:
        """Send the event of a prediction, where the host has a logger."""
        if self._logger is not None:
            body = entry.source.body(entry, features=self.export_features)
            attributes = entry.source.scope | entry.source.attributes(entry)
            attributes |= {"mlembed.payload.encoding": COLUMNS}
            del attributes["mlembed.payload.layout"]
            self._log(PREDICTION, entry.time_ns, attributes, body, entry.span)

    def log_outcome(self, outcome: Outcome) -> None:
        """Send the event of an outcome, where the host has a logger."""
        if self._logger is not None:
            self._log(OUTCOME, outcome.time_ns, outcome.attributes(), None, None)

    def count(
        self, entries: Sequence[Entry], outcomes: Sequence[Outcome], dropped: Mapping[str, int]
    ) -> None:
        """Count what was predicted, reported and lost, where the host has a meter."""
        if self._meters is not None:
            self._meters.count(entries, outcomes, dropped)

    def forget_parent(self) -> None:
        """Begin to count anew in a forked child, where no other thread is looking."""
        self._looking = threading.Lock()
        if self._meters is not None:
            self._meters.forget_parent()

    def _log(
        self,
        name: str,
        time_ns: int,
        attributes: Mapping[str, AttributeValue],
        body: str | None,
        span: SpanContext | None,
    ) -> None:
        from opentelemetry._logs import SeverityNumber

        self._logger.emit(
            timestamp=time_ns,
            observed_timestamp=time_ns,
            context=None if span is None else _context(span),
            severity_number=SeverityNumber(SEVERITY_NUMBER),
            severity_text=SEVERITY_TEXT,
            body=body,
            attributes=dict(attributes),
            event_name=name,
        )


def _provider(module: str, getter: str) -> Any:
    """Return the provider the host has set, or None: the API's own types do nothing."""
    api = sys.modules.get(module)
    if api is None:
        return None
    provider = getattr(api, getter)()
    return None if type(provider).__module__.startswith(_API) else provider


def _context(span: SpanContext) -> Context:
    from opentelemetry import trace

    return trace.set_span_in_context(trace.NonRecordingSpan(span))
