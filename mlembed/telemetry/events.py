"""Write predictions and outcomes as OpenTelemetry log records in OTLP-JSON.

Features are logged as the host gave them, before any transform, so that they can train the next
model. The payload is one JSON string in the body: no attribute limit cuts it and no value in it
can spoil a batch.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math
import os
import socket
import struct
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mlembed.errors import OutcomeError
from mlembed.telemetry.ids import uuid7
from mlembed.telemetry.otlpjson import log_record, logs_line, plain, whole_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from opentelemetry.trace import SpanContext

    from mlembed.columns import Column
    from mlembed.telemetry.otlpjson import AttributeValue

PREDICTION, OUTCOME = "mlembed.prediction", "mlembed.outcome"
SCOPE, SCOPE_VERSION = "mlembed", "0.1.0"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Entry(NamedTuple):
    """One call of `predict` or `predict_batch`, as the caller's thread leaves it.

    Attributes:
        source: The bundle that answered.
        time_ns: Unix time of the call.
        sequence: Makes the id unique within its millisecond.
        latency_ns: Time to the score.
        score: The score, or `(n_records,)` of them.
        reason: ok, fallback or abstain.
        error: Type of the error behind a fallback; empty otherwise.
        key: The host's key of the entity, or None.
        row: The encoded row's bytes, a matrix `(n_records, n_columns)`, or None for a fallback.
        unknown: Values outside the vocabulary, by column (and row, for a matrix).
        span: The span that was current, or None.
    """

    source: Source
    time_ns: int
    sequence: int
    latency_ns: int
    score: Any
    reason: str
    error: str
    key: str | None
    row: bytes | NDArray[Any] | None
    unknown: Mapping[str, Any] | None
    span: SpanContext | None

    @property
    def id(self) -> str:
        """Id of the prediction."""
        return uuid7(self.time_ns // 1_000_000, self.sequence)

    @property
    def n_records(self) -> int:
        """Number of records."""
        return len(self.score) if isinstance(self.score, np.ndarray) else 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The truth about a prediction, as far as it is known.

    Attributes:
        model: Name of the model.
        value: What happened: a bool, a number or a class.
        time_ns: Unix time of the report.
        prediction_id: Id of the prediction, or empty.
        key: The host's key of the entity, where there is no id.
        observed_ns: Unix time when it happened, or None.
        revision: A higher one replaces a lower.
    """

    model: str
    value: AttributeValue
    time_ns: int
    prediction_id: str = ""
    key: str = ""
    observed_ns: int | None = None
    revision: int = 0

    def attributes(self) -> dict[str, AttributeValue]:
        """Return the event's attributes."""
        values: dict[str, AttributeValue | None] = {
            "mlembed.model.name": self.model,
            "mlembed.prediction.id": self.prediction_id or None,
            "mlembed.prediction.key": self.key or None,
            "mlembed.outcome.value": self.value,
            "mlembed.outcome.observed_at": self.observed_ns,
            "mlembed.outcome.revision": self.revision,
        }
        return {name: plain(value) for name, value in values.items() if value is not None}


