"""The protobuf types of OTLP logs, as google.protobuf reads them.

Written from https://github.com/open-telemetry/opentelemetry-proto (v1.7), since its own package is
no dependency of ours.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "opentelemetry.proto"
_SCALARS = {
    "string": _FIELD.TYPE_STRING,
    "bool": _FIELD.TYPE_BOOL,
    "int64": _FIELD.TYPE_INT64,
    "double": _FIELD.TYPE_DOUBLE,
    "bytes": _FIELD.TYPE_BYTES,
    "uint32": _FIELD.TYPE_UINT32,
    "fixed32": _FIELD.TYPE_FIXED32,
    "fixed64": _FIELD.TYPE_FIXED64,
}
# Name, type and number of each field; `*` for a list, `|` for one of several.
_MESSAGES = {
    "AnyValue": (
        "string_value |string 1, bool_value |bool 2, int_value |int64 3, double_value |double 4, "
        "array_value |ArrayValue 5, kvlist_value |KeyValueList 6, bytes_value |bytes 7"
    ),
    "ArrayValue": "values *AnyValue 1",
    "KeyValueList": "values *KeyValue 1",
    "KeyValue": "key string 1, value AnyValue 2",
    "InstrumentationScope": (
        "name string 1, version string 2, attributes *KeyValue 3, dropped_attributes_count uint32 4"
    ),
    "Resource": "attributes *KeyValue 1, dropped_attributes_count uint32 2",
    "LogRecord": (
        "time_unix_nano fixed64 1, severity_number SeverityNumber 2, severity_text string 3, "
        "body AnyValue 5, attributes *KeyValue 6, dropped_attributes_count uint32 7, "
        "flags fixed32 8, trace_id bytes 9, span_id bytes 10, observed_time_unix_nano fixed64 11, "
        "event_name string 12"
    ),
    "ScopeLogs": "scope InstrumentationScope 1, log_records *LogRecord 2, schema_url string 3",
    "ResourceLogs": "resource Resource 1, scope_logs *ScopeLogs 2, schema_url string 3",
    "ExportLogsServiceRequest": "resource_logs *ResourceLogs 1",
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="mlembed_tests/otlp.proto", package=_PACKAGE, syntax="proto3"
    )
    severity = file.enum_type.add(name="SeverityNumber")
    severity.value.add(name="SEVERITY_NUMBER_UNSPECIFIED", number=0)
    severity.value.add(name="SEVERITY_NUMBER_INFO", number=9)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        if "|" in fields:
            message.oneof_decl.add(name="value")
        for text in fields.split(", "):
            title, kind, number = text.split()
            field = message.field.add(name=title, number=int(number), label=_FIELD.LABEL_OPTIONAL)
            if kind[0] == "*":
                field.label = _FIELD.LABEL_REPEATED
            if kind[0] == "|":
                field.oneof_index = 0
            plain = kind.lstrip("*|")
            if plain in _SCALARS:
                field.type = _SCALARS[plain]
            else:
                is_enum = plain == severity.name
                field.type = _FIELD.TYPE_ENUM if is_enum else _FIELD.TYPE_MESSAGE
                field.type_name = f".{_PACKAGE}.{plain}"
    return file


def _request() -> Any:
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_file())
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName(f"{_PACKAGE}.ExportLogsServiceRequest")
    )


REQUEST = _request()


def round_trip(line: bytes) -> bytes:
    """Return *line* as JSON again, after it was read and sent as protobuf.

    Raises:
        google.protobuf.json_format.ParseError: If the line is not of the protocol.
    """
    sent = json_format.Parse(line, REQUEST()).SerializeToString()
    text: str = json_format.MessageToJson(REQUEST.FromString(sent), indent=None)
    return text.encode() + b"\n"
