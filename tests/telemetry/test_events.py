"""An event says what the host said, whatever that was, on one line."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import math
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlembed.columns import Column
from mlembed.errors import OutcomeError
from mlembed.telemetry.events import Entry, make_outcome, outcome_record
from mlembed.telemetry.lines import log_line, prediction_records
from mlembed.telemetry.source import unknown_source
from serving.logs import read_lines
from telemetry.entries import COLUMNS, DIGEST, ROW, SOURCE, TIME_NS, make_entry, source_of
from telemetry.entries import make_outcome as an_outcome

if TYPE_CHECKING:
    from mlembed.telemetry.events import Call

ANY_TEXT = st.text(st.characters())  # half surrogate pairs and control characters among them
NUMBERS = tuple(Column(name=f"c{i}", kind="number", nullable=True) for i in range(3))


def prediction_record(call: Call) -> bytes:
    """Return the lines that hold *call*: what its rows mean, and its record."""
    source = call[0]
    lines = [
        log_line([source.description(TIME_NS)], source.scope),
        log_line(prediction_records(source, [call]), source.scope),
    ]
    return b"".join(lines)


def body(lines: bytes) -> dict[str, Any]:
    """Return the payload of the only prediction in *lines*."""
    (record,) = read_lines(lines)
    payload: dict[str, Any] = record["payload"]
    return payload


def attributes(record: bytes) -> dict[str, Any]:
    """Return the attributes of a log record or line, each as its one typed value."""
    first = json.loads(record.splitlines()[0])
    found = read_lines(record)[0] if "resourceLogs" in first else first
    return {item["key"]: item["value"] for item in found["attributes"]}


def logged(value: float) -> float | None:
    """Return *value* as the payload shows it: what is not finite is missing."""
    return value if math.isfinite(value) else None


def cleaned(text: str) -> str:
    """Return *text* as UTF-16 readers see it: half a pair is a replacement character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def test_prediction_record_says_all() -> None:
    """Identity, answer, time and features of a prediction stand where the page says."""
    entry = make_entry(key="c-1")
    record = prediction_record(entry)

    (found,) = read_lines(record)
    assert found["eventName"] == "mlembed.prediction"
    assert found["timeUnixNano"] == str(TIME_NS)
    assert attributes(record) == {
        "mlembed.model.name": {"stringValue": "toy"},
        "mlembed.model.version": {"stringValue": "1.2.0"},
        "mlembed.model.digest": {"stringValue": DIGEST},
        "mlembed.prediction.id": {"stringValue": Entry(*entry).id},
        "mlembed.prediction.key": {"stringValue": "c-1"},
        "mlembed.prediction.score": {"doubleValue": 0.25},
        "mlembed.latency": {"doubleValue": 1.2345e-05},
        "mlembed.payload.encoding": {"stringValue": "rows.v1"},
        "mlembed.payload.layout": {"stringValue": SOURCE.layout},
    }
    assert body(record) == {
        "f": {
            "age": [41.0],
            "visits": [7.0],
            "member": [True],
            "town": ["oslo"],
            "seen": [1_772_645_400.0],
        },
        "y": {"score": [0.25]},
    }


def test_prediction_record_of_missing_and_unknown_values() -> None:
    """What is missing is null, and an unknown category is the host's own word."""
    row = (math.nan, 0.0, math.nan, 2.0, 0.0)
    record = prediction_record(make_entry(row, {"town": "bergen"}))

    features = body(record)["f"]
    assert [features[name] for name in ("age", "member", "town")] == [[None], [None], ["bergen"]]


def test_prediction_record_of_a_batch() -> None:
    """A batch is one event whose columns hold one value a row."""
    matrix = np.array([ROW, (math.nan, 1.0, 0.0, 2.0, 5.0), (1.5, 2.0, math.nan, 1.0, -1.0)])
    entry = make_entry(matrix, {"town": {1: "bergen"}}, score=np.array([0.1, 0.2, 0.3]))
    record = prediction_record(entry)

    assert attributes(record)["mlembed.prediction.count"] == {"intValue": "3"}
    assert body(record)["f"]["town"] == ["oslo", "bergen", "lyon"]
    assert body(record)["f"]["age"] == [41.0, None, 1.5]
    assert body(record)["f"]["member"] == [True, False, None]
    assert body(record)["y"] == {"score": [0.1, 0.2, 0.3]}


