"""Write log records as the OTLP-JSON that every collector reads.

Format: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from __future__ import annotations

import json
import math
from binascii import b2a_base64
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.trace import SpanContext

    AttributeValue = str | int | float | bool

SEVERITY_NUMBER, SEVERITY_TEXT = 9, "INFO"
_INT64 = 2**63


class Records(NamedTuple):
    """Some log records in OTLP-JSON, a comma between each two, and how many there are."""

    data: bytes
    n: int


def logs_line(
    resource: Mapping[str, AttributeValue],
    scope: Mapping[str, str],
    attributes: Mapping[str, AttributeValue],
    records: Iterable[Records],
) -> bytes:
    """Return one `LogsData` line.

    Args:
        resource: Attributes of the process.
        scope: Name and version of the scope.
        attributes: Attributes of the scope: they hold for each of its records.
        records: The records.
    """
    names = "".join(f"{json.dumps(key)}:{json.dumps(value)}," for key, value in scope.items())
    head = (
        f'{{"resourceLogs":[{{"resource":{{"attributes":{_attributes(resource)}}},'
        f'"scopeLogs":[{{"scope":{{{names}"attributes":{_attributes(attributes)}}},"logRecords":['
    )
    return b"%b%b]}]}]}\n" % (head.encode(), b",".join([some.data for some in records]))


def log_record(
    name: str,
    time_ns: int,
    attributes: Mapping[str, AttributeValue],
    body: str | bytes | None,
    span: SpanContext | None,
) -> Records:
    """Return one log record.

    Args:
        name: Name of the event.
        time_ns: Unix time.
        attributes: Its attributes.
        body: Its body: text, bytes (base64 in the file) or None.
        span: The span it belongs to, or None.
    """
    text = ""
    if isinstance(body, bytes):
        text = f'"body":{{"bytesValue":"{b2a_base64(body, newline=False).decode()}"}},'
    elif body is not None:
        text = f'"body":{{"stringValue":{json.dumps(body)}}},'
    trace = ""
    if span is not None:
        trace = (
            f',"traceId":"{span.trace_id:032x}","spanId":"{span.span_id:016x}"'
            f',"flags":{int(span.trace_flags)}'
        )
    record = (
        f'{{"timeUnixNano":"{time_ns}","severityNumber":{SEVERITY_NUMBER},"eventName":"{name}",'
        f'{text}"attributes":{_attributes(attributes)}{trace}}}'
    )
    return Records(record.encode(), 1)


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
