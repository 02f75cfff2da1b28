"""Follow a prediction's trace to its delivery, in the OpenTelemetry that the host has set up.

OpenTelemetry is not even imported unless the host has.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import Link

_PARTS = 4


def current_trace() -> str:
    """Return the span of this moment as W3C traceparent; empty outside of any."""
    if "opentelemetry.trace" not in sys.modules:
        return ""
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def link_to(traceparent: str) -> Link | None:
    """Return a link to the span that `current_trace` described; None for what is none."""
    from opentelemetry import trace

    parts = traceparent.split("-")
    if len(parts) != _PARTS:
        return None
    try:
        _, trace_id, span_id, flags = (int(part, 16) for part in parts)
    except ValueError:
        return None
    context = trace.SpanContext(
        trace_id, span_id, is_remote=True, trace_flags=trace.TraceFlags(flags)
    )
    return trace.Link(context) if context.is_valid else None