@pytest.mark.parametrize("score", [0.0, None])
def test_prediction_record_of_a_failure(score: Any) -> None:
    """A fallback or error has its type and no features, and a missing score is null."""
    entry = make_entry(None, score=score, reason="fallback", error="SchemaError")
    record = prediction_record(entry)

    assert body(record) == {"y": {"score": [score]}}
    assert attributes(record)["error.type"] == {"stringValue": "SchemaError"}


def test_prediction_record_of_an_unknown_version() -> None:
    """Where no version could answer, name and reason are still there."""
    record = prediction_record(make_entry(None, source=unknown_source("toy"), reason="error"))

    assert attributes(record)["mlembed.model.name"] == {"stringValue": "toy"}
    assert attributes(record)["mlembed.model.version"] == {"stringValue": ""}


def test_prediction_record_without_features() -> None:
    """A host that logs no features logs no features."""
    record = prediction_record(make_entry(source=source_of(log_features=False)))

    assert body(record) == {"y": {"score": [0.25]}}
    assert b"oslo" not in record


@given(cells=st.tuples(st.floats(), st.floats(), st.floats()), score=st.floats())
def test_prediction_record_keeps_every_double(
    cells: tuple[float, float, float], score: float
) -> None:
    """Every finite double comes back to the bit, -0.0 and subnormals too; the rest is missing."""
    entry = make_entry(cells, source=source_of(NUMBERS), score=score)

    found = body(prediction_record(entry))

    again = [found["f"][f"c{i}"][0] for i in range(3)] + found["y"]["score"]
    assert [repr(value) for value in again] == [repr(logged(value)) for value in (*cells, score)]


@given(word=ANY_TEXT, key=ANY_TEXT, name=ANY_TEXT)
@example(word="resourceLogs", key='{"resourceLogs":[', name="")
def test_prediction_record_keeps_every_text(word: str, key: str, name: str) -> None:
    """Any text comes back, on one line of ASCII; only half a surrogate pair is replaced."""
    columns = (Column(name="x", kind="category", vocabulary=(cleaned(name),), rare=True),)
    source = source_of(columns)
    records = [
        prediction_record(make_entry((1.0,), {"x": word}, source=source, key=key)),
        prediction_record(make_entry((0.0,), source=source, key=key)),
        outcome_record(an_outcome(key=key, value=word)).data,
    ]

    for lines, count in zip(records, (2, 2, 0), strict=True):
        assert lines.isascii()
        assert len(lines.decode().splitlines()) == max(count, 1)
        assert lines.count(b"\n") == count
    assert body(records[0])["f"]["x"] == [cleaned(word)]
    assert body(records[1])["f"]["x"] == [cleaned(name)]
    assert attributes(records[0])["mlembed.prediction.key"] == {"stringValue": cleaned(key)}
    assert attributes(records[2])["mlembed.outcome.value"] == {"stringValue": cleaned(word)}


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (42, "42"),
        (2**70, str(2**70)),
        (b"raw", "b'raw'"),
        (np.str_("c-1"), "c-1"),
        (("a", 1), "('a', 1)"),
    ],
    ids=str,
)
def test_prediction_record_takes_any_key(key: Any, text: str) -> None:
    """A key that is no string is written as its text, so that outcomes find it."""
    record = prediction_record(make_entry(key=key))
    truth = make_outcome("toy", "", True, key, None, 0)  # noqa: FBT003  the truth

    assert attributes(record)["mlembed.prediction.key"] == {"stringValue": text}
    assert attributes(outcome_record(truth).data)["mlembed.prediction.key"] == {"stringValue": text}


