"""The lines of the local log are what OpenTelemetry's own exporter writes."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.json.file._log_exporter import FileLogExporter
from opentelemetry.proto_json.logs.v1.logs import LogRecord, LogsData
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.trace import SpanContext, TraceFlags

from mlembed.telemetry.events import OUTCOME, PREDICTION, Entry, outcome_record
from mlembed.telemetry.lines import log_line, prediction_record, prediction_records
from mlembed.telemetry.otlpjson import log_record, plain, whole_text
from telemetry.entries import SOURCE, make_entry, make_outcome

if TYPE_CHECKING:
    from pathlib import Path

SPAN = SpanContext(0x0AF7651916CD43DD8448EB211C80319C, 0x00F067AA0BA902B7, is_remote=False)
SAMPLED = SpanContext(SPAN.trace_id, SPAN.span_id, is_remote=True, trace_flags=TraceFlags(1))
ENTRIES = {
    "plain": make_entry(),
    "key": make_entry(key="kunde-ä\n\u2028🦀"),
    "span": make_entry(span=SPAN),
    "sampled span": make_entry(span=SAMPLED),
    "failure": make_entry(None, score=0.0, reason="fallback", error="RegistryError"),
    "no score": make_entry(None, score=math.nan, reason="error", error="SchemaError"),
    "unknown": make_entry((1.0, 2.0, 0.0, 2.0, 3.0), {"town": 'ber"gen\\'}),
    "half a pair": make_entry((1.0, 2.0, 0.0, 2.0, 3.0), {"town": "\ud83e"}, key="\ud83e"),
}
OUTCOMES = {
    "bool": make_outcome(value=False),
    "class": make_outcome(value="churned", prediction_id="event/7"),
    "number": make_outcome(value=-0.0, observed_ns=1_772_645_400_000_000_001, revision=3),
    "nan": make_outcome(value=math.nan),
    "infinite": make_outcome(value=-math.inf),
    "large": make_outcome(revision=2**70),
}


def official(path: Path, time_ns: int, event: str, body: bytes | None, attributes: Any) -> Any:
    """Return the record that the official exporter wrote for the same event."""
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(FileLogExporter(path)))
    provider.get_logger("mlembed").emit(
        timestamp=time_ns,
        severity_number=SeverityNumber.INFO,
        body=body,
        attributes=attributes,
        event_name=event,
    )
    provider.shutdown()
    (line,) = path.read_text().splitlines()
    (record,) = json.loads(line)["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    return record


def meaning(record: dict[str, Any]) -> dict[str, Any]:
    """Return *record* as the protocol's types read it, defaults left out, attributes by name.

    The exporter stamps each record with the time at which it saw it.
    """
    message = LogRecord.from_dict(record).to_dict()
    message["attributes"] = {item["key"]: item["value"] for item in message["attributes"]}
    message.pop("observedTimeUnixNano", None)
    return {key: value for key, value in message.items() if value not in (0, "", {}, None)}


@pytest.mark.parametrize("name", ENTRIES)
def test_prediction_record_equals_the_official_exporter(tmp_path: Path, name: str) -> None:
    """Our line, written the short way or the long, and the exporter's mean the same prediction."""
    entry = Entry(*ENTRIES[name])
    attributes = entry.source.attributes(entry) | entry.source.unknown(entry.unknown)
    if entry.row is None:
        attributes["mlembed.payload.encoding"] = "scores.v1"

    body = entry.source.rows(entry)
    theirs = official(tmp_path / "x.jsonl", entry.time_ns, PREDICTION, body, attributes)

    (short,) = prediction_records(entry.source, [ENTRIES[name]])
    for ours in (short, prediction_record(entry)):
        trace = {"traceId", "spanId", "flags"}
        untraced = {k: v for k, v in json.loads(ours.data).items() if k not in trace}
        assert meaning(untraced) == meaning(theirs)


@pytest.mark.parametrize("name", OUTCOMES)
def test_outcome_record_equals_the_official_exporter(tmp_path: Path, name: str) -> None:
    """Our line and the exporter's mean the same outcome."""
    outcome = OUTCOMES[name]
    ours = json.loads(outcome_record(outcome).data)

    theirs = official(tmp_path / "x.jsonl", outcome.time_ns, OUTCOME, None, outcome.attributes())

    assert meaning(ours) == meaning(theirs)


def test_log_line_is_read_by_the_protocols_types() -> None:
    """A whole line is one `LogsData`, with the process as resource and mlembed as scope."""
    records = prediction_records(SOURCE, list(ENTRIES.values()))
    records += [outcome_record(outcome) for outcome in OUTCOMES.values()]

    data = LogsData.from_json(log_line(records, SOURCE.scope))

    (resource,) = data.resource_logs
    (scope,) = resource.scope_logs
    assert resource.resource is not None
    assert {item.key for item in resource.resource.attributes} == {"host.name", "process.pid"}
    assert scope.scope is not None
    assert scope.scope.name == "mlembed"
    assert {item.key for item in scope.scope.attributes} == SOURCE.scope.keys()
    assert len(scope.log_records) == len(records)
    assert [record.to_dict() for record in scope.log_records] == [
        LogRecord.from_dict(json.loads(record.data)).to_dict() for record in records
    ]


def test_log_record_writes_trace_ids_in_hex() -> None:
    """OTLP-JSON takes trace and span ids as hex, unlike other bytes, and keeps leading zeros."""
    record = json.loads(prediction_record(Entry(*make_entry(span=SAMPLED))).data)

    assert record["traceId"] == "0af7651916cd43dd8448eb211c80319c"
    assert record["spanId"] == "00f067aa0ba902b7"
    assert record["flags"] == 1
    read = LogRecord.from_dict(record)
    assert read.trace_id == bytes.fromhex("0af7651916cd43dd8448eb211c80319c")


@given(
    values=st.dictionaries(
        st.sampled_from(["a", "b", "c"]),
        st.booleans()
        | st.integers()
        | st.floats()
        | st.text(st.characters())
        | st.binary()
        | st.none(),
    ),
    body=st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    time_ns=st.integers(0, 2**63),
)
def test_log_record_is_always_readable(
    values: dict[str, Any], body: str | None, time_ns: int
) -> None:
    """Whatever stands in an attribute, the protocol's types read the record and its value."""
    attributes = {name: plain(value) for name, value in values.items()}
    text = log_record("event", time_ns, attributes, body, None).data

    read = LogRecord.from_dict(json.loads(text))

    assert read.time_unix_nano == time_ns
    assert (read.body.string_value if read.body else None) == body
    for item in read.attributes:
        assert item.value is not None
        found = next(
            part
            for part in (
                *(item.value.bool_value, item.value.int_value),
                *(item.value.double_value, item.value.string_value),
            )
            if part is not None
        )
        assert repr(found) == repr(attributes[str(item.key)])


@given(text=st.text(st.characters()))
def test_whole_text_can_always_be_encoded(text: str) -> None:
    """What was whole is unchanged; what was not can be written as UTF-8 after all."""
    whole = whole_text(text)

    whole.encode()
    assert len(whole) <= len(text)
    if not any("\ud800" <= character <= "\udfff" for character in text):
        assert whole == text
