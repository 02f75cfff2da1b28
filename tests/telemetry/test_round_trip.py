"""A log that travelled as protobuf through readers that are not ours is read as the same log."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanContext, TraceFlags

import mlembed
from bundles import RECORD, toy_table
from mlembed.errors import SchemaError
from mlembed.monitoring.log import PredictionLog, read_log
from mlembed.telemetry.events import outcome_record
from mlembed.telemetry.lines import log_line, prediction_records
from mlembed.telemetry.otlpjson import logs_line
from telemetry.entries import SOURCE, make_entry, make_outcome
from telemetry.protocol import REQUEST, round_trip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from mlembed.registry.file import FileRegistry
    from mlembed.settings import Settings

SPAN = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1))
HALVES = ("\ud83e", "a\udc00b", "\udfff\ud800")
VALUES: list[Any] = [True, False, 0.0, -0.0, 5e-324, 1e308, "churned", "\ud83e", -(2**53)]


def travelled(log_dir: Path, change: Callable[[bytes], bytes] = round_trip) -> Path:
    """Return a log of the same files, each line of which *change* has been through."""
    other = log_dir.with_name("travelled")
    for path in log_dir.rglob("*.jsonl*"):
        there = other / path.relative_to(log_dir)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(b"".join(map(change, path.read_bytes().splitlines())))
    return other


def same(ours: PredictionLog, theirs: PredictionLog) -> None:
    """Check that two logs say the same, to the bit and to the type."""
    for field in dataclasses.fields(PredictionLog):
        mine, other = getattr(ours, field.name), getattr(theirs, field.name)
        if isinstance(mine, np.ndarray):
            assert mine.dtype == other.dtype
            np.testing.assert_array_equal(mine, other)
        elif field.name == "features":
            assert mine.keys() == other.keys()
            for name in mine:
                np.testing.assert_array_equal(mine[name], other[name])
        else:
            assert repr(mine) == repr(other)


def written(folder: Path, lines: Iterable[bytes]) -> Path:
    """Write *lines* as the log of the model toy."""
    day = folder / "log" / "toy" / "dt=2026-11-01"
    day.mkdir(parents=True)
    (day / "host-1-0.jsonl").write_bytes(b"".join(lines))
    return folder / "log"


def test_log_of_a_model_travels(registry: FileRegistry, settings: Settings) -> None:
    """Answers, failures, batches, keys, unknown words and outcomes come back as they went."""
    model = mlembed.load("toy", registry=registry, settings=settings)
    careful = mlembed.load("toy", registry=registry, settings=settings, fallback=0.5)
    for number, text in enumerate(("", "kunde-ä\n\u2028🦀", '"\\', "x" * 70_000, *HALVES)):
        model.predict(RECORD | {"town": text, "visits": number}, key=text)
        model.predict(RECORD, key=text)
    model.predict(RECORD | {"income": None, "plan": None, "age": -0.0})
    table = toy_table(600) | {"town": ["\ud83e"] * 300 + ["oslo"] * 300}
    batch = model.predict_batch(table)
    with pytest.raises(SchemaError):
        model.predict({})
    assert careful.predict({}).reason == "fallback"
    assert careful.predict_batch({"age": [1.0, 2.0]}).scores.tolist() == [0.5, 0.5]
    for revision, value in enumerate(VALUES):
        model.outcome(batch.ids[revision], value, revision=revision)
        model.outcome(key="\ud83e", value=value, observed_at=dt.datetime.now(dt.UTC))
    model.close()

    ours = read_log(settings.log_dir, "toy")
    theirs = read_log(travelled(settings.log_dir), "toy")

    assert (len(ours), len(ours.outcomes), ours.unreadable) == (619, 18, 0)
    same(ours, theirs)


def test_records_a_host_can_hardly_make_travel(tmp_path: Path) -> None:
    """Spans, sampling, scores and rows at the ends of a double, and the first moment of all."""
    ends = (5e-324, -0.0, math.nan, 1.7976931348623157e308, 0.0)
    calls = [
        make_entry(span=SPAN),
        make_entry(rate=0.25, key="\ud83e"),
        make_entry(ends, score=-0.0),
        make_entry(time_ns=0),
        make_entry(None, score=math.nan, reason="error", error="SchemaError"),
        make_entry(np.tile(ends, (3, 1)), score=np.array(ends[:3])),
    ]
    records = prediction_records(SOURCE, calls)
    records += [outcome_record(make_outcome(value=value)) for value in VALUES]
    records += [outcome_record(make_outcome(observed_ns=0, time_ns=0, revision=-1))]
    head = log_line([SOURCE.description(5)], SOURCE.scope)
    log_dir = written(tmp_path, [head, log_line(records, SOURCE.scope)])

    ours, theirs = read_log(log_dir, "toy"), read_log(travelled(log_dir), "toy")

    assert (len(ours), len(ours.outcomes), ours.unreadable) == (8, 10, 0)
    assert struct.pack("<d", ours.features["visits"][2]) == struct.pack("<d", -0.0)
    same(ours, theirs)


def test_ids_of_a_span_are_bytes_to_the_protocol(tmp_path: Path) -> None:
    """The official text of an id is hex; whoever takes it for base64 gives the same text back."""
    (records,) = prediction_records(SOURCE, [make_entry(span=SPAN)])
    log_dir = written(tmp_path, [log_line([records], SOURCE.scope)])

    (path,) = travelled(log_dir).rglob("*.jsonl")
    (line,) = path.read_bytes().splitlines()
    (record,) = json.loads(line)["resourceLogs"][0]["scopeLogs"][0]["logRecords"]

    assert (record["traceId"], record["spanId"]) == (f"{1:032x}", f"{2:016x}")


def bare(line: bytes) -> bytes:
    """Return *line* as a collector may write it: empty bodies and ids, attributes without value."""
    data = json.loads(line)
    for scope in data["resourceLogs"][0]["scopeLogs"]:
        for record in scope["logRecords"]:
            record.setdefault("body", {})
            record.setdefault("traceId", "")
            record["attributes"] += [{"key": "later"}, {"key": "", "value": {}}, {"value": {}}, {}]
            record["attributes"].append({"key": "null", "value": None})
        scope["scope"]["attributes"].append({"key": "later"})
    return json.dumps(data).encode() + b"\n"


def test_log_that_a_collector_wrote_is_read(registry: FileRegistry, settings: Settings) -> None:
    """What has no value, or an empty one, is as good as what is not there."""
    model = mlembed.load("toy", registry=registry, settings=settings, fallback=0.5)
    model.predict(RECORD, key="k")
    model.predict({}, key="failed")
    model.outcome(key="k", value=True)
    model.close()

    ours = read_log(settings.log_dir, "toy")
    collected = travelled(settings.log_dir, bare)

    assert ours.score[1] == 0.5
    same(ours, read_log(collected, "toy"))
    same(ours, read_log(travelled(collected), "toy"))


@given(
    key=st.text(st.characters()),
    word=st.text(st.characters()),
    value=st.floats(allow_nan=False),
    name=st.text(st.characters(), min_size=1),
)
def test_any_text_is_of_the_protocol(key: str, word: str, value: float, name: str) -> None:
    """No key, word or class, whatever it holds, makes a line that the protocol's types refuse."""
    unknown = {"town": word[:256]}
    records = prediction_records(SOURCE, [make_entry(unknown=unknown, key=key, score=value)])
    records.append(outcome_record(make_outcome(key=key, value=name)))

    line = round_trip(log_line(records, SOURCE.scope))

    (scope,) = json.loads(line)["resourceLogs"][0]["scopeLogs"]
    assert len(scope["logRecords"]) == 2


def test_empty_line_is_of_the_protocol() -> None:
    """A line without records is read as one."""
    line = logs_line({}, {"name": "mlembed"}, {}, [])

    assert json.loads(round_trip(line)) == {
        "resourceLogs": [{"resource": {}, "scopeLogs": [{"scope": {"name": "mlembed"}}]}]
    }
    assert REQUEST().SerializeToString() == b""