@pytest.mark.parametrize("score", [10**400, "high", [0.5], object(), np.float32(0.5), True])
def test_prediction_record_takes_any_fallback(score: Any) -> None:
    """A fallback that is no number spoils no line."""
    (written,) = body(prediction_record(make_entry(None, score=score)))["y"]["score"]

    assert written == (float(score) if isinstance(score, (np.float32, bool)) else None)


@pytest.mark.parametrize(
    ("value", "typed"),
    [
        (True, {"boolValue": True}),
        (np.False_, {"boolValue": False}),
        (1, {"doubleValue": 1.0}),
        (2**70, {"doubleValue": float(2**70)}),
        (np.float32(0.5), {"doubleValue": 0.5}),
        (np.int64(3), {"doubleValue": 3.0}),
        (decimal.Decimal("0.5"), {"doubleValue": 0.5}),
        ("churned", {"stringValue": "churned"}),
        (np.str_("churned"), {"stringValue": "churned"}),
    ],
    ids=repr,
)
def test_outcome_record_types_the_value(value: Any, typed: dict[str, Any]) -> None:
    """A class stays a class, a bool a bool, and every number is a double."""
    record = outcome_record(make_outcome("toy", "id", value, "", None, 0)).data

    assert attributes(record)["mlembed.outcome.value"] == typed


def test_outcome_record_says_all() -> None:
    """An outcome names its prediction or key, its time and its revision."""
    when = dt.datetime(2026, 3, 4, 17, 30, 0, 250_000, tzinfo=dt.UTC)
    record = outcome_record(make_outcome("toy", "event/3", 0.5, "c-1", when, 2)).data

    assert json.loads(record)["eventName"] == "mlembed.outcome"
    assert "body" not in json.loads(record)
    assert attributes(record) == {
        "mlembed.model.name": {"stringValue": "toy"},
        "mlembed.prediction.id": {"stringValue": "event/3"},
        "mlembed.prediction.key": {"stringValue": "c-1"},
        "mlembed.outcome.value": {"doubleValue": 0.5},
        "mlembed.outcome.observed_at": {"intValue": "1772645400250000000"},
        "mlembed.outcome.revision": {"intValue": "2"},
    }


@pytest.mark.parametrize("revision", [2**63, 2**70, -(2**63) - 1])
def test_outcome_record_keeps_integers_readable(revision: int) -> None:
    """An integer beyond 64 bits, which no OTLP reader takes, is written as its text."""
    record = outcome_record(an_outcome(revision=revision)).data

    assert attributes(record)["mlembed.outcome.revision"] == {"stringValue": str(revision)}


@pytest.mark.parametrize(
    "value", [None, "", math.nan, math.inf, [1], object(), 10**400], ids=range(7)
)
def test_make_outcome_refuses_what_says_nothing(value: Any) -> None:
    """A truth is a bool, a finite number or a class; the message shows no value."""
    with pytest.raises(OutcomeError, match="outcome of 'toy': expected a bool, a number or a cl"):
        make_outcome("toy", "id", value, "", None, 0)


def test_make_outcome_refuses_what_cannot_be_joined() -> None:
    """Without an id or a key no prediction is meant."""
    with pytest.raises(OutcomeError, match="give the prediction's id, or its key"):
        make_outcome("toy", "", True, "", None, 0)  # noqa: FBT003  the truth


def test_make_outcome_refuses_a_time_without_zone() -> None:
    """A moment without a zone is no moment."""
    with pytest.raises(OutcomeError, match="observed_at needs a time zone"):
        make_outcome("toy", "id", 1.0, "", dt.datetime(2026, 1, 1), 0)  # noqa: DTZ001  that is it


def test_source_writes_columns_in_its_order() -> None:
    """The payload follows the bundle's columns, so that two events are read alike."""
    assert list(body(prediction_record(make_entry()))["f"]) == [column.name for column in COLUMNS]
    assert SOURCE.scope["mlembed.model.digest"] == DIGEST
