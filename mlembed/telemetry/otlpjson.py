"""Write log records as the OTLP-JSON that every collector reads.

Format: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.trace import SpanContext

    AttributeValue = str | int | float | bool

SEVERITY_NUMBER, SEVERITY_TEXT = 9, "INFO"
_INT64 = 2**63


def logs_line(
    resource: Mapping[str, AttributeValue], scope: Mapping[str, str], records: Iterable[str]
) -> str:
    """Return one `LogsData` line that holds *records*."""
    return (
        f'{{"resourceLogs":[{{"resource":{{"attributes":{_attributes(resource)}}},'
        f'"scopeLogs":[{{"scope":{json.dumps(scope)},"logRecords":[{",".join(records)}]}}]}}]}}\n'
    )


def log_record(
    name: str,
    time_ns: int,
    attributes: Mapping[str, AttributeValue],
    body: str | None,
    span: SpanContext | None,
) -> str:
    """Return one log record.

    Args:
        name: Name of the event.
        time_ns: Unix time.
        attributes: Its attributes.
        body: Its body, or None.
        span: The span it belongs to, or None.
    """
    text = "" if body is None else f'"body":{{"stringValue":{json.dumps(body)}}},'
    trace = ""
    if span is not None:
        trace = (
            f',"traceId":"{span.trace_id:032x}","spanId":"{span.span_id:016x}"'
            f',"flags":{int(span.trace_flags)}'
        )
    return (
        f'{{"timeUnixNano":"{time_ns}","observedTimeUnixNano":"{time_ns}",'
        f'"severityNumber":{SEVERITY_NUMBER},"severityText":"{SEVERITY_TEXT}","eventName":"{name}",'
        f'{text}"attributes":{_attributes(attributes)}{trace}}}'
    )


def plain(value: Any) -> AttributeValue:
    """Return *value* as a type that every exporter takes; what is none of them as its text."""
    if isinstance(value, bool):
        return value
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int) and -_INT64 <= value < _INT64:
        return int(value)
    return whole_text(str(value))


def whole_text(text: str) -> str:
    """Return *text* with half surrogate pairs replaced: one of them spoils a whole batch."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _attributes(values: Mapping[str, AttributeValue]) -> str:
    pairs = (f'{{"key":"{name}","value":{_any_value(value)}}}' for name, value in values.items())
    return f"[{','.join(pairs)}]"


def _any_value(value: AttributeValue) -> str:
    if isinstance(value, bool):
        return f'{{"boolValue":{"true" if value else "false"}}}'
    if isinstance(value, int):
        return f'{{"intValue":"{value}"}}'
    if isinstance(value, float):
        if math.isfinite(value):
            return f'{{"doubleValue":{value!r}}}'
        name = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        return f'{{"doubleValue":"{name}"}}'
    return f'{{"stringValue":{json.dumps(value)}}}'