class Source:
    """A loaded bundle, as events name it.

    Args:
        name: Name of the model.
        version: Its version.
        digest: The bundle's id.
        columns: Columns of its row.
        log_features: Whether events hold the features.
    """

    def __init__(
        self, name: str, version: str, digest: str, columns: Sequence[Column], *, log_features: bool
    ) -> None:
        self.name = name
        self.version = version
        self.digest = digest
        self.log_features = log_features
        self._unpack = struct.Struct(f"={len(columns)}d").unpack
        self._columns = [(json.dumps(c.name), c.name, _texts(c)) for c in columns]

    def attributes(self, entry: Entry) -> dict[str, AttributeValue]:
        """Return the attributes of a prediction's event."""
        values: dict[str, AttributeValue] = {
            "mlembed.model.name": self.name,
            "mlembed.model.version": self.version,
            "mlembed.model.digest": self.digest,
            "mlembed.prediction.id": entry.id,
            "mlembed.prediction.count": entry.n_records,
            "mlembed.prediction.reason": entry.reason,
            "mlembed.latency": entry.latency_ns / 1e9,
            "mlembed.sampling.rate": 1.0,
            "mlembed.payload.encoding": "columns.v1",
        }
        if entry.key is not None:
            values["mlembed.prediction.key"] = whole_text(str(entry.key))
        if entry.error:
            values["error.type"] = entry.error
        return values

    def body(self, entry: Entry, *, features: bool) -> str:
        """Return the payload: JSON of columns, features under `f` and scores under `y`."""
        scores = entry.score.tolist() if isinstance(entry.score, np.ndarray) else [entry.score]
        answer = f'"y":{{"score":[{",".join(map(_number, scores))}]}}'
        if not features or entry.row is None:
            return f"{{{answer}}}"
        return f'{{"f":{{{self._features(entry)}}},{answer}}}'

    def _features(self, entry: Entry) -> str:
        unknown = entry.unknown or {}
        if isinstance(entry.row, bytes):
            cells: Iterable[list[float]] = ([value] for value in self._unpack(entry.row))
            strange = {name: {0: value} for name, value in unknown.items()}
        else:
            cells = np.asarray(entry.row).T.tolist()
            strange = dict(unknown)
        parts = []
        for (quoted, name, texts), values in zip(self._columns, cells, strict=True):
            cell = texts.__getitem__ if texts else _number
            written = [cell(v) if v == v else "null" for v in values]  # noqa: PLR0124  NaN
            for row, value in strange.get(name, {}).items():
                written[row] = json.dumps(whole_text(value))
            parts.append(f"{quoted}:[{','.join(written)}]")
        return ",".join(parts)


def unknown_source(name: str) -> Source:
    """Return the source of an answer that no version of *name* could give."""
    return Source(name, "", "", (), log_features=False)


def make_outcome(
    model: str,
    prediction_id: str,
    value: AttributeValue | None,
    key: str,
    observed_at: dt.datetime | None,
    revision: int,
) -> Outcome:
    """Check a report of the truth and stamp it with the time.

    Raises:
        OutcomeError: If it cannot be joined or says nothing.
    """
    prediction_id, key = ("" if given is None else str(given) for given in (prediction_id, key))
    if not (prediction_id or key):
        raise OutcomeError(f"outcome of '{model}': give the prediction's id, or its key")
    truth = _truth(value)
    if truth is None:
        raise OutcomeError(f"outcome of '{model}': expected a bool, a number or a class")
    if observed_at is not None and observed_at.tzinfo is None:
        raise OutcomeError(f"outcome of '{model}': observed_at needs a time zone")
    return Outcome(
        model=model,
        value=truth,
        time_ns=time.time_ns(),
        prediction_id=prediction_id,
        key=key,
        observed_ns=None if observed_at is None else _nanoseconds(observed_at),
        revision=revision,
    )


def _nanoseconds(moment: dt.datetime) -> int:
    """Return the Unix time of *moment*, exactly: a double would lose the microsecond."""
    return (moment - _EPOCH) // dt.timedelta(microseconds=1) * 1_000


def _truth(value: Any) -> AttributeValue | None:
    """Return *value* as it is logged; None where it says nothing."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, str):
        return value or None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def prediction_record(entry: Entry) -> str:
    """Return the log record of *entry* in OTLP-JSON."""
    source = entry.source
    return log_record(
        PREDICTION,
        entry.time_ns,
        source.attributes(entry),
        source.body(entry, features=source.log_features),
        entry.span,
    )


def outcome_record(outcome: Outcome) -> str:
    """Return the log record of *outcome* in OTLP-JSON."""
    return log_record(OUTCOME, outcome.time_ns, outcome.attributes(), None, None)


def log_line(records: Iterable[str]) -> str:
    """Return one `LogsData` line that holds *records*, with this process as the resource."""
    process: dict[str, AttributeValue] = {
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
    }
    return logs_line(process, {"name": SCOPE, "version": SCOPE_VERSION}, records)


def _texts(column: Column) -> dict[float, str]:
    """Return the JSON of every coded value; empty for a column of plain numbers."""
    if column.kind == "boolean":
        return {0.0: "false", 1.0: "true"}
    texts = {float(code): json.dumps(value) for code, value in enumerate(column.vocabulary)}
    if column.kind == "category":
        texts[float(len(column.vocabulary))] = "null"  # its value stands in the unknown ones
    return texts


def _number(value: Any) -> str:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return "null"
    return repr(number) if math.isfinite(number) else "null"
